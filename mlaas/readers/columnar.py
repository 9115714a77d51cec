"""Formats that come as Arrow columns: which of them are features, and their arrays."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mlaas.closing import Closing
from mlaas.errors import DataError, suggestion
from mlaas.readers.arrays import Jagged, Strings, Values, as_awkward, as_strings
from mlaas.readers.base import Branch, Events, Kind, cut_blocks
from mlaas.readers.failures import translated
from mlaas.readers.locations import is_remote

# Jagged branches count as this many numbers an event where a size has to be guessed.
_TYPICAL_OBJECTS = 8


class ColumnFile(Protocol):
    """An open file of a format; what it raises is translated by :class:`ColumnReader`.

    Attributes:
        entries: Number of events.
        schema: Arrow schema of all columns.
        unusable: Columns that are not what their type says → why.
        identity: Equal for the same data.
    """

    entries: int
    schema: Any
    unusable: dict[str, str]
    identity: str

    def __init__(self, path: str) -> None: ...

    def table(self, columns: Sequence[str], start: int, stop: int) -> Any:
        """Arrow table of the events from ``start`` to ``stop``."""
        ...

    def boundaries(self) -> Sequence[int]:
        """Entries that are good to stop at, the last one included."""
        ...

    def close(self) -> None: ...


class _Step(NamedTuple):
    """The way into a column: into its lists, or to a field of its records."""

    field: str | None


class _Leaf(NamedTuple):
    column: str
    steps: tuple[_Step, ...]


class ColumnReader(Closing):
    """Reads one file of columns; see :class:`mlaas.readers.base.Reader`.

    Args:
        path: Local path or URL.
        tree: Not used: the file is one table.

    Raises:
        DataError: The file is missing, damaged, of another format or out of reach.
    """

    format: type[ColumnFile]

    def __init__(self, path: str, tree: str | None = None) -> None:
        self.path = path
        self.tree = ""
        self._lock = threading.Lock()
        self._remote = is_remote(path)
        with translated(path, "cannot be read", self._remote):
            self._file = self.format(path)
        self.entries = self._file.entries
        self.identity = self._file.identity
        self.branches: dict[str, Branch] = {}
        self.skipped: dict[str, str] = {}
        self._leaves: dict[str, _Leaf] = {}
        for column in self._file.schema:
            for name, steps, dtype, reason in _leaves(column.name, column.type, ()):
                self._add(name, _Leaf(column.name, steps), dtype, self._file.unusable.get(column.name, reason))

    @classmethod
    def trees(cls, path: str) -> dict[str, int]:
        """See :meth:`mlaas.readers.base.FileReader.trees`."""
        with cls(path) as reader:
            return {reader.tree: reader.entries}

    def read(self, names: Sequence[str], start: int, stop: int) -> Events:
        """See :meth:`mlaas.readers.base.Reader.read`."""
        return {name: as_awkward(values) for name, values in self.values(names, start, stop).items()}

    def values(self, names: Sequence[str], start: int, stop: int) -> dict[str, Values]:
        """See :meth:`mlaas.readers.base.Reader.values`."""
        self._check(names)
        stop = min(stop, self.entries)
        start = min(max(start, 0), stop)
        if not names:
            return {}
        columns = list(dict.fromkeys(self._leaves[name].column for name in names))
        with self._lock:
            with translated(self.path, f"cannot be read (entries {start} to {stop})", self._remote):
                table = self._file.table(columns, start, stop)
                if table.num_rows != stop - start:
                    raise ValueError(f"{table.num_rows} of {stop - start} events are there")
            found: dict[str, Values] = {}
            for name in names:
                leaf = self._leaves[name]
                with translated(self.path, f"branch {name} cannot be read (entries {start} to {stop})"):
                    found[name] = _values(table.column(leaf.column), leaf.steps)
            return found

    @property
    def texts(self) -> frozenset[str]:
        """Columns with a string an event."""
        return frozenset(
            field.name for field in self._file.schema if field.name in self.skipped and _is_text(field.type)
        )

    def strings(self, name: str, start: int, stop: int) -> Strings:
        """See :meth:`mlaas.readers.base.Reader.strings`."""
        with self._lock, translated(self.path, f"branch {name} cannot be read", self._remote):
            return as_strings(self._file.table([name], start, min(stop, self.entries)).column(name).to_pylist())

    def blocks(self, names: Sequence[str], stop: int, max_bytes: int) -> list[tuple[int, int]]:
        """See :meth:`mlaas.readers.base.Reader.blocks`."""
        self._check(names)
        stop = min(stop, self.entries)
        if not names:
            return [(0, stop)] if stop else []
        size = sum(8 * (_TYPICAL_OBJECTS if self.branches[name].kind == "jagged" else 1) for name in names)
        return cut_blocks(self._file.boundaries(), stop, max(1, max_bytes // size))

    def close(self) -> None:
        """Close the file; the arrays read from it stay valid."""
        self._file.close()

    def _add(self, name: str, leaf: _Leaf, dtype: str, reason: str) -> None:
        if reason:
            self.skipped[name] = reason
            return
        kind: Kind = "jagged" if _Step(None) in leaf.steps else "flat"
        self.branches[name] = Branch(name, kind, dtype)
        self._leaves[name] = leaf

    def _check(self, names: Sequence[str]) -> None:
        for name in names:
            if name in self.branches:
                continue
            if name in self.skipped:
                raise DataError(f"{self.path}: branch {name} cannot be read: {self.skipped[name]}")
            raise DataError(f"{self.path}: no branch {name}{suggestion(name, self.branches)}")


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _leaves(name: str, kind: Any, steps: tuple[_Step, ...]) -> Iterator[tuple[str, tuple[_Step, ...], str, str]]:
    """Name, way, numpy dtype and, where it cannot be a feature, the reason, of all that a column holds."""
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_struct(kind):
        for field in kind:
            yield from _leaves(f"{name}.{field.name}", field.type, (*steps, _Step(field.name)))
    elif types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        yield from _leaves(name, kind.value_type, (*steps, _Step(None)))
    elif types.is_boolean(kind):
        yield name, steps, "bool", ""
    elif types.is_integer(kind) or types.is_floating(kind):
        yield name, steps, np.dtype(kind.to_pandas_dtype()).name, ""
    elif types.is_decimal(kind):
        yield name, steps, "float64", ""
    elif types.is_null(kind):
        yield name, steps, "", "it has no value in any event"
    elif types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind):
        yield name, steps, "", "it holds strings"
    else:
        yield name, steps, "", f"its type {kind} is not a number or a list of numbers"


def _values(column: Any, steps: Sequence[_Step]) -> Values:
    """Values of a leaf of ``column``; lists in lists become one list of all their numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    offsets: NDArray[np.int64] | None = None
    for step in steps:
        if step.field is not None:
            array = pc.struct_field(array, step.field)
            continue
        counts = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        ends = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        offsets = ends if offsets is None else ends[offsets]
        array = array.flatten()
    values = _numbers(array)
    return values if offsets is None else Jagged(offsets, values)


def _numbers(array: Any) -> NDArray[Any]:
    """Numbers of a flat Arrow array; where some are missing all are float64, and those NaN."""
    import pyarrow as pa

    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_boolean(array.type) and array.null_count:
        array = array.cast(pa.uint8())
    if array.null_count or pa.types.is_decimal(array.type):
        array = array.cast(pa.float64(), safe=False)
    numbers: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return numbers.astype(np.float32) if numbers.dtype == np.float16 else numbers
