"""From open files to chunks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlaas.assembly import Assembler
from mlaas.dataset.sources import Source
from mlaas.dataset.split import PARTS, Part, Split
from mlaas.dataset.stream import Kept, Prepared, Segment, Stream, chunk_bounds
from mlaas.dataset.weights import Weights
from mlaas.prefetch import read_ahead
from mlaas.selection import Selection


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


class ChunkMaker:
    """Takes events from all files in proportion to their sizes, and places them in matrices.

    Args:
        names: Branches to read.
        weights: See :class:`Weights`.
        chunk_size, seed: See :class:`mlaas.dataset.DatasetParams`.
    """

    def __init__(
        self,
        files: Sequence[Source],
        names: Sequence[str],
        selection: Selection,
        split: Split,
        assembler: Assembler,
        weights: Weights,
        chunk_size: int,
        seed: int,
    ) -> None:
        self._files = files
        self._names = names
        self._selection = selection
        self._split = split
        self._assembler = assembler
        self._weights = weights
        self._bounds = chunk_bounds([source.limit for source in files], chunk_size)
        self._seed = seed
        self._kept = Kept()

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
        streams = [self._stream(number, part, epoch, normalise) for number in range(len(self._files))]
        for index in range(len(self._bounds) - 1):
            segments = [
                segment
                for stream, start, stop in zip(streams, self._bounds[index], self._bounds[index + 1], strict=True)
                for segment in stream.take(int(start), int(stop))
            ]
            if segments:
                yield index, segments

    def _chunk(self, segments: list[Segment], order: np.random.Generator | None, normalise: bool) -> Chunk:
        """Place the events of ``segments``, which is empty after that."""
        targets = np.arange(sum(len(segment.rows) for segment in segments))
        if order is not None:
            targets = order.permutation(targets)
        matrix = self._assembler.empty(len(targets), normalise)
        y = np.empty(len(targets), dtype=np.float32)
        weights = None if self._weights.trivial else np.empty(len(targets), dtype=np.float32)
        start = 0
        segments.reverse()
        while segments:
            prepared, rows = segments.pop()
            places = targets[start : start + len(rows)]
            self._assembler.place(prepared.block, rows, matrix, places)
            y[places] = prepared.labels[rows]
            if weights is not None and prepared.weights is not None:
                weights[places] = prepared.weights[rows]
            start += len(rows)
        return Chunk(matrix.x, matrix.mask, y, weights)

    def _stream(self, number: int, part: Part, epoch: int | None, normalise: bool) -> Stream:
        source = self._files[number]
        order = None if epoch is None else np.random.default_rng([self._seed, epoch, number, 1])
        return Stream(
            source.reader, self._names, source.limit, len(self._files), order,
            lambda start, stop: self._prepared(number, start, stop, normalise), PARTS.index(part),
        )  # fmt: skip

    def _prepared(self, number: int, start: int, stop: int, normalise: bool) -> Prepared:
        """Read entries from ``start`` to ``stop`` of file ``number``."""
        kept = self._kept.get(number, start) if normalise else None
        if kept is not None:
            return kept
        source = self._files[number]
        events = source.reader.read(self._names, start, stop)
        selected = self._selection.apply(events, stop - start)
        parts = self._split.of(source.reader.path, start, stop - start, selected.events)
        labels = source.labels(selected.events, stop - start)
        prepared = Prepared(
            self._assembler.prepare(selected.events, normalise),
            np.where(selected.kept, parts, np.int8(-1)),
            labels,
            None if self._weights.trivial else self._weights.of(number, selected.events, labels),
        )
        if normalise:
            self._kept.put(number, start, prepared)
        return prepared
