"""From the names and values of one event to the vector that the model takes."""

import difflib
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tfaas.bundles.manifest import Feature, Manifest
from tfaas.engine.remainders import Remainders
from tfaas.engine.table import Column, Jagged, Table, to_column, to_floats
from tfaas.errors import InvalidRequest
from tfaas.runtimes import FloatArray, Signature

Value = float | None | Sequence[float | None]
REMEMBERED_ORDERS = 256
COMPARED_NAMES, SHOWN_NAMES, SHOWN_LETTERS = 300, 50, 80
EXACT_INTEGERS = 2**24
NO_EVENT = "the request holds no event: expected at least one"


class InputLayout:
    """Where the features of a model stand in its input; knows nothing but counts when it declares none."""

    def __init__(self, manifest: Manifest, signature: Signature) -> None:
        self.width = signature.width
        self.features = manifest.features
        self._required = _required_columns(manifest, signature.width)
        self._integers = _integer_columns(signature)
        self._remainders = Remainders.of_features(self.features)
        self._has_jagged = any(feature.kind == "jagged" for feature in self.features)
        starts = np.cumsum([0, *(feature.dim for feature in self.features)]).tolist()
        self._places = {feature.name: (start, feature) for feature, start in zip(self.features, starts, strict=False)}
        self._orders: dict[tuple[str, ...], NDArray[np.intp]] = {}
        self._zeros = np.zeros(self.width, np.float32)

    def vector(self, keys: Sequence[str], values: Sequence[Value] | FloatArray) -> FloatArray:
        """One event as float32 of shape (width,).

        Args:
            keys: feature names in any order; empty when the values are positional. A jagged feature is named once for
                each of its objects, or once with a list.
            values: a number, `None` or NaN (missing) for each key.

        Raises:
            InvalidRequest: names or numbers don't fit the model; the message lists what it expects.
        """
        if keys and len(keys) != len(values):
            raise InvalidRequest(f"{len(keys)} keys but {len(values)} values: expected a value for each key")
        if self._remainders is not None:
            values = self._remainders.of_event(keys, values)
        if not self.features or not keys:
            vector = self._positional(values)
        elif self._has_jagged:
            vector = self._collect(keys, values)
        else:
            vector = self._flat(keys, values).take(self._order(tuple(keys)))
        # The product is 0 only where all numbers are finite, which most events are: one operation instead of four.
        if self._integers or vector.dot(self._zeros) != 0.0:
            self._check(vector[None, :])
        return vector

    def matrix(self, table: Table) -> FloatArray:
        """Events as float32 of shape (n, width).

        Raises:
            InvalidRequest: names or numbers don't fit the model; the message lists what it expects.
        """
        if self._remainders is not None:
            table = self._remainders.of_table(table)
        if table.columns is not None:
            matrix = self._from_columns(table.columns)
        elif table.events:
            matrix = np.stack([self.vector(keys, values) for keys, values in table.events])
        elif isinstance(table.rows, np.ndarray):
            matrix = self._from_matrix(table.keys, to_floats(table.rows))
        elif not table.rows:
            raise InvalidRequest(NO_EVENT)
        else:
            matrix = self._from_rows(table.keys, table.rows)
        if not len(matrix):
            raise InvalidRequest(NO_EVENT)
        self._check(matrix)
        return matrix

    def holds_rows(self, keys: Sequence[str], values: Sequence[Any] | FloatArray) -> bool:
        """Whether values that are lists are events, and not the objects of one event's jagged features."""
        if not len(values) or not isinstance(values[0], list) or not all(isinstance(value, list) for value in values):
            return False
        if any(isinstance(cell, list) for value in values for cell in value):
            return True
        named = [self._places[key][1] for key in keys if key in self._places] if keys else self.features
        return not named or any(feature.kind == "flat" for feature in named)

    def _from_matrix(self, keys: Sequence[str], rows: FloatArray) -> FloatArray:
        given = f"rows of {rows.shape[1]} values"
        if not keys or not self.features:
            if keys and len(keys) != rows.shape[1]:
                raise InvalidRequest(f"{len(keys)} keys but {given}: expected a value for each key")
            if rows.shape[1] != self.width:
                raise InvalidRequest(f"{given}: expected {self.width}{self._expected(', ')}")
            return rows
        if len(keys) != rows.shape[1]:
            raise InvalidRequest(f"{len(keys)} keys but {given}: expected a value for each key")
        if self._has_jagged and len(set(keys)) < len(keys):
            # A jagged feature that is named once for each of its objects, as in a single event.
            return np.stack([self.vector(keys, row) for row in rows])
        if self._has_jagged:
            return self._from_columns({key: rows[:, position] for position, key in enumerate(keys)})
        return rows.take(self._order(tuple(keys)), axis=1)

    def _from_rows(self, keys: Sequence[str], rows: Sequence[Sequence[Any]]) -> FloatArray:
        lengths = {len(row) for row in rows}
        if len(lengths) > 1:
            raise InvalidRequest(f"the rows have {min(lengths)} to {max(lengths)} values: expected as many in each")
        if not any(isinstance(cell, list) for row in rows for cell in row):
            return self._from_matrix(keys, to_floats(rows).reshape(len(rows), -1))
        names = keys or [feature.name for feature in self.features]
        if not names:
            raise InvalidRequest("the rows hold lists, and the model declares no features: expected numbers")
        if len(names) != min(lengths):
            raise InvalidRequest(f"rows of {min(lengths)} values: expected {len(names)}, {self._expected()}")
        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        if len(columns) < len(names):
            raise InvalidRequest(f"a key is given twice: expected {self._expected()}")
        return self._from_columns(columns)

    def _from_columns(self, columns: Mapping[str, Column | Sequence[Any]]) -> FloatArray:
        if not self.features:
            raise InvalidRequest("the model declares no features: expected rows of values, not columns by name")
        self._check_names(list(columns))
        lengths = {len(column) for column in columns.values()}
        if len(lengths) > 1:
            raise InvalidRequest(f"the columns have {min(lengths)} to {max(lengths)} events: expected as many in each")
        matrix = np.full((lengths.pop(), self.width), np.nan, dtype=np.float32)
        for name, cells in columns.items():
            start, feature = self._places[name]
            column = cells if isinstance(cells, np.ndarray | Jagged) else to_column(name, cells)
            if not isinstance(column, Jagged):
                with np.errstate(over="ignore"):
                    matrix[:, start] = column
            elif feature.kind == "flat":
                raise InvalidRequest(f"column {name!r} holds lists: expected numbers, the feature is flat")
            else:
                column.pad_into(matrix[:, start : start + feature.dim])
        return matrix

    def _check(self, matrix: FloatArray) -> None:
        """Refuse numbers that the model has no use for."""
        if self._required is not None:
            wrong = ~np.isfinite(matrix) & self._required
            if wrong.any():
                event, column = np.argwhere(wrong)[0].tolist()
                raise InvalidRequest(
                    f"{_event(matrix, event)}value {self._column(column)} is missing or no finite float32:"
                    " expected a number, the model has no rule for missing values"
                )
        for columns, lowest, highest in self._integers:
            numbers = matrix[:, columns]
            wrong = ~((numbers >= lowest) & (numbers <= highest) & (numbers == np.rint(numbers)))
            if wrong.any():
                event, column = np.argwhere(wrong)[0].tolist()
                given = f"{_event(matrix, event)}value {self._column(columns.start + column)}"
                given += f" is {numbers[event, column]:g}"
                raise InvalidRequest(f"{given}: expected an integer from {lowest} to {highest}")

    def _column(self, column: int) -> str:
        """A column by the name of its feature, or by its position."""
        start = 0
        for feature in self.features:
            start += feature.dim
            if column < start:
                return repr(feature.name)
        return str(column)

    def _positional(self, values: Sequence[Value] | FloatArray) -> FloatArray:
        nested = self._has_jagged and not isinstance(values, np.ndarray)
        if nested and any(isinstance(value, list) for value in values):
            if len(values) != len(self.features):
                raise InvalidRequest(f"{len(values)} values: expected {len(self.features)}, {self._expected()}")
            return self._collect([feature.name for feature in self.features], values)
        if len(values) != self.width:
            raise InvalidRequest(f"{len(values)} values: expected {self.width}{self._expected(', ')}")
        return self._flat((), values)

    def _flat(self, keys: Sequence[str], values: Sequence[Value] | FloatArray) -> FloatArray:
        """float32 (n,); what is beyond it becomes infinite, and is found as such."""
        if isinstance(values, np.ndarray):
            return values
        try:
            # Three times as fast as numpy, and knows no None.
            return np.frombuffer(array("f", cast(Sequence[float], values)), np.float32)
        except (TypeError, OverflowError):
            for position, value in enumerate(values):
                if isinstance(value, list):
                    name = repr(keys[position]) if keys else self._column(position)
                    raise InvalidRequest(f"value {name} is a list: expected a number") from None
            return to_floats(values)

    def _order(self, keys: tuple[str, ...]) -> NDArray[np.intp]:
        """For each feature in turn, the position of its key; remembered, since clients repeat themselves."""
        order = self._orders.get(keys)
        if order is None:
            self._check_names(keys)
            positions = {key: position for position, key in enumerate(keys)}
            if len(positions) < len(keys):
                twice = next(key for position, key in enumerate(keys) if positions[key] != position)
                raise InvalidRequest(f"key {twice!r} is given twice: expected {self._expected()}")
            order = np.array([positions[feature.name] for feature in self.features], np.intp)
            if len(self._orders) >= REMEMBERED_ORDERS:
                self._orders.clear()
            self._orders[keys] = order
        return order

    def _collect(self, keys: Sequence[str], values: Sequence[Value] | FloatArray) -> FloatArray:
        """Gather the objects of jagged features, padded with NaN; those past a feature's dimension are left out."""
        self._check_names(keys)
        objects: dict[str, list[float | None]] = {}
        for key, value in zip(keys, values, strict=True):
            feature = self._places[key][1]
            if isinstance(value, list):
                if feature.kind == "flat":
                    raise InvalidRequest(f"value {key!r} is a list: expected a number, the feature is flat")
                if any(isinstance(number, list) for number in value):
                    raise InvalidRequest(f"value {key!r} holds lists of lists: expected a list of numbers")
                objects.setdefault(key, []).extend(value)
            else:
                objects.setdefault(key, []).append(value)
        vector = np.full(self.width, np.nan, dtype=np.float32)
        for key, numbers in objects.items():
            start, feature = self._places[key]
            if feature.kind == "flat" and len(numbers) > 1:
                raise InvalidRequest(f"key {key!r} is given twice: expected one number, the feature is flat")
            kept = numbers[: feature.dim]
            vector[start : start + len(kept)] = to_floats(kept)
        return vector

    def _check_names(self, keys: Sequence[str]) -> None:
        given = set(keys)
        unknown = [key for key in keys if key not in self._places]
        missing = [feature.name for feature in self.features if feature.name not in given]
        if not unknown and not missing:
            return
        problems = []
        if unknown:
            known = list(self._places)[:COMPARED_NAMES]
            meant = difflib.get_close_matches(unknown[0][:SHOWN_LETTERS], known, n=1)
            hint = f" (did you mean {meant[0]!r}?)" if meant else ""
            problems.append(f"unknown feature {_shown(unknown)}{hint}")
        if missing:
            problems.append(f"missing feature {_shown(missing)}")
        raise InvalidRequest(f"{'; '.join(problems)}: expected {self._expected()}")

    def _expected(self, before: str = "") -> str:
        names = [describe(feature) for feature in self.features[:SHOWN_NAMES]]
        more = len(self.features) - len(names)
        return before + ", ".join(names) + (f" and {more} more" if more else "") if names else ""


