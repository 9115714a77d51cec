"""Going through a file once, in step with other files."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mlaas.assembly import Matrix

# Data that take no more than this stay in memory, so that only the first epoch reads them.
KEPT_BYTES = 32 << 20


class Placeable(Protocol):
    """Events whose rows can be copied into a matrix."""

    @property
    def nbytes(self) -> int:
        """Memory that they take."""
        ...

    def place(self, rows: NDArray[np.int64], out: Matrix, targets: NDArray[np.int64]) -> None:
        """Write the events ``rows``, ascending, to the rows ``targets`` of ``out``, which has no events there yet."""
        ...


@dataclass(frozen=True)
class Prepared:
    """A block of events, to which part each belongs, and their labels and weights.

    Attributes:
        parts: int8 (n,), as their places in ``PARTS``, -1 for events that the selection drops.
        labels: float32 (n,). weights: float32 (n,), None where all are 1.
    """

    block: Placeable
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
        ranges: The blocks of the file, each from its first entry to past its last.
        order: Puts the blocks in random order; None leaves them as they are.
        read: Reads a block.
        part: The events that are wanted, as a place in ``PARTS``.
    """

    def __init__(
        self,
        ranges: Sequence[tuple[int, int]],
        order: np.random.Generator | None,
        read: Callable[[int, int], Prepared],
        part: int,
    ) -> None:
        self._read = read
        self._part = part
        places = range(len(ranges)) if order is None else order.permutation(len(ranges))
        self._ranges = iter([ranges[place] for place in places])
        self._start = self._stop = 0
        self._current: Prepared | None = None

    def take(self, start: int, stop: int) -> Iterator[Segment]:
        """The wanted events from ``start``, where the last call ended, up to ``stop``, counted in the order taken."""
        while start < stop:
            if start >= self._stop or self._current is None:
                self._current = None
                first, last = next(self._ranges)
                self._start, self._stop = self._stop, self._stop + last - first
                self._current = self._read(first, last)
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
