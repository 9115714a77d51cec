"""Events as analyses hold them → numpy columns: numbers, or values and offsets.

pandas, Arrow and awkward are recognised by name, so that none of them is imported for callers who have none.
"""

import contextlib
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ._exceptions import InputError


@dataclass(frozen=True)
class Jagged:
    """Lists of numbers: event i has `values[offsets[i]:offsets[i + 1]]`."""

    values: NDArray[Any]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def pad_into(self, target: NDArray[np.float32], start: int, stop: int) -> None:
        """Writes the first objects of events start to stop into `target`, (stop - start, dim)."""
        first = self.offsets[start:stop]
        counts = np.minimum(self.offsets[start + 1 : stop + 1] - first, target.shape[1])
        rows = np.repeat(np.arange(len(counts)), counts)
        places = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        target[rows, places] = self.values[np.repeat(first, counts) + places]


Column: TypeAlias = NDArray[Any] | Jagged
Columns: TypeAlias = Mapping[str, Sequence[Any] | NDArray[Any]] | Sequence[Sequence[Any]] | NDArray[Any]
"""Many events, as far as type checkers can tell them from one."""

TableAdapter: TypeAlias = Callable[[Any], Mapping[str, Any] | NDArray[Any]]
ColumnAdapter: TypeAlias = Callable[[str, Any], Column]
Adapter = TypeVar("Adapter")


def is_one_event(events: object) -> bool:
    """Whether a number stands where many events would have a column or a row."""
    if isinstance(events, np.ndarray):
        return events.ndim == 1 and events.dtype.names is None and events.dtype.kind != "O"
    if isinstance(events, Mapping):
        return any(_is_scalar(value) for value in events.values())
    return isinstance(events, list | tuple) and any(_is_scalar(value) for value in events)


def read_events(events: Any) -> Mapping[str, Column] | NDArray[Any]:
    """Returns columns by name, or the array (events, values) that has no names.

    Raises:
        InputError: it is nothing that holds events, or a column holds no numbers.
    """
    adapter = _adapter(TABLES, events)
    if adapter is not None:
        events = adapter(events)
    if isinstance(events, Mapping):
        return {str(name): to_column(str(name), cells) for name, cells in events.items()}
    if not isinstance(events, np.ndarray | list | tuple):
        raise InputError(
            f"events are a {type(events).__name__}: expected a mapping of columns, an array, or a table of pandas,"
            " Arrow or awkward"
        )
    if isinstance(events, np.ndarray) and events.dtype.names is not None:
        return {name: to_column(name, events[name]) for name in events.dtype.names}
    rows = to_column("the array", events) if len(events) and not isinstance(events, np.ndarray) else events
    if isinstance(rows, Jagged):
        widths = np.diff(rows.offsets)
        if len(set(widths.tolist())) > 1:
            raise InputError(f"the rows have {widths.min()} to {widths.max()} values: expected as many in each")
        rows = rows.values.reshape(len(widths), -1)
    array = np.asanyarray(rows)  # a mask stays
    if array.ndim != 2:
        raise InputError(f"the array has shape {array.shape}: expected (events, values)")
    return _numbers("the array", array)


def to_column(name: str, cells: Any) -> Column:
    """Returns a number, or a list of numbers, for each event.

    Raises:
        InputError: they are none.
    """
    adapter = _adapter(COLUMNS, cells)
    if adapter is not None:
        return adapter(name, cells)
    if isinstance(cells, np.ndarray) and cells.dtype.kind != "O":
        if cells.ndim == 2:
            return Jagged(_numbers(name, cells).ravel(), np.arange(len(cells) + 1, dtype=np.int64) * cells.shape[1])
        if cells.ndim == 1:
            return _numbers(name, cells)
    if not isinstance(cells, np.ndarray | list | tuple) or (isinstance(cells, np.ndarray) and cells.ndim != 1):
        raise _no_numbers(name, cells)
    return _column_of_objects(name, list(cells))


def _column_of_objects(name: str, cells: Sequence[Any]) -> Column:
    if not any(_is_list(cell) for cell in cells):
        return _numbers_of_objects(name, cells)
    # A missing list is one without objects.
    lists = [cell if _is_list(cell) else [] if cell is None else [cell] for cell in cells]
    return Jagged(_numbers_of_objects(name, list(chain.from_iterable(lists))), _offsets([len(cell) for cell in lists]))


def _numbers_of_objects(name: str, cells: Sequence[Any]) -> NDArray[Any]:
    """Integers keep all their digits, which the number of an event needs."""
    wrong = [cell for cell in cells if not (cell is None or isinstance(cell, numbers.Real | np.bool_))]
    if wrong:
        raise _no_numbers(name, wrong[0])
    if all(isinstance(cell, numbers.Integral) for cell in cells):
        with contextlib.suppress(OverflowError):
            return np.array(cells, np.int64 if min(cells, default=0) < 0 else np.uint64)
    return np.array([np.nan if cell is None else cell for cell in cells], np.float64)


