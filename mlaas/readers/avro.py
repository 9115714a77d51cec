"""Avro container files, a record an event."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

from mlaas.errors import DataError
from mlaas.readers.avro_records import LargeInteger, RecordDecoder
from mlaas.readers.columnar import ColumnReader
from mlaas.readers.streams import open_decompressed

_MAGIC = b"Obj\x01"
_SYNC_BYTES = 16


class _Block(NamedTuple):
    """Where in the file the records ``start`` to ``stop`` are, with their counts and their marker."""

    offset: int
    length: int
    start: int
    stop: int


class AvroFile:
    """See :class:`mlaas.readers.columnar.ColumnFile`; the blocks are found when the file is opened."""

    def __init__(self, path: str) -> None:
        import pyarrow as pa
        from fastavro import block_reader

        self.path = path
        self.unusable: dict[str, str] = {}
        self._decoder: tuple[tuple[str, ...], RecordDecoder] | None = None
        self._stream = open_decompressed(path)
        try:
            if (magic := self._stream.read(4)) != _MAGIC:
                raise DataError(f"{path}: not an Avro file, it begins with {magic!r}; expected {_MAGIC!r}")
            self._stream.seek(0)
            self._avro: Any = block_reader(self._stream).writer_schema
            if not isinstance(self._avro, dict) or self._avro.get("type") != "record":
                raise DataError(f"{path}: holds no records; expected a record an event")
            length = self._stream.tell()
            self._stream.seek(0)
            self._header = self._stream.read(length)
            self._blocks = _find_blocks(path, self._stream, self._header[-_SYNC_BYTES:])
        except BaseException:
            self.close()
            raise
        self.entries = self._blocks[-1].stop if self._blocks else 0
        self.identity = f"{self._header[-_SYNC_BYTES:].hex()}:{self.entries}"
        named: dict[str, Any] = {}
        self.schema = pa.schema([(one["name"], _arrow_type(one["type"], named)) for one in self._avro["fields"]])

    def table(self, columns: Sequence[str], start: int, stop: int) -> Any:
        """See :class:`mlaas.readers.columnar.ColumnFile`."""
        import pyarrow as pa
        from fastavro import block_reader

        blocks = [block for block in self._blocks if block.start < stop and start < block.stop]
        if not blocks:
            return pa.schema([self.schema.field(name) for name in columns]).empty_table()
        self._stream.seek(blocks[0].offset)
        length = blocks[-1].offset + blocks[-1].length - blocks[0].offset
        content = self._header + self._stream.read(length)
        first, last = blocks[0].start, blocks[-1].stop
        if any(pa.types.is_string(self.schema.field(name).type) for name in columns):  # the decoder passes over strings
            return self._slowly(content, columns).slice(start - first, stop - start)
        records = b"".join(block.bytes_.getvalue() for block in block_reader(io.BytesIO(content)))
        if self._decoder is None or self._decoder[0] != tuple(columns):
            self._decoder = (tuple(columns), RecordDecoder(self._avro, columns))
        try:
            table = self._decoder[1].decode(records, last - first)
        except LargeInteger:
            table = self._slowly(content, columns)
        return table.slice(start - first, stop - start)

    def _slowly(self, content: bytes, columns: Sequence[str]) -> Any:
        """Arrow table of all records in a file, decoded one by one."""
        import pyarrow as pa
        from fastavro import reader

        # All fields, since a type that one defines may be used by another.
        return pa.Table.from_pylist(
            list(reader(io.BytesIO(content))), pa.schema([self.schema.field(name) for name in columns])
        )

    def boundaries(self) -> Sequence[int]:
        """See :class:`mlaas.readers.columnar.ColumnFile`."""
        return [block.stop for block in self._blocks]

    def close(self) -> None:
        self._stream.close()


class AvroReader(ColumnReader):
    """Reads an Avro file."""

    format = AvroFile


def _find_blocks(path: str, stream: BinaryIO, marker: bytes) -> list[_Block]:
    """Go from block to block up to the end of ``stream``; see "Object container files" of the Avro specification."""
    blocks: list[_Block] = []
    entries = 0
    while (offset := stream.tell()) >= 0 and (count := _read_long(stream)) is not None:
        size = _read_long(stream)
        if size is None or size < 0 or count < 0:
            raise DataError(f"{path}: truncated or damaged at entry {entries}")
        stream.seek(size, io.SEEK_CUR)
        if stream.read(_SYNC_BYTES) != marker:
            raise DataError(f"{path}: truncated or damaged between entries {entries} and {entries + count}")
        if count:
            blocks.append(_Block(offset, stream.tell() - offset, entries, entries + count))
        entries += count
    return blocks


def _read_long(stream: BinaryIO) -> int | None:
    """A number of variable length, zigzag-coded; None at the end of the file."""
    value = shift = 0
    while byte := stream.read(1):
        value |= (byte[0] & 0x7F) << shift
        if not byte[0] & 0x80:
            return (value >> 1) ^ -(value & 1)
        shift += 7
    return None


def _arrow_type(schema: Any, named: dict[str, Any]) -> Any:
    """Arrow type of an Avro type; what can be no number becomes a string.

    Args:
        named: The named types so far, which later ones may refer to.
    """
    import pyarrow as pa

    simple = {
        "null": pa.null(),
        "boolean": pa.bool_(),
        "int": pa.int32(),
        "long": pa.int64(),
        "float": pa.float32(),
        "double": pa.float64(),
    }
    if isinstance(schema, list):
        kinds = [one for one in schema if one != "null"]
        return _arrow_type(kinds[0], named) if len(kinds) == 1 else pa.string()
    if not isinstance(schema, Mapping):
        return simple.get(schema) or named.get(schema, pa.string())
    kind = schema["type"]
    if "logicalType" in schema:
        return pa.string()
    if kind == "array":
        return pa.list_(_arrow_type(schema["items"], named))
    if kind == "record":
        fields = [(one["name"], _arrow_type(one["type"], named)) for one in schema["fields"]]
        return named.setdefault(schema["name"], pa.struct(fields))
    return simple.get(kind, pa.string()) if isinstance(kind, str) else _arrow_type(kind, named)
