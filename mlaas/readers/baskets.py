"""Baskets of plain numbers, decoded without the objects that uproot makes for each of them.

A wide file has tens of thousands of baskets of a few hundred bytes, and those objects take many times as long as
reading and decompressing. What is in a basket is described in ROOT's TBasket and TKey.
"""

import queue
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from mlaas.readers.arrays import Jagged, Values

# TKey: fNbytes, fVersion, fObjlen, fDatime, fKeylen, fCycle; names follow.
_KEY = struct.Struct(">ihiIhh")
# The end of the key of a basket: fVersion, fBufferSize, fNevBufSize, fNevBuf, fLast, and a byte for flags.
_BASKET = struct.Struct(">hiiiiB")
# A block of compressed data: method, version, and how many bytes it has compressed and uncompressed.
_BLOCK = struct.Struct("<2sB3s3s")
# Baskets of local files that are so near each other are read at once, up to so many bytes.
_GAP = 32 << 10
_SPAN = 4 << 20


class _Basket(NamedTuple):
    """Bytes uint8 (n,) of the numbers, and int (entries + 1,) where each entry begins; None where all are alike."""

    data: NDArray[np.uint8]
    byte_offsets: NDArray[Any] | None
    entries: int


class _Part(NamedTuple):
    """The entries of a basket from ``first`` up to ``last``."""

    basket: _Basket
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class PlainBranch:
    """A branch of numbers, or of lists of numbers, and where its baskets are.

    Attributes:
        stored: Type in the file. native: the same in the byte order of this machine.
        header: Bytes before each list; None where a branch has one number an event.
        entry_offsets: First entry of every basket, and past the last.
        seeks, sizes: Of the baskets that are on their own in the file, which come first.
        embedded: The others, which uproot has read with the branch.
    """

    name: str
    stored: np.dtype[Any]
    native: np.dtype[Any]
    header: int | None
    entry_offsets: Sequence[int]
    seeks: Sequence[int]
    sizes: Sequence[int]
    embedded: Sequence[Any]

    @classmethod
    def of(cls, branch: Any) -> Self | None:
        """What uproot knows of ``branch``; None where it is not one of plain numbers."""
        from uproot.interpretation.jagged import AsJagged
        from uproot.interpretation.numerical import AsDtype

        interpretation = branch.interpretation
        jagged = type(interpretation) is AsJagged
        numbers = interpretation.content if jagged else interpretation
        if type(numbers) is not AsDtype:
            return None
        stored, native = np.dtype(numbers.from_dtype), np.dtype(numbers.from_dtype).newbyteorder("=")
        if stored.shape or stored.kind not in "biuf" or native != numbers.to_dtype:
            return None
        embedded = branch.embedded_baskets
        free = branch.num_baskets - len(embedded)
        return cls(
            branch.name, stored, native, interpretation.header_bytes if jagged else None, branch.entry_offsets,
            branch.member("fBasketSeek")[:free].tolist(), branch.member("fBasketBytes")[:free].tolist(), embedded,
        )  # fmt: skip

    def baskets(self, start: int, stop: int) -> range:
        """Numbers of the baskets that hold entries from ``start`` up to ``stop``."""
        if start >= stop:
            return range(0)
        return range(bisect_right(self.entry_offsets, start) - 1, bisect_left(self.entry_offsets, stop))

    def places(self, start: int, stop: int) -> list[tuple[int, int]]:
        """First byte of each of these in the file, and past its last, but for embedded ones."""
        return [self._place(number) for number in self.baskets(start, stop) if number < len(self.seeks)]

    def read(self, stored: "StoredBytes", start: int, stop: int) -> Values | None:
        """The numbers of the entries from ``start`` up to ``stop``; None where a basket has to be left to uproot.

        Raises:
            ValueError: A basket is not what it should be.
        """
        parts = []
        for number in self.baskets(start, stop):
            first, last = self.entry_offsets[number], self.entry_offsets[number + 1]
            if first == last:
                continue
            basket = self._basket(stored, number)
            if basket is None or (self.header is not None and basket.byte_offsets is None):
                return None
            if basket.entries != last - first:
                raise ValueError(f"basket {number} of {self.name} has {basket.entries} of {last - first} entries")
            parts.append(_Part(basket, max(start, first) - first, min(stop, last) - first))
        return self._flat(parts) if self.header is None else self._jagged(parts, self.header)

    def _place(self, number: int) -> tuple[int, int]:
        return self.seeks[number], self.seeks[number] + self.sizes[number]

    def _basket(self, stored: "StoredBytes", number: int) -> _Basket | None:
        if number < len(self.seeks):
            return _decoded(stored.get(*self._place(number)))
        model = self.embedded[number - len(self.seeks)]
        return _Basket(model.data, model.byte_offsets, model.num_entries)

    def _flat(self, parts: Sequence[_Part]) -> NDArray[Any]:
        pieces = []
        for basket, first, last in parts:
            numbers = basket.data.view(self.stored)
            if len(numbers) != basket.entries:
                raise ValueError(f"a basket of {self.name} has {len(numbers)} numbers for {basket.entries} entries")
            pieces.append(numbers[first:last])
        return self._joined(pieces)

    def _jagged(self, parts: Sequence[_Part], header: int) -> Jagged:
        size = self.stored.itemsize
        lengths, pieces = [np.zeros(0, np.int32)], []
        for basket, first, last in parts:
            places = basket.byte_offsets
            if places is None or len(places) != basket.entries + 1:
                raise ValueError(f"a basket of {self.name} lacks the places of its lists")
            lengths.append(places[first + 1 : last + 1] - places[first:last])
            if lengths[-1].min() < header:
                raise ValueError(f"a basket of {self.name} has lists that end before they begin")
            data = basket.data[places[first] : places[last]]
            if header:
                data = _without(data, places[first:last] - places[first], header)
            pieces.append(data[: len(data) // size * size].view(self.stored))
        counts = ((lengths[1] if len(lengths) == 2 else np.concatenate(lengths)) - header) // size
        offsets = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=offsets[1:])
        values = self._joined(pieces)
        if len(values) != offsets[-1]:
            raise ValueError(f"the lists of {self.name} have {len(values)} numbers; expected {offsets[-1]}")
        return Jagged(offsets, values)

    def _joined(self, pieces: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """A copy of all ``pieces`` in the byte order of this machine."""
        if len(pieces) == 1:
            return pieces[0].astype(self.native)
        return np.concatenate(pieces, dtype=self.native) if pieces else np.empty(0, self.native)


def _without(data: NDArray[np.uint8], places: NDArray[Any], header: int) -> NDArray[np.uint8]:
    """``data`` without the ``header`` bytes that are at each of ``places``."""
    content = np.ones(len(data), np.bool_)
    content[np.add.outer(places, np.arange(header)).ravel()] = False
    return data[content]


class StoredBytes:
    """Ranges of a file, all requested at once.

    Args:
        source: The file, as uproot reads it.
        ranges: First byte of each, and past its last.
        merge: Whether to read neighbours at once, which sources for networks do by themselves.
    """

    def __init__(self, source: Any, ranges: Iterable[tuple[int, int]], merge: bool) -> None:
        ordered = sorted(ranges)
        if wrong := next((one for one in ordered if not 0 < one[0] < one[1]), None):
            raise ValueError(f"a basket is said to be from byte {wrong[0]} to {wrong[1]}")
        spans = _merged(ordered) if merge else ordered
        self._chunks = source.chunks(spans, queue.Queue()) if spans else []
        self._starts = [start for start, _ in spans]
        if merge:
            for chunk in self._chunks:  # which several threads are going to use
                chunk.wait()

    def get(self, start: int, stop: int) -> memoryview:
        """One of the ranges; waits until it is there, and raises what reading it has raised."""
        chunk = self._chunks[bisect_right(self._starts, start) - 1]
        return memoryview(chunk.raw_data)[start - chunk.start : stop - chunk.start]


def is_local(source: Any) -> bool:
    """Whether ``source`` reads a file of this machine."""
    from uproot import MultithreadedFileSource

    return isinstance(source, MultithreadedFileSource)


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sorted ``ranges``, with those that are near each other in one."""
    spans: list[tuple[int, int]] = []
    for start, stop in ranges:
        if spans and start - spans[-1][1] <= _GAP and stop - spans[-1][0] <= _SPAN:
            spans[-1] = (spans[-1][0], max(stop, spans[-1][1]))
        else:
            spans.append((start, stop))
    return spans


def _decoded(raw: memoryview) -> _Basket | None:
    """What a basket holds; None where it is of the kind that is embedded in a branch."""
    size, _, length, _, key_length, _ = _KEY.unpack_from(raw)
    if size <= key_length:
        return None
    _, _, _, entries, last, _ = _BASKET.unpack_from(raw, key_length - _BASKET.size)
    content, border = raw[key_length:size], last - key_length
    data = np.frombuffer(content if len(content) == length else _decompressed(content, length), np.uint8)
    if len(data) != length or not 0 <= border <= length:
        raise ValueError(f"a basket has {len(data)} of {length} bytes, and ends at {border}")
    if border == length:
        return _Basket(data, None, entries)
    # The first number is how many there are; the last is what ROOT had in memory there.
    byte_offsets = data[border:].view(">i4")[1:] - np.int32(key_length)
    byte_offsets[-1] = border
    return _Basket(data[:border], byte_offsets, entries)


def _decompressed(content: memoryview, length: int) -> bytes:
    """The bytes of a basket that is one block of zlib, as nearly all are, or whatever else uproot knows."""
    method, _, here, there = _BLOCK.unpack_from(content)
    whole = int.from_bytes(here, "little") == len(content) - _BLOCK.size and int.from_bytes(there, "little") == length
    if method == b"ZL" and whole:
        block: bytes = isal_zlib.decompress(content[_BLOCK.size :], bufsize=length)
        return block
    from uproot.compression import decompress
    from uproot.source.chunk import Chunk
    from uproot.source.cursor import Cursor

    chunk = Chunk.wrap(None, content)
    data: bytes = decompress(chunk, Cursor(0), {}, len(content), length).raw_data
    return data
