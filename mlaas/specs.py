"""First pass over the data: range, moments, quantiles and numbers of objects of each branch."""

import itertools
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mlaas.errors import SpecsError, listing
from mlaas.features import Feature
from mlaas.readers import basename
from mlaas.readers.arrays import flat_values, jagged_values
from mlaas.readers.base import Branch, Kind, Reader
from mlaas.sample import Column, EventSample, event_priorities
from mlaas.selection import Selected, Selection

FORMAT = 2
# Of the quantiles.
LEVELS = ("0.001", "0.01", "0.05", "0.25", "0.5", "0.75", "0.95", "0.99", "0.999")
# Bytes of uncompressed branches that are read at a time.
BLOCK_BYTES = 16 << 20

Progress = Callable[[int, int], None]
Visitor = Callable[[int, int, Selected], None]


@dataclass
class BranchSpecs:
    """What the first pass saw of one branch, over the events that the selection keeps.

    Attributes:
        dtype: numpy name of the numbers in the file.
        minimum: Smallest value that is finite in float32; None where there is none. maximum: largest.
        mean: Of the finite values; None where there is none. variance: their mean squared deviation from it.
        quantiles: Level → value, of the finite values of the sampled events; see :class:`Specs`.
        dimension: Most objects in an event; 1 for flat.
        multiplicity: Events with 0, 1, 2, … objects; empty for flat.
        values: Numbers seen, those that are not finite included.
        not_finite: How many are NaN, infinite, or too large for float32.
        missing: How many of those are NaN.
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
        finite = _finite(column.numbers)
        if len(finite):
            found = np.quantile(finite.astype(np.float64), [float(level) for level in LEVELS])
            self.quantiles = dict(zip(LEVELS, found.tolist(), strict=True))


@dataclass
class Specs:
    """The specs of all branches, and which data they were computed from.

    Attributes:
        branches: In the order of the features.
        entries: Events that were kept.
        sampled: Events that the quantiles were computed from: all, or so many taken at random.
        identity: See :func:`specs_identity`.
    """

    branches: dict[str, BranchSpecs]
    identity: dict[str, Any]
    entries: int = 0
    sampled: int = 0
    _sample: EventSample = field(default_factory=EventSample, compare=False, repr=False)

    @classmethod
    def empty(cls, branches: Mapping[str, Branch], identity: dict[str, Any]) -> Self:
        """Specs of ``branches`` before any event."""
        return cls({name: BranchSpecs(one.kind, one.dtype) for name, one in branches.items()}, identity)

    def add(self, selected: Selected, priorities: NDArray[np.uint64]) -> None:
        """Take in the events that are kept.

        Args:
            priorities: uint64 (n,) of all events; see :func:`mlaas.sample.event_priorities`.
        """
        kept = selected.kept
        self.entries += int(np.count_nonzero(kept))
        columns = {name: _column(selected.events[name], one.kind, kept) for name, one in self.branches.items()}
        for name, column in columns.items():
            self.branches[name].add(column)
        self._sample.add(priorities[kept], columns)

    def merge(self, other: "Specs") -> None:
        """Take in those of other events of the same branches."""
        self.entries += other.entries
        for name, branch in self.branches.items():
            branch.merge(other.branches[name])
        self._sample.merge(other._sample)

    def finish(self) -> None:
        """Compute the quantiles, when all events are in."""
        self.sampled = min(self.entries, self._sample.size)
        for name, column in self._sample.columns().items():
            self.branches[name].describe(column)

    @property
    def dropped(self) -> dict[str, str]:
        """Branches that cannot be features → why: they are empty in every event."""
        reasons = {}
        for name, branch in self.branches.items():
            if branch.dimension == 0:
                reasons[name] = "it is empty in every event"
            elif branch.minimum is None:
                reasons[name] = "it has no finite value in any event"
        return reasons

    @property
    def features(self) -> tuple[Feature, ...]:
        """All branches that are not dropped."""
        return self.features_for(1.0)

    def features_for(self, fraction: float) -> tuple[Feature, ...]:
        """All branches that are not dropped, each with the dimension that holds ``fraction`` of the events."""
        dropped = self.dropped
        return tuple(
            Feature(name, branch.kind, branch.dimension_for(fraction))
            for name, branch in self.branches.items()
            if name not in dropped
        )

    def require(self, identity: Mapping[str, Any]) -> None:
        """Check that the specs belong to the data that ``identity`` describes.

        Raises:
            SpecsError: Names everything that differs.
        """
        differing = [
            _difference(what, self.identity.get(what), expected)
            for what, expected in identity.items()
            if self.identity.get(what) != expected
        ]
        if differing:
            raise SpecsError(
                f"the specs are of other data: {'; '.join(differing)}; expected specs of these data, remove "
                "the file to compute them again"
            )

    def save(self, path: str | Path) -> None:
        """Write JSON; a reader sees the old file or the new one, never a part.

        Raises:
            SpecsError: The file cannot be written.
        """
        branches = {name: asdict(branch) for name, branch in self.branches.items()}
        content = {
            "format": FORMAT, "identity": self.identity, "entries": self.entries, "sampled": self.sampled,
            "branches": branches,
        }  # fmt: skip
        unfinished = Path(f"{path}.{os.getpid()}.part")
        try:
            unfinished.write_text(json.dumps(content, indent=1, allow_nan=False), "utf-8")
            unfinished.replace(path)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise SpecsError(f"{path}: the specs cannot be written: {error.strerror}") from error

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what ``save`` has written.

        Raises:
            SpecsError: Missing, damaged, or of another version.
        """
        try:
            content = json.loads(Path(path).read_text("utf-8"))
            if content["format"] != FORMAT:
                raise SpecsError(f"{path}: specs of format {content['format']}; expected {FORMAT}")
            branches = {name: BranchSpecs(**one) for name, one in content["branches"].items()}
            return cls(branches, content["identity"], content["entries"], content["sampled"])
        except OSError as error:
            raise SpecsError(f"{path}: {error.strerror}") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SpecsError(f"{path}: not specs as mlaas writes them, remove the file") from error