def _numbers(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} holds {array.dtype}: expected numbers, or lists of numbers for a jagged feature")
    if isinstance(array, np.ma.MaskedArray):
        return np.ma.filled(array.astype(np.float64), np.nan) if np.ma.is_masked(array) else array.data
    return array


def _offsets(counts: Any) -> NDArray[np.int64]:
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def _no_numbers(name: str, value: object) -> InputError:
    return InputError(f"{name} holds {value!r:.80}: expected numbers, or lists of numbers for a jagged feature")


def _is_list(cell: object) -> bool:
    return isinstance(cell, list | tuple) or (isinstance(cell, np.ndarray) and cell.ndim > 0)


def _is_scalar(value: object) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 0
    return value is None or isinstance(value, str | bytes | numbers.Number | np.generic)


def _awkward_table(array: Any) -> Mapping[str, Any] | NDArray[Any]:
    if array.fields:
        return {name: array[name] for name in array.fields}
    return _awkward_numbers("the array", array)


def _awkward_column(name: str, array: Any) -> Column:
    import awkward as ak

    if array.fields:
        raise InputError(f"{name} has the fields {', '.join(array.fields[:10])}: expected numbers; name one of them")
    if array.ndim == 1:
        return _awkward_numbers(name, array)
    if array.ndim != 2:
        raise InputError(f"{name} has {array.ndim} dimensions: expected numbers, or lists of numbers")
    lists = ak.fill_none(array, [], axis=0)
    return Jagged(_awkward_numbers(name, ak.flatten(lists, axis=1)), _offsets(ak.to_numpy(ak.num(lists, axis=1))))


def _awkward_numbers(name: str, array: Any) -> NDArray[Any]:
    import awkward as ak

    try:
        return _numbers(name, ak.to_numpy(array))
    except (ValueError, TypeError) as error:
        raise InputError(f"{name} holds {array.type}: expected numbers, or lists of numbers") from error


def _pandas_table(frame: Any) -> Mapping[str, Any]:
    names = [str(name) for name in frame.columns]
    _check_once(names)
    return {name: frame.iloc[:, position] for position, name in enumerate(names)}


def _pandas_column(name: str, series: Any) -> Column:
    if type(series.dtype).__name__ == "ArrowDtype":
        import pyarrow as pa

        return _arrow_column(name, pa.chunked_array(pa.array(series)))
    if series.dtype.kind in "biuf" and series.hasnans:
        return _numbers(name, series.to_numpy(dtype=np.float64, na_value=np.nan))
    if series.dtype.kind in "biuf":
        return _numbers(name, series.to_numpy())
    return to_column(name, series.to_numpy(dtype=object))


def _arrow_table(table: Any) -> Mapping[str, Any]:
    _check_once(table.schema.names)
    return {name: table.column(name) for name in table.schema.names}


def _arrow_column(name: str, column: Any) -> Column:
    import pyarrow as pa

    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_fixed_size_list(array.type):
        array = array.cast(pa.list_(array.type.value_type))
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        counts = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        return Jagged(_arrow_numbers(name, array.flatten()), _offsets(counts))
    return _arrow_numbers(name, array)


def _arrow_numbers(name: str, array: Any) -> NDArray[Any]:
    import pyarrow as pa

    kind = array.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise InputError(f"{name} holds {kind}: expected numbers, or lists of numbers for a jagged feature")
    if pa.types.is_boolean(kind):
        array = array.cast(pa.uint8())
    return np.asarray(array.to_numpy(zero_copy_only=False))


def _check_once(names: Sequence[str]) -> None:
    twice = [name for name in names if names.count(name) > 1] if len(set(names)) < len(names) else []
    if twice:
        raise InputError(f"two columns are named {twice[0]!r}: expected each feature once")


def _adapter(table: Mapping[str, Adapter], value: object) -> Adapter | None:
    for kind in type(value).__mro__:
        adapter = table.get(f"{kind.__module__.partition('.')[0]}.{kind.__name__}")
        if adapter is not None:
            return adapter
    return None


TABLES: dict[str, TableAdapter] = {
    "awkward.Array": _awkward_table,
    "pandas.DataFrame": _pandas_table,
    "pyarrow.RecordBatch": _arrow_table,
    "pyarrow.Table": _arrow_table,
}

COLUMNS: dict[str, ColumnAdapter] = {
    "awkward.Array": _awkward_column,
    "pandas.Series": _pandas_column,
    "pyarrow.Array": _arrow_column,
    "pyarrow.ChunkedArray": _arrow_column,
}
