"""Parquet files, a row an event."""

import hashlib
from collections.abc import Sequence
from typing import Any

from mlaas.errors import DataError
from mlaas.readers.columnar import ColumnReader
from mlaas.readers.streams import open_stream

_MAGIC = b"PAR1"
# Rows that are decoded at a time, and bytes of each column that are held while its row group is gone through.
_BATCH = 8192
_BUFFER = 1 << 20


class ParquetFile:
    """See :class:`mlaas.readers.columnar.ColumnFile`; row groups may be of any size, none is held as a whole."""

    def __init__(self, path: str) -> None:
        import pyarrow.parquet as pq

        self.path = path
        self.unusable: dict[str, str] = {}
        self._stream = open_stream(path)
        try:
            if (magic := self._stream.read(4)) != _MAGIC:
                raise DataError(f"{path}: not a Parquet file, it begins with {magic!r}; expected {_MAGIC!r}")
            self._stream.seek(0)
            self._file = pq.ParquetFile(
                self._stream, buffer_size=_BUFFER, pre_buffer=False, page_checksum_verification=True
            )
            self.schema = self._file.schema_arrow
            self.entries = int(self._file.metadata.num_rows)
            self._ends = self._row_groups()
            self.identity = f"{self._digest()}:{self.entries}"
        except BaseException:
            self._stream.close()
            raise
        self._cursor: _Cursor | None = None

    def table(self, columns: Sequence[str], start: int, stop: int) -> Any:
        """See :class:`mlaas.readers.columnar.ColumnFile`."""
        import pyarrow as pa

        parts = []
        position = start
        while position < stop:
            group = next(index for index, end in enumerate(self._ends) if position < end)
            if self._cursor is None or not self._cursor.reaches(group, columns, position):
                first = self._ends[group - 1] if group else 0
                self._cursor = _Cursor(self._file, group, columns, first)
            part = self._cursor.take(position, min(stop, self._ends[group]))
            parts.append(part)
            position += part.num_rows
        if not parts:
            return pa.schema([self.schema.field(name) for name in columns]).empty_table()
        return pa.Table.from_batches(parts)

    def boundaries(self) -> Sequence[int]:
        """See :class:`mlaas.readers.columnar.ColumnFile`."""
        return self._ends

    def close(self) -> None:
        self._cursor = None
        self._file.close()
        self._stream.close()

    def _row_groups(self) -> list[int]:
        """The entries at which the row groups end."""
        ends, entries = [], 0
        for index in range(self._file.metadata.num_row_groups):
            entries += int(self._file.metadata.row_group(index).num_rows)
            ends.append(entries)
        return ends

    def _digest(self) -> str:
        """Of the end of the file, with the sizes, places and extremes of all columns, and of its beginning."""
        digest = hashlib.blake2b(digest_size=16)
        size = self._stream.seek(0, 2)
        footer = int(self._file.metadata.serialized_size) + 8
        for start, length in ((0, _BUFFER), (max(0, size - footer), footer)):
            self._stream.seek(start)
            digest.update(self._stream.read(length))
        return digest.hexdigest()


class _Cursor:
    """Goes through the rows of one row group."""

    def __init__(self, file: Any, group: int, columns: Sequence[str], start: int) -> None:
        self._key = (group, tuple(columns))
        self._batches = file.iter_batches(_BATCH, row_groups=[group], columns=list(columns), use_threads=False)
        self._start = self._stop = start
        self._batch: Any = None

    def reaches(self, group: int, columns: Sequence[str], position: int) -> bool:
        """Whether ``position`` of the group is not yet passed."""
        return self._key == (group, tuple(columns)) and self._start <= position

    def take(self, start: int, stop: int) -> Any:
        """The rows from ``start``, at least one, at most up to ``stop``."""
        while self._stop <= start:
            self._batch = next(self._batches, None)
            if self._batch is None:
                raise EOFError(f"the row group ends at entry {self._stop}")
            self._start, self._stop = self._stop, self._stop + self._batch.num_rows
        return self._batch.slice(start - self._start, min(stop, self._stop) - start)


class ParquetReader(ColumnReader):
    """Reads a Parquet file."""

    format = ParquetFile
