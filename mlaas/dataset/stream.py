"""Going through a file once, in step with other files."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlaas.assembly import Block
from mlaas.readers.base import Reader

# Uncompressed bytes that all files together keep in memory, and the least and most for one file.
BUFFERED_BYTES = 128 << 20
FILE_BYTES = (1 << 19, 16 << 20)
# Data that take no more than this stay in memory, so that only the first epoch reads them.
KEPT_BYTES = 32 << 20


@dataclass(frozen=True)
class Prepared:
    """A block of events, to which part each belongs, and their labels and weights.

    Attributes:
        parts: int8 (n,), as their places in ``PARTS``, -1 for events that the selection drops.
        labels: float32 (n,). weights: float32 (n,), None where all are 1.
    """

    block: Block
    parts: NDArray[np.int8]
    labels: NDArray[np.float32]
    weights: NDArray[np.float32] | None


class Segment(NamedTuple):
    """Rows int64 (n,) of a block of events."""

    prepared: Prepared
    rows: NDArray[np.int64]


class Kept:
    """The blocks of data that are small; none as soon as they turn out not to be."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[int, int], Prepared] = {}
        self._room = KEPT_BYTES
        self._lock = threading.Lock()

    def get(self, file: int, start: int) -> Prepared | None:
        """The block of file number ``file`` that begins at entry ``start``, if it is kept."""
        return self._blocks.get((file, start))

    def put(self, file: int, start: int, prepared: Prepared) -> None:
        """Keep a block, if there is room for all."""
        with self._lock:
            if self._room < 0 or (file, start) in self._blocks:
                return
            self._room -= prepared.block.nbytes + prepared.labels.nbytes
            self._blocks[file, start] = prepared
            if self._room < 0:
                self._blocks = {}


class Stream:
    """Reads a file block by block, and hands out the wanted events of any range that follows the last.

    Args:
        names: Branches to read.
        limit: How many of the first events there are to hand out.
        files: How many files share the memory.
        order: Puts the blocks in random order; None leaves them in that of the file.
        prepare: Reads the entries of a block, from the first to past the last.
        part: The events that are wanted, as a place in ``PARTS``.
    """

    def __init__(
        self,
        reader: Reader,
        names: Sequence[str],
        limit: int,
        files: int,
        order: np.random.Generator | None,
        prepare: Callable[[int, int], Prepared],
        part: int,
    ) -> None:
        self._prepare = prepare
        self._part = part
        size = min(max(BUFFERED_BYTES // files, FILE_BYTES[0]), FILE_BYTES[1])
        ranges = reader.blocks(names, limit, size)
        if order is not None:
            ranges = [ranges[place] for place in order.permutation(len(ranges))]
        self._ranges = iter(ranges)
        self._start = self._stop = 0
        self._current: Prepared | None = None

    def take(self, start: int, stop: int) -> Iterator[Segment]:
        """The wanted events from ``start``, where the last call ended, up to ``stop``, counted in the order taken."""
        while start < stop:
            if start >= self._stop or self._current is None:
                self._current = None
                first, last = next(self._ranges)
                self._start, self._stop = self._stop, self._stop + last - first
                self._current = self._prepare(first, last)
            end = min(stop, self._stop)
            wanted = self._current.parts[start - self._start : end - self._start] == self._part
            rows = np.flatnonzero(wanted) + (start - self._start)
            if len(rows):
                yield Segment(self._current, rows)
            start = end
        if start >= self._stop:
            self._current = None


def chunk_bounds(sizes: Sequence[int], chunk_size: int) -> NDArray[np.int64]:
    """int64 (chunks + 1, files): where in each file the chunks begin, and the last one ends.

    A chunk has at most ``chunk_size`` events, or one of each file where there are more files than that.
    """
    chunks = -(-sum(sizes) // chunk_size)
    bounds = np.outer(np.arange(chunks + 1), sizes) // chunks
    if np.diff(bounds, axis=0).sum(axis=1).max() > chunk_size:
        # Every file may add an event by rounding.
        chunks = -(-sum(sizes) // max(1, chunk_size - len(sizes) + 1))
        bounds = np.outer(np.arange(chunks + 1), sizes) // chunks
    return bounds
