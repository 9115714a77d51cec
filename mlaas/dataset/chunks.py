"""From open files to chunks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mlaas.assembly import Assembler
from mlaas.blocks import block_ranges
from mlaas.dataset.recipe import Recipe
from mlaas.dataset.sources import Source
from mlaas.dataset.split import PARTS, Part
from mlaas.dataset.stream import Kept, Prepared, Segment, Stream, chunk_bounds
from mlaas.prefetch import read_ahead

# Uncompressed bytes that the blocks of all files together take, and the least and most of one file.
BUFFERED_BYTES = 128 << 20
FILE_BYTES = (1 << 19, 16 << 20)


@dataclass(frozen=True)
class Chunk:
    """A block of events that looks like the whole.

    Attributes:
        x: float32 (n, width), normalised and filled.
        mask: bool (n, width), True where there is a value.
        y: float32 (n,), labels.
        weights: float32 (n,); None where all events have the weight 1.
    """

    x: NDArray[np.float32]
    mask: NDArray[np.bool_]
    y: NDArray[np.float32]
    weights: NDArray[np.float32] | None = None


class BlockSource(Protocol):
    """Files that are read block by block."""

    def sizes(self, part: Part) -> list[int]:
        """Entries of each file."""
        ...

    def ranges(self, number: int, part: Part) -> list[tuple[int, int]]:
        """The blocks of file ``number``, each from its first entry to past its last."""
        ...

    def read(self, number: int, part: Part, start: int, stop: int, normalise: bool) -> Prepared:
        """One of the blocks; it may hold events of other parts."""
        ...


class EventFiles:
    """The files of events themselves; see :class:`BlockSource`."""

    def __init__(self, files: Sequence[Source], recipe: Recipe) -> None:
        self._files = files
        self._recipe = recipe
        self._kept = Kept()

    def sizes(self, part: Part) -> list[int]:
        return [source.limit for source in self._files]

    def ranges(self, number: int, part: Part) -> list[tuple[int, int]]:
        size = min(max(BUFFERED_BYTES // len(self._files), FILE_BYTES[0]), FILE_BYTES[1])
        source = self._files[number]
        return block_ranges(source.reader, self._recipe.names, source.limit, size)

    def read(self, number: int, part: Part, start: int, stop: int, normalise: bool) -> Prepared:
        kept = self._kept.get(number, start) if normalise else None
        if kept is not None:
            return kept
        prepared = self._recipe.read(self._files[number], number, start, stop, normalise)
        if normalise:
            self._kept.put(number, start, prepared)
        return prepared


class Mixer:
    """Takes events from all files in proportion to their sizes, and places them in matrices.

    Args:
        weighted: Whether the events have weights.
        chunk_size, seed: See :class:`mlaas.dataset.DatasetParams`.
    """

    def __init__(self, source: BlockSource, assembler: Assembler, weighted: bool, chunk_size: int, seed: int) -> None:
        self._source = source
        self._assembler = assembler
        self._weighted = weighted
        self._chunk_size = chunk_size
        self._seed = seed

    def chunks(self, part: Part, epoch: int | None) -> Iterator[Chunk]:
        """Chunks of ``part``, in the order of ``epoch``; None leaves the events in the order of the files.

        Two threads work ahead: one reads and normalises the blocks of a chunk, the other places their events.
        """
        return read_ahead(self._placed(part, epoch))

    def raw(self, part: Part) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Values as they are and labels, in the order of the files; see :meth:`mlaas.dataset.Dataset.raw_chunks`."""
        for _, segments in self._segments(part, None, normalise=False):
            chunk = self._chunk(segments, None, normalise=False)
            yield chunk.x, chunk.y

    def _placed(self, part: Part, epoch: int | None) -> Iterator[Chunk]:
        for index, segments in read_ahead(self._segments(part, epoch, normalise=True)):
            order = None if epoch is None else np.random.default_rng([self._seed, epoch, index])
            yield self._chunk(segments, order, normalise=True)
            del segments

    def _segments(self, part: Part, epoch: int | None, normalise: bool) -> Iterator[tuple[int, list[Segment]]]:
        """Number and events of each chunk that has any."""
        sizes = self._source.sizes(part)
        if not sum(sizes):
            return
        bounds = chunk_bounds(sizes, self._chunk_size)
        streams = [self._stream(number, part, epoch, normalise) for number in range(len(sizes))]
        for index in range(len(bounds) - 1):
            segments = [
                segment
                for stream, start, stop in zip(streams, bounds[index], bounds[index + 1], strict=True)
                for segment in stream.take(int(start), int(stop))
            ]
            if segments:
                yield index, segments

    def _stream(self, number: int, part: Part, epoch: int | None, normalise: bool) -> Stream:
        order = None if epoch is None else np.random.default_rng([self._seed, epoch, number, 1])
        return Stream(
            self._source.ranges(number, part), order,
            lambda start, stop: self._source.read(number, part, start, stop, normalise), PARTS.index(part),
        )  # fmt: skip

    def _chunk(self, segments: list[Segment], order: np.random.Generator | None, normalise: bool) -> Chunk:
        """Place the events of ``segments``, which is empty after that."""
        targets = np.arange(sum(len(segment.rows) for segment in segments))
        if order is not None:
            targets = order.permutation(targets)
        matrix = self._assembler.empty(len(targets), normalise)
        y = np.empty(len(targets), dtype=np.float32)
        weights = np.empty(len(targets), dtype=np.float32) if self._weighted else None
        start = 0
        segments.reverse()
        while segments:
            prepared, rows = segments.pop()
            places = targets[start : start + len(rows)]
            prepared.block.place(rows, matrix, places)
            y[places] = prepared.labels[rows]
            if weights is not None and prepared.weights is not None:
                weights[places] = prepared.weights[rows]
            start += len(rows)
        return Chunk(matrix.x, matrix.mask, y, weights)
