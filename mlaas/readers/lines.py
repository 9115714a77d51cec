"""Text files with a line an event, read in blocks of whole lines."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar

from mlaas.readers.failures import Unreadable
from mlaas.readers.streams import open_decompressed

# Bytes of text that are parsed at a time; a single line may be longer.
BLOCK_BYTES = 4 << 20

Feed = Callable[[bytes], None]


@dataclass(frozen=True)
class LineBlock:
    """Whole lines of a file.

    Attributes:
        offset, length: Where the lines are, in bytes of the text.
        start, stop: The entries they hold.
    """

    offset: int
    length: int
    start: int
    stop: int


class TextFile:
    """Goes through the whole text once when it is opened, for the number of events and the types.

    A format says in :meth:`parse` how lines become columns, in :meth:`begin` what comes before them, and in
    :meth:`mixed` what to do with a column that is of several types. See
    :class:`mlaas.readers.columnar.ColumnFile` for the rest.
    """

    what: ClassVar[str]

    def __init__(self, path: str) -> None:
        import pyarrow as pa

        self.path = path
        self.unusable: dict[str, str] = {}
        self.entries = 0
        self._types: dict[str, Any] = {}
        self._blocks: list[LineBlock] = []
        self._parsed: tuple[LineBlock, frozenset[str], Any] | None = None
        self._stream = open_decompressed(path)
        try:
            digest = hashlib.blake2b(digest_size=16)
            self.begin(self._stream, digest.update)
            for offset, text in _text_blocks(self._stream, digest.update):
                self._index(offset, text)
        except BaseException:
            self.close()
            raise
        self.identity = f"{digest.hexdigest()}:{self.entries}"
        self.schema = pa.schema(list(self._types.items()))

    def begin(self, stream: BinaryIO, digest: Feed) -> None:
        """Read what comes before the first event, and feed it to ``digest``."""

    def parse(self, text: bytes, start: int, types: dict[str, Any] | None) -> Any:
        """Arrow table of the lines of ``text``, of which the first is entry ``start``.

        Args:
            types: Columns to return → their types; None returns all, of the types that they seem to have.

        Raises:
            DataError: Names the entry that is wrong.
        """
        raise NotImplementedError

    def mixed(self, name: str, column: Any, start: int, expected: Any) -> Any:
        """Type of a column that is of another type than ``expected`` from entry ``start`` on."""
        raise NotImplementedError

    def table(self, columns: Sequence[str], start: int, stop: int) -> Any:
        """See :class:`mlaas.readers.columnar.ColumnFile`."""
        import pyarrow as pa

        types = {name: self._types[name] for name in columns}
        parts = []
        for block in self._blocks:
            if block.start < stop and start < block.stop:
                first = max(start, block.start) - block.start
                parts.append(self._block(block, types).slice(first, min(stop, block.stop) - block.start - first))
        return pa.concat_tables(parts) if parts else pa.schema(list(types.items())).empty_table()

    def boundaries(self) -> Sequence[int]:
        """See :class:`mlaas.readers.columnar.ColumnFile`."""
        return [block.stop for block in self._blocks]

    def close(self) -> None:
        self._stream.close()

    def _index(self, offset: int, text: bytes) -> None:
        """Add the lines of ``text``, which is at ``offset``."""
        import pyarrow as pa

        found = self.parse(text, self.entries, None)
        for field in found.schema:
            before = self._types.get(field.name, pa.null())
            try:
                both = [pa.schema([(field.name, before)]), pa.schema([field])]
                self._types[field.name] = pa.unify_schemas(both, promote_options="permissive").field(0).type
            except (pa.ArrowInvalid, pa.ArrowTypeError):
                column = found.column(field.name)
                self._types[field.name] = self.mixed(field.name, column, self.entries, before)
        if found.num_rows:
            self._blocks.append(LineBlock(offset, len(text), self.entries, self.entries + found.num_rows))
        self.entries += found.num_rows

    def _block(self, block: LineBlock, types: dict[str, Any]) -> Any:
        """Columns of a block; the last one is kept, since ranges of entries end within blocks."""
        names = frozenset(types)
        if self._parsed is None or self._parsed[:2] != (block, names):
            self._parsed = None
            self._stream.seek(block.offset)
            text = self._stream.read(block.length)
            table = self.parse(text, block.start, types)
            if table.num_rows != block.stop - block.start:
                raise Unreadable(f"{self.path}: has changed since it was opened, near entry {block.start}")
            self._parsed = (block, names, table)
        return self._parsed[2]


def _text_blocks(stream: BinaryIO, digest: Feed) -> Iterator[tuple[int, bytes]]:
    """Offset and text of blocks of whole lines, from the position of ``stream`` to its end."""
    offset = stream.tell()
    rest = b""
    while part := stream.read(BLOCK_BYTES):
        digest(part)
        end = part.rfind(b"\n") + 1
        if not end:
            rest += part
            continue
        text = rest + part[:end]
        yield offset, text
        offset += len(text)
        rest = part[end:]
    if rest:
        yield offset, rest