def _event(matrix: FloatArray, event: int) -> str:
    return f"event {event}: " if len(matrix) > 1 else ""


def describe(feature: Feature) -> str:
    if feature.kind == "jagged":
        return f"{feature.name} (up to {feature.dim} values)"
    return feature.name if feature.modulo is None else f"{feature.name} (an integer, taken modulo {feature.modulo})"


def _shown(names: Sequence[str]) -> str:
    return ", ".join(repr(name[:SHOWN_LETTERS]) for name in names[:10])


def _required_columns(manifest: Manifest, width: int) -> NDArray[np.bool_] | None:
    """bool (width,): where a number must be, since the model has no rule for a missing one; None for nowhere."""
    if manifest.missing:
        return None
    if not manifest.features:
        return np.ones(width, dtype=bool)
    flat = [feature.kind == "flat" for feature in manifest.features]
    return np.repeat(flat, [feature.dim for feature in manifest.features])


def _integer_columns(signature: Signature) -> list[tuple[slice, int, int]]:
    """The columns that the model takes as integers, with the range that a float32 can carry exactly."""
    columns, start = [], 0
    for spec in signature.inputs:
        dtype = np.dtype(spec.dtype)
        if dtype.kind in "iub":
            limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
            lowest, highest = max(limits[0], -EXACT_INTEGERS), min(limits[1], EXACT_INTEGERS)
            columns.append((slice(start, start + spec.width), int(lowest), int(highest)))
        start += spec.width
    return columns
