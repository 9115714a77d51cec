"""What is found inside arrays of records, nested lists and optional values.

uproot writes no leaf lists, no nested vectors and no objects into a TTree; it reads them as such arrays.
"""

from typing import Any

import awkward as ak
import numpy as np
import pytest

from mlaas.readers.forms import Leaf, Unusable, leaves, numbers


def found(array: ak.Array) -> tuple[dict[str, Any], dict[str, str]]:
    """Name of each branch in ``array`` → its kind, dtype and events, and of what is none → why."""
    branches, unusable = {}, {}
    for one in leaves("b", array.layout.form):
        if isinstance(one, Unusable):
            unusable[one.name] = one.reason
        else:
            assert isinstance(one, Leaf)
            events = ak.nan_to_none(numbers(array, one)).to_list()
            branches[one.branch.name] = (one.branch.kind, one.branch.dtype, events)
    return branches, unusable


def test_a_leaf_list_has_a_branch_for_each_leaf() -> None:
    array = ak.from_numpy(np.array([(1.5, 2, 3), (2.5, 4, 5)], dtype=[("x", "f4"), ("y", "i4"), ("z", "i1")]))
    assert found(array) == (
        {
            "b.x": ("flat", "float32", [1.5, 2.5]),
            "b.y": ("flat", "int32", [2, 4]),
            "b.z": ("flat", "int8", [3, 5]),
        },
        {},
    )


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([[[1, 2], [3]], [], [[], [4]]], [[1, 2, 3], [], [4]]),
        ([[[[1], [2]], [[3]]], [[]], []], [[1, 2, 3], [], []]),
    ],
)
def test_nested_vectors_become_one_list(events: list[Any], expected: list[Any]) -> None:
    assert found(ak.Array(events)) == ({"b": ("jagged", "int64", expected)}, {})


def test_arrays_of_several_dimensions_become_one_list() -> None:
    values = np.arange(12, dtype="f4").reshape(2, 3, 2)
    assert found(ak.Array(values)) == ({"b": ("jagged", "float32", values.reshape(2, 6).tolist())}, {})
    hits = ak.unflatten(ak.Array(values.reshape(6, 2)), [4, 2])
    expected = [values.reshape(-1)[:8].tolist(), values.reshape(-1)[8:].tolist()]
    assert found(hits) == ({"b": ("jagged", "float32", expected)}, {})


def test_objects_have_their_members_without_the_bookkeeping() -> None:
    vector = {"@fBits": 7, "fE": 5.0, "fP": {"@fUniqueID": 0, "fX": 1.0, "fY": 2.0}, "name": "a"}
    array = ak.Array([[vector, {**vector, "fE": 6.0}], []])
    assert found(array) == (
        {
            "b.fE": ("jagged", "float64", [[5, 6], []]),
            "b.fP.fX": ("jagged", "float64", [[1, 1], []]),
            "b.fP.fY": ("jagged", "float64", [[2, 2], []]),
        },
        {"b.name": "it holds strings"},
    )


def test_optional_values_are_missing_and_optional_lists_empty() -> None:
    assert found(ak.Array([1, None, 3])) == ({"b": ("flat", "int64", [1, None, 3])}, {})
    assert found(ak.Array([[1.5, None], None, []])) == ({"b": ("jagged", "float64", [[1.5, None], [], []])}, {})
    assert found(ak.Array([[[1], None], None, [[2, 3]]])) == ({"b": ("jagged", "int64", [[1], [], [2, 3]])}, {})
    assert found(ak.Array([{"x": 1}, None])) == ({"b.x": ("flat", "int64", [1, None])}, {})


def test_what_is_no_number_is_told() -> None:
    assert found(ak.Array([1, "a"])) == ({}, {"b": "its values are of several types"})
    assert found(ak.Array(["a", "b"])) == ({}, {"b": "it holds strings"})
    dates = ak.Array(np.array(["2020-01-01"], "datetime64[s]"))
    assert "is not a number" in found(dates)[1]["b"]
    assert "is not a number" in found(ak.Array(np.array([1 + 2j])))[1]["b"]