@dataclass(frozen=True)
class Pass:
    """One pass over the events of several files.

    Attributes:
        limits: For each reader how many of its first events to read.
        names: Branches to read.
        selection: Applied to every block of events.
        progress: Called with events done and events in all.
    """

    readers: Sequence[Reader]
    limits: Sequence[int]
    names: Sequence[str]
    selection: Selection = field(default_factory=Selection)
    progress: Progress | None = None

    def run(self, *visitors: Visitor) -> None:
        """Call each of ``visitors`` with file number, first entry and selected events of every block."""
        done, total = 0, sum(self.limits)
        for number, (reader, limit) in enumerate(zip(self.readers, self.limits, strict=True)):
            for start, stop in reader.blocks(self.names, limit, BLOCK_BYTES):
                events = reader.read(self.names, start, stop)
                selected = self.selection.apply(events, stop - start)
                for visit in visitors:
                    visit(number, start, selected)
                done += stop - start
                if self.progress is not None:
                    self.progress(done, total)


def compute_specs(
    readers: Sequence[Reader],
    branches: Mapping[str, Branch],
    selection: Selection,
    limits: Sequence[int] | None = None,
    progress: Progress | None = None,
    visitors: Sequence[Visitor] = (),
    also: Sequence[str] = (),
) -> Specs:
    """Read every event once.

    Args:
        readers: The files, whose branches are alike.
        branches: Those to describe, new ones of ``selection`` included.
        limits: For each reader how many of its first events to take; None takes all.
        visitors: See :meth:`Pass.run`; they see the same events, for a pass less.
        also: Branches that the visitors need besides.
    """
    limits = [reader.entries for reader in readers] if limits is None else limits
    specs = Specs.empty(branches, specs_identity(readers, branches, selection, limits))
    in_files = readers[0].branches
    needed = [*branches, *selection.required(in_files), *also]
    names = [name for name in dict.fromkeys(needed) if name in in_files]

    def add(number: int, start: int, selected: Selected) -> None:
        specs.add(selected, event_priorities(readers[number].identity, start, start + len(selected.kept)))

    Pass(readers, limits, names, selection, progress).run(add, *visitors)
    specs.finish()
    return specs


def specs_identity(
    readers: Sequence[Reader], branches: Mapping[str, Branch], selection: Selection, limits: Sequence[int]
) -> dict[str, Any]:
    """What the specs depend on: the same for the same data under another path or from a server."""
    files = [
        {"file": basename(reader.path), "identity": reader.identity, "events": limit}
        for reader, limit in zip(readers, limits, strict=True)
    ]
    return {
        "tree": sorted({reader.tree for reader in readers}),
        "files": sorted(files, key=lambda one: str(one["identity"])),
        "nevts": sum(limits),
        "branches": [f"{branch.name} ({branch.kind})" for branch in branches.values()],
        "selection": selection.digest,
    }


def _column(array: Any, kind: Kind, kept: NDArray[np.bool_]) -> Column:
    """The events of ``array`` that are ``kept``, bool (n,)."""
    every = bool(kept.all())
    if kind == "flat":
        numbers = flat_values(array)
        return Column(None, numbers if every else numbers[kept])
    offsets, content = jagged_values(array)
    counts = np.diff(offsets)
    numbers = content[offsets[0] : offsets[-1]]
    return Column(counts, numbers) if every else Column(counts[kept], numbers[np.repeat(kept, counts)])


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


def _difference(what: str, had: Any, expected: Any) -> str:
    """``what`` differs, and how, in a few words."""
    if what == "selection":
        return "selection (other new branches or cuts)"
    if not isinstance(had, list) or not isinstance(expected, list):
        return f"{what} ({had!r} instead of {expected!r})"
    before = [one["file"] if isinstance(one, dict) else one for one in had if one not in expected]
    after = [one["file"] if isinstance(one, dict) else one for one in expected if one not in had]
    if not before and not after:
        return f"{what} (in another order)"
    return f"{what} ({listing(before, 3)} instead of {listing(after, 3)})"
