"""What the arrays of branches look like from outside: flat or jagged, of which numbers."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Jagged:
    """Lists of numbers: event i has ``numbers[offsets[i]:offsets[i + 1]]``.

    Attributes:
        offsets: int64 (n + 1,), which need not begin with 0.
    """

    offsets: NDArray[np.int64]
    numbers: NDArray[Any]

    def __len__(self) -> int:
        return len(self.offsets) - 1


# A number for each event (n,), or a list of them.
Values: TypeAlias = NDArray[Any] | Jagged


def as_awkward(value: Any) -> Any:
    """``value`` as an awkward array; one that is stays as it is."""
    import awkward as ak

    if isinstance(value, Jagged):
        return ak.Array(
            ak.contents.ListOffsetArray(ak.index.Index64(value.offsets), ak.contents.NumpyArray(value.numbers))
        )
    return ak.Array(ak.contents.NumpyArray(value)) if isinstance(value, np.ndarray) else value


def as_values(array: Any) -> Values:
    """An awkward array of numbers or lists of numbers without awkward around them."""
    return Jagged(*jagged_values(array)) if is_jagged(array) else flat_values(array)


def is_jagged(value: Any) -> bool:
    """Whether ``value`` has a list of numbers for each event."""
    return getattr(value, "ndim", 0) == 2


def leaf_dtype(value: Any) -> np.dtype[Any]:
    """dtype of the numbers in a flat or jagged awkward array, or of a number."""
    layout = getattr(value, "layout", None)
    if layout is None:
        return np.asarray(value).dtype
    while hasattr(layout, "content"):
        layout = layout.content
    dtype: np.dtype[Any] = np.dtype(layout.dtype)
    return dtype


def flat_values(array: Any) -> NDArray[Any]:
    """Numbers (n,) of a flat array, not copied where possible."""
    if isinstance(array, np.ndarray):
        return array
    import awkward as ak

    layout = getattr(array, "layout", None)
    if isinstance(layout, ak.contents.NumpyArray):  # what files have, without the way through awkward's dispatch
        return np.asarray(layout.data)
    values: NDArray[Any] = ak.to_numpy(array, allow_missing=False)
    return values


def jagged_values(array: Any) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Offsets (n + 1,) and numbers of a jagged array; see :class:`Jagged`."""
    if isinstance(array, Jagged):
        return array.offsets, array.numbers
    import awkward as ak

    layout = array.layout
    if not (isinstance(layout, ak.contents.ListOffsetArray) and layout.offsets.dtype == np.int64):
        layout = layout.to_ListOffsetArray64(False)
    offsets: NDArray[np.int64] = np.asarray(layout.offsets.data)
    inner = layout.content
    content: NDArray[Any] = inner.data if isinstance(inner, ak.contents.NumpyArray) else inner.to_backend_array()
    return offsets, np.asarray(content)


def widened(array: Any) -> Any:
    """``array`` in the widest type of its kind, bool as it is; uint64 in float64 if int64 is too narrow."""
    import awkward as ak

    dtype = leaf_dtype(array)
    if dtype.kind == "b":
        return array
    if dtype.kind == "f":
        return ak.values_astype(array, np.float64)
    if dtype == np.uint64 and len(array) and np.any(ak.ravel(array) > np.iinfo(np.int64).max):
        return ak.values_astype(array, np.float64)
    return ak.values_astype(array, np.int64)


def as_number(value: Any) -> Any:
    """``value`` with bool as 0 and 1."""
    if leaf_dtype(value).kind != "b":
        return value
    import awkward as ak

    return ak.values_astype(value, np.int64) if hasattr(value, "layout") else np.int64(value)
