"""What the client puts on the wire."""

import json
import math
from typing import Any

import numpy as np
import pytest
from tfaas_client import InputError
from tfaas_client._requests import json_body, model_path, proto_body
from tfaas_client.tfaas_pb2 import Row


@pytest.mark.parametrize(
    ("row", "keys", "values"),
    [
        ({"met": 41.5, "jet_pt": [80.0, 35.0]}, ["met", "jet_pt"], [41.5, [80.0, 35.0]]),
        ({"met": math.nan, "jet_pt": []}, ["met", "jet_pt"], [None, []]),
        ({"met": None, "jet_pt": [1.0, None]}, ["met", "jet_pt"], [None, [1.0, None]]),
        ({"met": np.float32(2), "jet_pt": np.array([3], np.float32)}, ["met", "jet_pt"], [2.0, [3.0]]),
        ([1.0, 2.0, math.nan], None, [1.0, 2.0, None]),
        (np.array([1, 2]), None, [1.0, 2.0]),
        ([1.0, [2.0, 3.0], []], None, [1.0, [2.0, 3.0], []]),
    ],
)
def test_json_body_keeps_objects_together_and_sends_null_for_missing(
    row: Any, keys: list[str] | None, values: list[object]
) -> None:
    body = json.loads(json_body("signal:3", row))
    assert (body.get("keys"), body["values"], body["model"]) == (keys, values, "signal:3")


def test_json_body_without_model_names_none() -> None:
    assert "model" not in json.loads(json_body("", [1.0]))


@pytest.mark.parametrize(
    ("row", "keys", "values"),
    [
        ({"met": 41.5, "jet_pt": [80.0, 35.0]}, ["met", "jet_pt", "jet_pt"], [41.5, 80.0, 35.0]),
        ({"jet_pt": [], "met": 1.0}, ["jet_pt", "met"], [math.nan, 1.0]),
        ({"met": None}, ["met"], [math.nan]),
        ([1.0, math.inf], [], [1.0, math.inf]),
    ],
)
def test_row_repeats_the_key_for_each_object(row: Any, keys: list[str], values: list[float]) -> None:
    message = Row.FromString(proto_body("signal@production", row))
    assert list(message.key) == keys
    np.testing.assert_array_equal(message.value, values)
    assert message.model == "signal@production"


@pytest.mark.parametrize("encode", [json_body, proto_body])
@pytest.mark.parametrize(
    "row",
    [{"met": "41.5"}, {"met": ["a"]}, {"met": [[1.0]]}, {"met": [[1.0], 2.0]}, {"met": {}}, ["a"]],
)
def test_what_is_no_number_is_refused(encode: Any, row: Any) -> None:
    with pytest.raises(InputError, match=r"met|value"):
        encode("signal", row)


def test_positional_objects_do_not_fit_a_row() -> None:
    with pytest.raises(InputError, match="value 1 holds several numbers"):
        proto_body("signal", [1.0, [2.0, 3.0]])


def test_json_cannot_say_infinity() -> None:
    with pytest.raises(InputError, match=r'met is infinite.*wire="proto"'):
        json_body("signal", {"met": math.inf})


@pytest.mark.parametrize(
    ("model", "path"),
    [("signal:3", "/params/signal:3"), ("a@b", "/params/a@b"), ("../a b", "/params/..%2Fa%20b")],
)
def test_model_references_stay_one_path_segment(model: str, path: str) -> None:
    assert model_path("params", model) == path


def test_an_empty_model_has_no_path() -> None:
    with pytest.raises(InputError, match="empty"):
        model_path("delete", "")
