"""CSV files: a header line with the names of the branches, then a line of numbers an event."""

import csv
from typing import Any, BinaryIO

from mlaas.errors import DataError
from mlaas.readers.columnar import ColumnReader
from mlaas.readers.lines import Feed, TextFile

# Of these the one that the header has most often.
DELIMITERS = ",;\t|"


class CsvFile(TextFile):
    """Reads the columns of a CSV file; empty fields, ``NA``, ``null`` and ``nan`` are missing values."""

    def begin(self, stream: BinaryIO, digest: Feed) -> None:
        """Take the names of the columns from the header."""
        line = stream.readline()
        digest(line)
        try:
            header = line.decode("utf-8-sig").strip().lstrip("#").strip()
        except UnicodeDecodeError as error:
            raise DataError(f"{self.path}: not a CSV file, its first line is not text") from error
        self._delimiter = max(DELIMITERS, key=header.count)
        names = next(csv.reader([header], delimiter=self._delimiter), [])
        self._names = [name.strip() or f"column {number}" for number, name in enumerate(names, 1)]
        if names and all(_is_number(name) for name in names):
            raise DataError(f"{self.path}: the first line is {header[:60]!r}; expected the names of the columns")
        if twice := {name for name in self._names if self._names.count(name) > 1}:
            raise DataError(f"{self.path}: two columns have the name {min(twice)}")
        self.unusable = {
            kept: "it has no name" for name, kept in zip(names, self._names, strict=True) if not name.strip()
        }

    def parse(self, text: bytes, start: int, types: dict[str, Any] | None) -> Any:
        """See :meth:`mlaas.readers.lines.TextFile.parse`."""
        import pyarrow as pa
        from pyarrow.csv import ConvertOptions, ParseOptions, ReadOptions, read_csv

        try:
            text.decode("utf-8")
        except UnicodeDecodeError as error:
            entry = start + text[: error.start].count(b"\n")
            raise DataError(f"{self.path}: entry {entry} is damaged, its bytes are not text in UTF-8") from error
        wrong: list[Any] = []

        def remember(row: Any) -> str:
            wrong.append(row)
            return "error"

        try:
            table = read_csv(
                pa.BufferReader(text),
                # Arrow numbers the rows on one thread only.
                ReadOptions(column_names=self._names, use_threads=False, block_size=len(text) + 1),
                ParseOptions(delimiter=self._delimiter, invalid_row_handler=remember),
                ConvertOptions(column_types=types, include_columns=list(types or ())),
            )
        except pa.ArrowInvalid as error:
            if not wrong:
                raise
            row = wrong[0]
            raise DataError(
                f"{self.path}: entry {start + row.number - 1} has {row.actual_columns} values; expected"
                f" {row.expected_columns}, as the header has: {row.text[:60]!r}"
            ) from error
        if types is None:
            for field in table.schema:
                if pa.types.is_string(field.type) and field.name not in self.unusable:
                    self.unusable[field.name] = _why_text(table.column(field.name), start)
        return table

    def mixed(self, name: str, column: Any, start: int, expected: Any) -> Any:
        """A column of several types is text, and no feature."""
        import pyarrow as pa

        self.unusable.setdefault(name, f"it is {expected} at first and {column.type} near entry {start}")
        return pa.string()


class CsvReader(ColumnReader):
    """Reads a CSV file."""

    format = CsvFile


def _why_text(column: Any, start: int) -> str:
    """Why a column of text, which begins at entry ``start``, is none of numbers."""
    values = column.to_pylist()
    strange = [entry for entry, value in enumerate(values) if value is not None and not _is_number(value)]
    if not start and len(strange) == len(values):
        return "it holds strings"
    if not strange:
        return f"it holds strings from entry {start} on"
    return f"entry {start + strange[0]} holds {values[strange[0]][:40]!r}, which is not a number"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
