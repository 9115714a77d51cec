"""What the client puts on the wire."""

import json
import math
from typing import Any

import numpy as np
import pytest
from tfaas_client import (
    Client,
    ClientError,
    ConnectionError,
    InputError,
    MalformedResponseError,
    OverloadedError,
    ServerError,
    TFaaSError,
    TimeoutError,
    TransportError,
)
from tfaas_client._requests import (
    Request,
    batch_request,
    delete_request,
    json_body,
    model_path,
    proto_body,
    split_reference,
    version_request,
)
from tfaas_client._transport import may_be_repeated, pause_after
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


def test_a_batch_is_raw_numbers_of_one_model() -> None:
    events = np.array([[1.0, np.nan], [3.0, 4.0], [5.0, 6.0]], ">f4")
    request = batch_request("signal:3", events, ["a", "b"])
    assert dict(request.query) == {"model": "signal:3", "shape": "3,2", "outputs": "a,b"}
    np.testing.assert_array_equal(np.frombuffer(request.content or b"", "<f4").reshape(3, 2), events)
    assert request.repeatable


@pytest.mark.parametrize(
    ("model", "parts"),
    [("signal", ("signal", 0, "latest")), ("signal:3", ("signal", 3, "")), ("a@b", ("a", 0, "b"))],
)
def test_references_are_taken_apart(model: str, parts: tuple[str, int, str]) -> None:
    assert split_reference(model) == parts


def test_a_model_or_a_version_is_deleted() -> None:
    assert delete_request("signal", False).path == "/delete/signal"
    assert delete_request("signal:3", True).path == "/models/signal/versions/3"
    assert dict(delete_request("signal:3", True).query) == {"force": "true"}


@pytest.mark.parametrize("model", [".", "..", "..:1"])
def test_a_name_that_leads_elsewhere_is_refused(model: str) -> None:
    for request in (lambda: delete_request(model, False), lambda: version_request(model)):
        with pytest.raises(InputError, match="expected letters or digits"):
            request()


@pytest.mark.parametrize("model", ["", ":3", "a:", "a:0", "a:b", "a:-1", "a@", "@b", "a:" + "9" * 5000])
def test_what_is_no_reference_is_refused(model: str) -> None:
    with pytest.raises(InputError, match="expected NAME"):
        split_reference(model)


@pytest.mark.parametrize(
    ("failure", "again", "upload_again"),
    [
        (ConnectionError("nobody"), True, True),
        (OverloadedError(503, "busy", 1.0), True, True),
        (TransportError("broken"), True, False),
        (TimeoutError("late"), True, False),
        (ServerError(502, "bad"), True, False),
        (ServerError(504, "late"), True, False),
        (ServerError(500, "failed"), False, False),
        (ClientError(400, "wrong"), False, False),
        (ClientError(429, "too many"), False, False),
        (MalformedResponseError("nonsense"), False, False),
    ],
)
def test_only_what_may_help_is_repeated(failure: TFaaSError, again: bool, upload_again: bool) -> None:
    assert may_be_repeated(Request("GET", "/models"), failure) == again
    assert may_be_repeated(delete_request("signal", False), failure) == upload_again


def test_pauses_grow_at_random_and_respect_the_server() -> None:
    pauses = [[pause_after(repetition, TransportError("")) for _ in range(100)] for repetition in range(12)]
    assert all(len(set(each)) > 50 for each in pauses)
    assert all(0.1 <= pause <= 0.2 for pause in pauses[0])
    assert all(2.5 <= pause <= 5.0 for pause in pauses[-1])
    assert all(7.0 <= pause_after(0, OverloadedError(503, "", 7.0)) <= 8.4 for _ in range(100))
    assert all(0.1 <= pause_after(0, OverloadedError(503, "", asked)) <= 0.2 for asked in (None, 0.0, -5.0))


@pytest.mark.parametrize(
    "arguments",
    [
        {"url": []},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"retries": -1},
        {"token": "secret\n"},
        {"token": "sécret"},
        {"token": ""},
    ],
)
def test_a_client_that_could_not_work_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected") as refused:
        Client(**{"url": "http://localhost", **arguments})
    assert "cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("model", "path"),
    [("signal:3", "/params/signal:3"), ("a@b", "/params/a@b"), ("../a b", "/params/..%2Fa%20b")],
)
def test_model_references_stay_one_path_segment(model: str, path: str) -> None:
    assert model_path("params", model) == path


def test_an_empty_model_has_no_path() -> None:
    with pytest.raises(InputError, match="empty"):
        model_path("delete", "")
