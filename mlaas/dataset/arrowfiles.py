"""Assembled events in Arrow files: written once, read in any order."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlaas.assembly import Assembler, Matrix
from mlaas.dataset.chunks import Chunk
from mlaas.dataset.split import PARTS, Part
from mlaas.dataset.stream import Prepared
from mlaas.errors import DataError

# Of the matrix in a record batch: what training holds of each file.
BATCH_BYTES = 4 << 20


@dataclass(frozen=True)
class BatchEntry:
    """A record batch, as the manifest lists it.

    Attributes:
        place: Its number in its file.
        crc32: Of the bytes of its numbers.
    """

    file: str
    place: int
    part: Part
    rows: int
    crc32: int


@dataclass(frozen=True)
class PlacedRows:
    """Events that are assembled already; see :class:`mlaas.dataset.stream.Placeable`."""

    matrix: Matrix

    @property
    def nbytes(self) -> int:
        return self.matrix.x.nbytes + self.matrix.mask.nbytes

    def place(self, rows: NDArray[np.int64], out: Matrix, targets: NDArray[np.int64]) -> None:
        out.x[targets] = self.matrix.x[rows]
        out.mask[targets] = self.matrix.mask[rows]


def write_batches(path: Path, blocks: Iterator[Prepared], assembler: Assembler, weighted: bool) -> list[BatchEntry]:
    """Write the events of ``blocks``, which are not normalised, apart by part.

    Raises:
        DataError: The file cannot be written.
    """
    entries: list[BatchEntry] = []
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    try:
        with (
            pa.OSFile(str(path), "wb") as sink,
            pa.ipc.new_file(sink, _schema(assembler.width, weighted), options=options) as writer,
        ):
            for block in blocks:
                for part, chunk in _by_part(block, assembler):
                    writer.write_batch(_batch(chunk, weighted))
                    entries.append(BatchEntry(path.name, len(entries), part, len(chunk.y), _crc32(chunk)))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be written: {_reason(error)}") from error
    return entries


def read_batch(folder: Path, entry: BatchEntry, assembler: Assembler, normalise: bool) -> Prepared:
    """Read a record batch.

    Raises:
        DataError: The file is not there, or not what was written.
    """
    path = folder / entry.file
    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
            batch = file.get_batch(entry.place)
            columns = {name: batch.column(name) for name in batch.schema.names}
            x = columns["x"].flatten().to_numpy(zero_copy_only=True).reshape(-1, assembler.width)
            y = columns["y"].to_numpy(zero_copy_only=True)
            weights = columns["weight"].to_numpy(zero_copy_only=True) if "weight" in columns else None
    except (OSError, pa.ArrowException, ValueError, KeyError, IndexError) as error:
        raise DataError(f"{path}: cannot be read: {_reason(error)}") from error
    if len(y) != entry.rows or _crc32(Chunk(x, np.empty(0, bool), y, weights)) != entry.crc32:
        raise DataError(f"{path}: damaged, record batch {entry.place} is not what was written; prepare it again")
    matrix = Matrix(*assembler.normalise(x)) if normalise else Matrix(x, np.isfinite(x))
    return Prepared(PlacedRows(matrix), np.full(len(y), PARTS.index(entry.part), np.int8), y, weights)


def _by_part(block: Prepared, assembler: Assembler) -> Iterator[tuple[Part, Chunk]]:
    """The events of each part, in pieces of at most ``BATCH_BYTES``."""
    most = max(1, BATCH_BYTES // (4 * assembler.width))
    for number, part in enumerate(PARTS):
        rows = np.flatnonzero(block.parts == number)
        for start in range(0, len(rows), most):
            some = rows[start : start + most]
            matrix = assembler.empty(len(some), normalise=False)
            block.block.place(some, matrix, np.arange(len(some)))
            weights = None if block.weights is None else block.weights[some]
            yield part, Chunk(matrix.x, matrix.mask, block.labels[some], weights)


def _schema(width: int, weighted: bool) -> pa.Schema:
    fields = [("x", pa.list_(pa.float32(), width)), ("y", pa.float32())]
    return pa.schema(fields + [("weight", pa.float32())] * weighted)


def _batch(chunk: Chunk, weighted: bool) -> pa.RecordBatch:
    x = pa.FixedSizeListArray.from_arrays(pa.array(chunk.x.reshape(-1)), chunk.x.shape[1])
    arrays = [x, pa.array(chunk.y)] + ([pa.array(chunk.weights)] if weighted else [])
    return pa.record_batch(arrays, schema=_schema(chunk.x.shape[1], weighted))


def _crc32(chunk: Chunk) -> int:
    from isal import isal_zlib

    check = 0
    for array in (chunk.x, chunk.y, chunk.weights):
        if array is not None:
            check = isal_zlib.crc32(np.ascontiguousarray(array).view(np.uint8), check)
    return check


def _reason(error: Any) -> str:
    return str(getattr(error, "strerror", None) or error).split("\n", 1)[0]
