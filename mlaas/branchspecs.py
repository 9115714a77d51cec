"""Statistics of one branch."""

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlaas.readers.base import Kind
from mlaas.sample import Column

# Of the quantiles.
LEVELS = ("0.001", "0.01", "0.05", "0.25", "0.5", "0.75", "0.95", "0.99", "0.999")


@dataclass
class BranchSpecs:
    """What the first pass saw of one branch, over the events that the selection keeps.

    Attributes:
        dtype: numpy name of the numbers in the file.
        minimum: Smallest value that is finite in float32; None where there is none. maximum: largest.
        mean: Of the finite values; None where there is none. variance: their mean squared deviation from it.
        quantiles: Level → value, of the finite values of the sampled events; see :class:`mlaas.specs.Specs`.
        dimension: Most objects in an event; 1 for flat.
        multiplicity: Events with 0, 1, 2, … objects; empty for flat.
        values: Numbers seen, those that are not finite included.
        not_finite: How many are NaN, infinite, or too large for float32.
        missing: How many of those are NaN.
        categories: The strings that stand behind 0, 1, 2, …; empty for numbers.
    """

    kind: Kind
    dtype: str
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    variance: float | None = None
    quantiles: dict[str, float] = field(default_factory=dict)
    dimension: int = 0
    multiplicity: list[int] = field(default_factory=list)
    values: int = 0
    not_finite: int = 0
    missing: int = 0
    categories: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.categories = tuple(self.categories)  # JSON makes it a list

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the finite values."""
        return None if self.variance is None else math.sqrt(self.variance)

    def add(self, column: Column) -> None:
        """Take in some events."""
        numbers = column.numbers
        finite = _finite(numbers)
        seen = BranchSpecs(self.kind, self.dtype, dimension=1, values=len(numbers))
        if column.counts is not None:
            seen.multiplicity = np.bincount(column.counts).tolist()
            seen.dimension = max(0, len(seen.multiplicity) - 1)
        seen.not_finite = len(numbers) - len(finite)
        if seen.not_finite:
            seen.missing = int(np.count_nonzero(np.isnan(numbers)))
        if len(finite):
            seen.minimum, seen.maximum = float(finite.min()), float(finite.max())
            wide = finite.astype(np.float64)
            seen.mean = float(np.mean(wide))
            wide -= seen.mean
            seen.variance = float(np.mean(np.square(wide, out=wide)))
        self.merge(seen)

    def merge(self, other: "BranchSpecs") -> None:
        """Take in what was seen of the same branch elsewhere, but for the quantiles."""
        self._merge_moments(other)
        lows = [low for low in (self.minimum, other.minimum) if low is not None]
        highs = [high for high in (self.maximum, other.maximum) if high is not None]
        self.minimum = min(lows, default=None)
        self.maximum = max(highs, default=None)
        self.dimension = max(self.dimension, other.dimension)
        pairs = itertools.zip_longest(self.multiplicity, other.multiplicity, fillvalue=0)
        self.multiplicity = [mine + others for mine, others in pairs]
        self.values += other.values
        self.not_finite += other.not_finite
        self.missing += other.missing

    def _merge_moments(self, other: "BranchSpecs") -> None:
        """Means and variances of two sets as those of both (Chan, Golub and LeVeque, 1979)."""
        if other.mean is None or other.variance is None:
            return
        if self.mean is None or self.variance is None:
            self.mean, self.variance = other.mean, other.variance
            return
        mine, others = self.values - self.not_finite, other.values - other.not_finite
        share, distance = others / (mine + others), other.mean - self.mean
        self.mean += distance * share
        self.variance += (other.variance - self.variance + distance * distance * (1 - share)) * share

    def dimension_for(self, fraction: float) -> int:
        """The least dimension that holds all objects of at least ``fraction`` of the events, at least 1 if any."""
        if self.kind == "flat" or fraction >= 1:
            return self.dimension
        below = np.cumsum(self.multiplicity)
        return min(self.dimension, max(1, int(np.searchsorted(below, math.ceil(fraction * below[-1])))))

    def truncated(self, dimension: int) -> tuple[int, int]:
        """Events with more objects than ``dimension``, and how many objects these have more."""
        above = self.multiplicity[dimension + 1 :]
        return sum(above), sum(events * more for more, events in enumerate(above, 1))

    def describe(self, column: Column) -> None:
        """Set the quantiles to those of a sample of the events."""
        ordered = np.sort(_finite(column.numbers))  # faster than partitioning, which numpy's quantiles do
        if len(ordered):
            places = np.array([float(level) for level in LEVELS]) * (len(ordered) - 1)
            found = np.interp(places, np.arange(len(ordered)), ordered)
            self.quantiles = dict(zip(LEVELS, found.tolist(), strict=True))


def _finite(numbers: NDArray[Any]) -> NDArray[Any]:
    """Those of ``numbers`` that are finite in float32; bool as 0 and 1."""
    if numbers.dtype.kind == "b":
        return numbers.view(np.uint8)
    if numbers.dtype.kind != "f" or not len(numbers):
        return numbers
    with np.errstate(over="ignore", invalid="ignore"):
        # One NaN or infinity shows in the extremes, so most arrays need no mask.
        extremes = np.array([numbers.min(), numbers.max()]).astype(np.float32)
        if np.isfinite(extremes).all():
            return numbers
        return numbers[np.isfinite(numbers.astype(np.float32))]
