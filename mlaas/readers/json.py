"""JSON lines: an object a line, whose numbers and lists of numbers are the branches."""

import re
from typing import Any, BinaryIO

from mlaas.errors import DataError
from mlaas.readers.columnar import ColumnReader
from mlaas.readers.lines import Feed, TextFile

_ROW = re.compile(r"(.*?)\.? in row (\d+)$", re.DOTALL)
_CHANGED = re.compile(r"Column\(/?(.*)\) changed from (\w+) to (\w+)")


class JsonFile(TextFile):
    """Reads JSON lines; a key that a line lacks is a missing value or an empty list."""

    def begin(self, stream: BinaryIO, digest: Feed) -> None:
        """Refuse a file that is one JSON list."""
        if stream.read(1) == b"[":
            raise DataError(f"{self.path}: begins with a list; expected JSON lines, an object a line")
        stream.seek(0)

    def parse(self, text: bytes, start: int, types: dict[str, Any] | None) -> Any:
        """See :meth:`mlaas.readers.lines.TextFile.parse`."""
        import pyarrow as pa
        from pyarrow.json import ParseOptions, ReadOptions, read_json

        if not text.strip():
            return pa.table({})
        options = ParseOptions()
        if types is not None:
            schema = pa.schema(list(types.items()))
            options = ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        try:
            return read_json(pa.BufferReader(text), ReadOptions(use_threads=False, block_size=len(text) + 1), options)
        except pa.ArrowInvalid as error:
            raise DataError(f"{self.path}: {_located(str(error), start)}") from error

    def mixed(self, name: str, column: Any, start: int, expected: Any) -> Any:
        """An object has to be like the others.

        Raises:
            DataError: Always.
        """
        raise DataError(
            f"{self.path}: branch {name} is {column.type} near entry {start}; expected {expected}, as before"
        )


class JsonReader(ColumnReader):
    """Reads a file of JSON lines."""

    format = JsonFile


def _located(message: str, start: int) -> str:
    """What Arrow says is wrong with a row, with the entry and the branch."""
    message = message.removeprefix("JSON parse error: ").strip()
    entry = f"near entry {start}"
    if match := _ROW.match(message):
        message, entry = match[1], f"entry {start + int(match[2])}"
    if match := _CHANGED.search(message):
        if not match[1]:
            return f"{entry} is a JSON {match[3]}; expected an object a line"
        return f"{entry}: branch {match[1].replace('/', '.')} is a {match[3]}; expected a {match[2]}, as before"
    return f"{entry} is not JSON: {message}"
