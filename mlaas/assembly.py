"""Awkward arrays to padded, normalised float32 matrices."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlaas.features import Feature, width
from mlaas.readers.arrays import flat_values, jagged_values
from mlaas.readers.base import Events

# Rows are normalised in slabs of about this many values, which stay in the cache of a core.
_SLAB_VALUES = 1 << 17


@dataclass
class _Group:
    """Jagged features of equal dimension whose objects sit at the same offsets."""

    offsets: NDArray[np.int64]
    dimension: int
    members: list[tuple[int, NDArray[Any]]] = field(default_factory=list)


@dataclass
class Block:
    """Events as plain numpy arrays, ready to be placed in a matrix.

    Attributes:
        flat: Column and values (n,) of each flat feature.
        groups: Jagged features, by where their objects are.
    """

    flat: list[tuple[int, NDArray[Any]]] = field(default_factory=list)
    groups: list[_Group] = field(default_factory=list)


class Assembler:
    """Places features in columns and scales them to [0, 1] by minimum and maximum.

    Args:
        features: In the order of their columns.
        minimum: Smallest value of each feature; maximum: largest value of each feature. Those of a jagged
            feature hold for all of its columns.
        fill: Normalised value of what is missing: absent objects and values that are not finite.

    Attributes:
        shift: float32 (width,), subtracted first.
        scale: float32 (width,), multiplied after; 1 for a constant feature.
    """

    def __init__(
        self, features: Sequence[Feature], minimum: Sequence[float], maximum: Sequence[float], fill: float = 0.0
    ) -> None:
        self.features = tuple(features)
        self.width = width(features)
        self.fill = np.float32(fill)
        dimensions = [feature.dimension for feature in features]
        shift, scale = _shift_and_scale(np.asarray(minimum), np.asarray(maximum))
        self.shift: NDArray[np.float32] = np.repeat(shift, dimensions)
        self.scale: NDArray[np.float32] = np.repeat(scale, dimensions)

    def prepare(self, events: Events) -> Block:
        """Take awkward arrays apart once, to place any of their rows later."""
        block = Block()
        column = 0
        for feature in self.features:
            array = events[feature.name]
            if feature.kind == "flat":
                block.flat.append((column, flat_values(array)))
            else:
                offsets, content = jagged_values(array)
                group = _group_of(block.groups, offsets, feature.dimension)
                group.members.append((column, content))
            column += feature.dimension
        return block

    def place(
        self, block: Block, rows: NDArray[np.int64], out: NDArray[np.float32], targets: NDArray[np.int64]
    ) -> None:
        """Write the events ``rows`` of ``block`` to the rows ``targets`` of ``out``.

        Args:
            out: C-contiguous (n, width), NaN where nothing is written.
        """
        values = out.reshape(-1)
        starts = targets * self.width
        with np.errstate(over="ignore", invalid="ignore"):
            for column, source in block.flat:
                values[column:][starts] = source[rows]
            for group in block.groups:
                objects, places = _objects(group, rows, starts)
                for column, source in group.members:
                    values[column:][places] = source[objects]

    def raw(self, events: Events) -> NDArray[np.float32]:
        """float32 (n, width) of the values as they are, NaN for absent objects and what is not finite.

        Objects past the dimension of their feature are left out.
        """
        block = self.prepare(events)
        entries = _entries(block)
        out = np.full((entries, self.width), np.nan, dtype=np.float32)
        rows = np.arange(entries)
        self.place(block, rows, out, rows)
        out[~np.isfinite(out)] = np.nan
        return out

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


def _shift_and_scale(
    minimum: NDArray[np.float64], maximum: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What takes ``minimum`` to 0 and ``maximum`` to 1, and no value between them out of float32."""
    shift, top = minimum.astype(np.float32), maximum.astype(np.float32)
    with np.errstate(divide="ignore", over="ignore"):
        # A range that is wider than float32 is only divided by its largest magnitude.
        too_wide = ~np.isfinite(top - shift)
        span = np.where(too_wide, np.maximum(-minimum, maximum), top.astype(np.float64) - shift)
        scale = (1.0 / span).astype(np.float32)
    return np.where(too_wide, 0, shift).astype(np.float32), np.where(np.isfinite(scale), scale, 1)


def _group_of(groups: list[_Group], offsets: NDArray[np.int64], dimension: int) -> _Group:
    # Branches of one collection follow each other, so the last group is the most likely one.
    for group in reversed(groups):
        if group.dimension == dimension and np.array_equal(group.offsets, offsets):
            return group
    groups.append(_Group(offsets, dimension))
    return groups[-1]


def _objects(
    group: _Group, rows: NDArray[np.int64], starts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which objects the events ``rows`` have, and where they go when an event begins at ``starts``."""
    first = group.offsets[rows]
    counts = np.minimum(group.offsets[rows + 1] - first, group.dimension)
    before = np.cumsum(counts) - counts
    running = np.arange(int(counts.sum()))
    return np.repeat(first - before, counts) + running, np.repeat(starts - before, counts) + running


def _entries(block: Block) -> int:
    if block.flat:
        return len(block.flat[0][1])
    return len(block.groups[0].offsets) - 1 if block.groups else 0
