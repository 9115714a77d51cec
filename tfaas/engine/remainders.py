"""Event numbers → the remainders that the model takes, exact, before anything becomes float32."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tfaas.bundles.manifest import Feature
from tfaas.engine.table import Jagged, Table, to_floats
from tfaas.errors import InvalidRequest


class Remainder(NamedTuple):
    """A feature that declares a `modulo`.

    Attributes:
        place: of the feature among the features.
        column: that it has in the input.
    """

    name: str
    modulo: int
    place: int
    column: int

    def positions(self, keys: Sequence[str], nested: bool, given: int) -> list[int]:
        """Where its value is among `given` values with these keys, or without any, lists for jagged features or not."""
        if keys:
            return [position for position, key in enumerate(keys[:given]) if key == self.name]
        position = self.place if nested else self.column
        return [position] if position < given else []

    def of(self, numbers: Sequence[Any] | NDArray[Any], several: bool = True) -> Sequence[int] | NDArray[np.uint64]:
        """The remainder for each event.

        Raises:
            InvalidRequest: one is missing, negative, no integer, or a float that has lost digits.
        """
        if not isinstance(numbers, np.ndarray):
            return [self._of_number(number, event if several else None) for event, number in enumerate(numbers)]
        right = numbers >= 0
        if numbers.dtype.kind == "f":
            right &= (numbers < _exact(numbers.dtype)) & (numbers == np.floor(numbers))
        if len(numbers) and (numbers.dtype.kind not in "iuf" or not right.all()):
            # Integers beside a missing one come as floats: the one that is missing is what has to be mended.
            missing = numbers != numbers
            event = int(missing.argmax() if missing.any() else right.argmin())
            raise self._refused(numbers[event].item(), _exact(numbers.dtype), event if several else None)
        return numbers.astype(np.uint64) % np.uint64(self.modulo)

    def _of_number(self, number: Any, event: int | None) -> int:
        if type(number) is int and number >= 0:
            return number % self.modulo
        if not (type(number) is float and number.is_integer() and 0 <= number < _exact(np.dtype(float))):
            raise self._refused(number, _exact(np.dtype(float)), event)
        return int(number) % self.modulo

    def _refused(self, number: Any, exact: int, event: int | None) -> InvalidRequest:
        given = ("" if event is None else f"event {event}: ") + f"value {self.name!r} is"
        expected = f"expected an integer from 0 on, of which the model takes the remainder modulo {self.modulo}"
        if number is None or number != number:
            return InvalidRequest(f"{given} missing: {expected}")
        if isinstance(number, list):
            return InvalidRequest(f"{given} a list: {expected}")
        if isinstance(number, float) and number >= exact and np.isfinite(number):
            return InvalidRequest(
                f"{given} {number:g}, a float that holds integers to {exact} only: expected {self.name} %"
                f" {self.modulo}, or all digits as an integer of JSON, .npy, Arrow or Parquet"
            )
        return InvalidRequest(f"{given} {str(number)[:40]}: {expected}")


class Remainders:
    """Those of all features that declare a `modulo`."""

    def __init__(self, remainders: Sequence[Remainder]) -> None:
        self._all = remainders

    @classmethod
    def of_features(cls, features: Sequence[Feature]) -> Self | None:
        """None where no feature declares one."""
        columns = accumulate((feature.dim for feature in features), initial=0)
        found = [
            Remainder(feature.name, feature.modulo, place, column)
            for place, (feature, column) in enumerate(zip(features, columns, strict=False))
            if feature.modulo is not None
        ]
        return cls(found) if found else None

    def of_event(self, keys: Sequence[str], values: Sequence[Any] | NDArray[Any]) -> Sequence[Any] | NDArray[Any]:
        """The values of an event with remainders in place of event numbers; raises InvalidRequest."""
        nested = not isinstance(values, np.ndarray) and any(isinstance(value, list) for value in values)
        changed = values.copy() if isinstance(values, np.ndarray) else list(values)
        for one in self._all:
            for position in one.positions(keys, nested, len(values)):
                changed[position] = one.of(values[position : position + 1], several=False)[0]
        return changed

    def of_table(self, table: Table) -> Table:
        """The same for many events; those in `table.events` are left to `of_event`."""
        if table.columns is not None:
            columns = dict(table.columns)
            for one in self._all:
                numbers = columns.get(one.name)
                if numbers is not None and not isinstance(numbers, Jagged):
                    columns[one.name] = one.of(numbers)
            return replace(table, columns=columns)
        if isinstance(table.rows, np.ndarray):
            matrix = to_floats(table.rows).copy()
            for one in self._all:
                for position in one.positions(table.keys, False, matrix.shape[1]):
                    matrix[:, position] = one.of(table.rows[:, position])
            return replace(table, rows=matrix)
        rows = [list(row) for row in table.rows]
        nested = any(isinstance(cell, list) for row in rows for cell in row)
        for one in self._all:
            for position in one.positions(table.keys, nested, min(map(len, rows), default=0)):
                for row, remainder in zip(rows, one.of([row[position] for row in rows]), strict=True):
                    row[position] = remainder
        return replace(table, rows=rows)


def _exact(dtype: np.dtype[Any]) -> int:
    """Below it a type holds every integer."""
    return 2 ** int(np.finfo(dtype).nmant + 1) if dtype.kind == "f" else 2**64
