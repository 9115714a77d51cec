"""Going through a file once, in step with other files."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlaas.assembly import Block
from mlaas.readers.base import Events, Reader

# Uncompressed bytes that all files together keep in memory, and the least and most for one file.
BUFFERED_BYTES = 128 << 20
FILE_BYTES = (1 << 19, 16 << 20)


@dataclass(frozen=True)
class Prepared:
    """A block of events, which of them are wanted, and their labels.

    Attributes:
        wanted: bool (n,).
        labels: float32 (n,).
    """

    block: Block
    wanted: NDArray[np.bool_]
    labels: NDArray[np.float32]


@dataclass(frozen=True)
class Segment:
    """Rows int64 (n,) of a block of events."""

    prepared: Prepared
    rows: NDArray[np.int64]


class Stream:
    """Reads a file block by block, and hands out the wanted events of any range that follows the last.

    Args:
        names: Branches to read.
        limit: How many of the first events there are to hand out.
        files: How many files share the memory.
        prepare: From the events of a block and its first entry to what is kept of it.
    """

    def __init__(
        self,
        reader: Reader,
        names: Sequence[str],
        limit: int,
        files: int,
        prepare: Callable[[Events, int, int], Prepared],
    ) -> None:
        self._reader = reader
        self._names = names
        self._prepare = prepare
        size = min(max(BUFFERED_BYTES // files, FILE_BYTES[0]), FILE_BYTES[1])
        self._ranges = iter(reader.blocks(names, limit, size))
        self._start = self._stop = 0
        self._current: Prepared | None = None

    def take(self, start: int, stop: int) -> Iterator[Segment]:
        """The wanted events from ``start``, where the last call ended, up to ``stop``."""
        while start < stop:
            if start >= self._stop or self._current is None:
                self._current = None
                self._start, self._stop = next(self._ranges)
                events = self._reader.read(self._names, self._start, self._stop)
                self._current = self._prepare(events, self._start, self._stop)
            end = min(stop, self._stop)
            wanted = self._current.wanted[start - self._start : end - self._start]
            rows = np.flatnonzero(wanted) + (start - self._start)
            if len(rows):
                yield Segment(self._current, rows)
            start = end


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
