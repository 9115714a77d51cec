"""Many events of one request, as arrays, whatever they looked like on the wire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tfaas.errors import InvalidRequest
from tfaas.runtimes import FloatArray


@dataclass(frozen=True, slots=True)
class Jagged:
    """Lists of numbers: event i has `values[offsets[i]:offsets[i + 1]]`, float32 and int64."""

    values: FloatArray
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def pad_into(self, target: FloatArray) -> None:
        """Write the first objects of each event to a row of `target`, (n, dim); the rest of a row stays as it is."""
        first = self.offsets[:-1]
        counts = np.minimum(np.diff(self.offsets), target.shape[1])
        rows = np.repeat(np.arange(len(counts)), counts)
        places = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        target[rows, places] = self.values[np.repeat(first, counts) + places]


Column: TypeAlias = NDArray[Any] | Jagged


@dataclass(frozen=True, slots=True)
class Table:
    """Events as rows, or as columns by name.

    Attributes:
        rows: (n, values an event) of any numbers, or lists where a cell may be a list.
        keys: names of the values in a row; empty where they are positional.
        columns: name → a number or a list for each event, as they came: integers have all their digits; None where
            there are rows.
        events: keys and values of each event, where they are not alike or keys are repeated.
    """

    rows: NDArray[Any] | Sequence[Sequence[Any]] = ()
    keys: Sequence[str] = ()
    columns: Mapping[str, Column | Sequence[Any]] | None = field(default=None)
    events: Sequence[tuple[Sequence[str], FloatArray]] = ()


def to_column(name: str, cells: Sequence[Any]) -> Column:
    """A column from Python numbers and None, or from lists of them."""
    if not any(isinstance(cell, list) for cell in cells):
        return to_floats(cells)
    # A number among lists is a list of one, and a missing one a list of none.
    lists = [cell if isinstance(cell, list) else [] if cell is None else [cell] for cell in cells]
    if any(isinstance(number, list) for numbers in lists for number in numbers):
        raise InvalidRequest(f"column {name!r} holds lists of lists: expected numbers or lists of numbers")
    offsets = np.concatenate([[0], np.cumsum([len(numbers) for numbers in lists])]).astype(np.int64)
    return Jagged(to_floats(list(chain.from_iterable(lists))), offsets)


def to_floats(numbers: Sequence[Any] | NDArray[Any]) -> FloatArray:
    """float32, NaN for None and infinity for what is beyond float32; raises InvalidRequest beyond float64."""
    if isinstance(numbers, np.ndarray) and numbers.dtype == np.float32:
        return numbers
    try:
        with np.errstate(over="ignore"):
            return np.asarray(numbers, dtype=np.float32)
    except OverflowError as error:
        raise InvalidRequest("a number has more than 308 digits: expected numbers that a float32 holds") from error
