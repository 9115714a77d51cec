"""Awkward arrays to padded, normalised float32 matrices."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlaas.features import Feature, width
from mlaas.normalisation import Scaling
from mlaas.readers.arrays import flat_values, jagged_values
from mlaas.readers.base import Events

# Rows are normalised in slabs of about this many values, which stay in the cache of a core.
_SLAB_VALUES = 1 << 17


class _Values(NamedTuple):
    """Numbers of one feature, float32 (n,); those that are not ``finite`` are missing, None where all are there."""

    column: int
    numbers: NDArray[np.float32]
    finite: NDArray[np.bool_] | None


@dataclass
class _Group:
    """Jagged features of equal dimension whose objects sit at the same offsets."""

    offsets: NDArray[np.int64]
    dimension: int
    members: list[_Values] = field(default_factory=list)


class Matrix(NamedTuple):
    """float32 (n, width) values, and bool (n, width), True where there is one."""

    x: NDArray[np.float32]
    mask: NDArray[np.bool_]


@dataclass
class Block:
    """Events as plain numpy arrays, ready to be placed in a matrix.

    Attributes:
        width: Columns of the matrix.
        flat: Flat features.
        groups: Jagged features, by where their objects are.
    """

    width: int
    flat: list[_Values] = field(default_factory=list)
    groups: list[_Group] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        values = [*self.flat, *(member for group in self.groups for member in group.members)]
        offsets = sum(group.offsets.nbytes for group in self.groups)
        return offsets + sum(one.numbers.nbytes + (0 if one.finite is None else one.finite.nbytes) for one in values)

    def place(self, rows: NDArray[np.int64], out: Matrix, targets: NDArray[np.int64]) -> None:
        """Write the events ``rows``, ascending, to the rows ``targets`` of ``out``.

        Args:
            out: From :meth:`Assembler.empty`.
        """
        x, mask = out.x.reshape(-1), out.mask.reshape(-1)
        starts = targets * self.width
        for column, numbers, finite in self.flat:
            x[column:][starts] = numbers[rows]
            if finite is not None:
                mask[column:][starts] = finite[rows]
        for group in self.groups:
            objects, places = _objects(group, rows, starts)
            for column, numbers, finite in group.members:
                x[column:][places] = numbers[objects]
                mask[column:][places] = True if finite is None else finite[objects]


class Assembler:
    """Places features in columns and scales them.

    Args:
        features: In the order of their columns.
        scalings: Of each feature; that of a jagged feature holds for all of its columns.
        fill: Normalised value of what is missing: absent objects and values that are not finite.

    Attributes:
        shift: float32 (width,), subtracted first.
        scale: float32 (width,), multiplied after.
    """

    def __init__(self, features: Sequence[Feature], scalings: Sequence[Scaling], fill: float = 0.0) -> None:
        self.features = tuple(features)
        self.width = width(features)
        self.fill = np.float32(fill)
        dimensions = [feature.dimension for feature in features]
        self.shift: NDArray[np.float32] = _by_column([one.shift for one in scalings], dimensions)
        self.scale: NDArray[np.float32] = _by_column([one.scale for one in scalings], dimensions)
        self._flat: NDArray[np.bool_] = np.repeat([feature.kind == "flat" for feature in features], dimensions)

    def prepare(self, events: Events, normalise: bool = True) -> Block:
        """Take awkward arrays apart and scale their numbers once, to place any of their rows later.

        Args:
            normalise: Whether to scale, and have ``fill`` for what is not finite; else that is NaN.
        """
        block = Block(self.width)
        column = 0
        for feature in self.features:
            array = events[feature.name]
            if feature.kind == "flat":
                block.flat.append(self._values(column, flat_values(array), normalise))
            else:
                offsets, content = jagged_values(array)
                first, last = offsets[0], offsets[-1]
                group = _group_of(block.groups, offsets - first if first else offsets, feature.dimension)
                group.members.append(self._values(column, content[first:last], normalise))
            column += feature.dimension
        return block

    def empty(self, events: int, normalise: bool = True) -> Matrix:
        """A matrix of ``events`` in which only flat features have values, to place all of them in."""
        x = np.full((events, self.width), self.fill if normalise else np.nan, dtype=np.float32)
        mask = np.empty(x.shape, dtype=np.bool_)
        mask[:] = self._flat
        return Matrix(x, mask)

    def raw(self, events: Events) -> NDArray[np.float32]:
        """float32 (n, width) of the values as they are, NaN for absent objects and what is not finite.

        Objects past the dimension of their feature are left out.
        """
        block = self.prepare(events, normalise=False)
        entries = _entries(block)
        out = self.empty(entries, normalise=False)
        rows = np.arange(entries)
        block.place(rows, out, rows)
        return out.x

    def normalise(
        self, raw: NDArray[np.float32], out: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """``(raw - shift) * scale`` in float32, with ``fill`` for what is missing.

        Args:
            raw: float32 (n, width); what is not finite is missing.
            out: Where to write, which may be ``raw``; None makes a new array.

        Returns:
            float32 (n, width) and bool (n, width), True where there is a value.
        """
        x = np.empty_like(raw) if out is None else out
        mask = np.empty(raw.shape, dtype=np.bool_)
        step = max(1, _SLAB_VALUES // max(1, self.width))
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, len(raw), step):
                slab = slice(start, start + step)
                np.isfinite(raw[slab], out=mask[slab])
                np.subtract(raw[slab], self.shift, out=x[slab])
                np.multiply(x[slab], self.scale, out=x[slab])
                np.copyto(x[slab], self.fill, where=~mask[slab])
        return x, mask

    def _values(self, column: int, numbers: NDArray[np.generic], normalise: bool) -> _Values:
        with np.errstate(over="ignore", invalid="ignore"):
            values = numbers.astype(np.float32, copy=False)
            finite = np.isfinite(values)
            if normalise:
                values = (values - self.shift[column]) * self.scale[column]
        if finite.all():
            return _Values(column, values, None)
        return _Values(column, np.where(finite, values, self.fill if normalise else np.float32(np.nan)), finite)


def _by_column(values: Sequence[float], dimensions: Sequence[int]) -> NDArray[np.float32]:
    return np.repeat(np.asarray(values, dtype=np.float32), dimensions)


def _group_of(groups: list[_Group], offsets: NDArray[np.int64], dimension: int) -> _Group:
    # Branches of one collection follow each other, so the last group is the most likely one.
    for group in reversed(groups):
        if group.dimension == dimension and np.array_equal(group.offsets, offsets):
            return group
    groups.append(_Group(offsets, dimension))
    return groups[-1]


def _objects(
    group: _Group, rows: NDArray[np.int64], starts: NDArray[np.int64]
) -> tuple[NDArray[np.int64] | slice, NDArray[np.int64]]:
    """Which objects the events ``rows`` have, and where they go when an event begins at ``starts``."""
    first = group.offsets[rows]
    counts = group.offsets[rows + 1] - first
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and counts.max() <= group.dimension:
        # All objects of neighbouring events: no need to pick them one by one.
        low, high = int(first[0]), int(group.offsets[rows[-1] + 1])
        return slice(low, high), np.repeat(starts - first, counts) + np.arange(low, high)
    counts = np.minimum(counts, group.dimension)
    before = np.cumsum(counts) - counts
    running = np.arange(int(counts.sum()))
    return np.repeat(first - before, counts) + running, np.repeat(starts - before, counts) + running


def _entries(block: Block) -> int:
    if block.flat:
        return len(block.flat[0].numbers)
    return len(block.groups[0].offsets) - 1 if block.groups else 0
