"""A feature of which the model takes the remainder: the number of an event, exact in every format."""

import io
import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.networks import linear_onnx
from tests.servers import Server
from tfaas.bundles.manifest import parse_manifest
from tfaas.bundles.probes import random_inputs
from tfaas.codecs import CODECS
from tfaas.codecs.tfaas_pb2 import DataFrame, Predictions, Row
from tfaas.engine.layout import InputLayout
from tfaas.errors import InvalidBundle, InvalidRequest
from tfaas.runtimes import Signature, TensorSpec

FOLDS = 3
# Neighbours that are one number as a float32, as a float64 or as an int64.
NUMBERS = [0, 1, 2, 2**24 + 1, 2**24 + 2, 2**53 + 1, 2**53 + 2, 2**60, 2**60 + 1, 2**63 + 5, 2**64 - 1]
REMAINDERS = [number % FOLDS for number in NUMBERS]
MET = [float(index) for index in range(len(NUMBERS))]
KEYS = ["met", "event"]
EXPECTED = [met + 100 * remainder for met, remainder in zip(MET, REMAINDERS, strict=True)]


def features(*before: object) -> list[object]:
    return [*before, "met", {"name": "event", "modulo": FOLDS}]


def layout_of(*before: object, width: int = 2) -> InputLayout:
    manifest = parse_manifest(json.dumps({"features": features(*before)}))
    return InputLayout(manifest, Signature((TensorSpec("x", "float32", (None, width)),), ()))


@pytest.fixture(scope="module")
def model(server: Server) -> str:
    """Answers met + 100 × the remainder."""
    httpx.post(
        f"{server.url}/upload",
        data={"name": "folds"},
        files={
            "model": ("m.onnx", linear_onnx([1.0, 100.0])),
            "params": ("p.json", json.dumps({"features": features()})),
        },
        timeout=60,
    ).raise_for_status()
    return "folds"


def ask_rows(server: Server, **body: object) -> httpx.Response:
    return httpx.post(f"{server.url}/json", content=json.dumps({"model": "folds", **body}))


def batch(server: Server, content: bytes, content_type: str, **query: str) -> httpx.Response:
    headers = {"content-type": content_type, "accept": "application/json"}
    return httpx.post(
        f"{server.url}/predict/batch", content=content, headers=headers, params={"model": "folds", **query}
    )


def answers(response: httpx.Response) -> list[float]:
    assert response.status_code == 200, response.text
    return [event[0] for event in response.json()]


def table(numbers: Any = NUMBERS) -> pa.Table:
    return pa.table({"event": pa.array(numbers, pa.uint64()), "met": MET[: len(numbers)]})


def arrow(data: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, data.schema) as writer:
        writer.write_table(data)
    return sink.getvalue()


def parquet(data: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(data, sink)
    return sink.getvalue()


def npy(array: Any) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array)
    return sink.getvalue()


@pytest.mark.parametrize(("number", "expected"), list(zip(NUMBERS, REMAINDERS, strict=True)))
def test_a_row_of_json_holds_every_digit(server: Server, model: str, number: int, expected: int) -> None:
    for keys, values in ((["event", "met"], [number, 7.5]), (None, [7.5, number])):
        answer = ask_rows(server, keys=keys, values=values)
        assert (answer.status_code, answer.json()) == (200, [7.5 + 100 * expected])


def test_rows_and_columns_of_json(server: Server, model: str) -> None:
    rows = [list(event) for event in zip(NUMBERS, MET, strict=True)]
    for ask in (
        lambda body: ask_rows(server, **body),
        lambda body: batch(server, json.dumps(body).encode(), "application/json"),
    ):
        assert answers(ask({"keys": ["event", "met"], "values": rows})) == EXPECTED
        assert answers(ask({"values": [row[::-1] for row in rows]})) == EXPECTED
        assert answers(ask({"columns": {"met": MET, "event": NUMBERS}})) == EXPECTED


@pytest.mark.parametrize(
    ("content_type", "encode"),
    [("application/vnd.apache.arrow.stream", arrow), ("application/vnd.apache.parquet", parquet)],
)
def test_columns_of_arrow_and_parquet(
    server: Server, model: str, content_type: str, encode: Callable[[pa.Table], bytes]
) -> None:
    assert answers(batch(server, encode(table()), content_type)) == EXPECTED


def test_arrays_of_integers(server: Server, model: str) -> None:
    array = np.array([NUMBERS, range(len(NUMBERS))], np.uint64).T
    assert answers(batch(server, npy(array), "application/x-npy", keys="event,met")) == EXPECTED
    assert answers(batch(server, npy(array[:, ::-1]), "application/x-npy")) == EXPECTED
    small = np.array([[3, 127]], np.int8)
    assert answers(batch(server, npy(small), "application/x-npy")) == [3 + 100 * (127 % FOLDS)]


def test_formats_of_float32_take_the_remainder_and_small_numbers(server: Server, model: str) -> None:
    row = Row(model="folds", key=KEYS, value=[7.0, 2])
    answer = httpx.post(f"{server.url}/proto", content=row.SerializeToString())
    assert [one.probability for one in Predictions.FromString(answer.content).prediction] == [207.0]
    events = np.array([[1, 2], [2, 2**24 - 1]], "<f4")
    raw = batch(server, events.tobytes(), "application/octet-stream", shape="2,2")
    frame = DataFrame(row=[Row(model="folds", key=KEYS, value=event) for event in events])
    assert answers(raw) == [201.0, 2.0 + 100 * ((2**24 - 1) % FOLDS)]
    assert answers(batch(server, frame.SerializeToString(), "application/x-protobuf")) == answers(raw)


def test_a_float32_that_has_lost_digits_is_refused(server: Server, model: str) -> None:
    expected = (
        "value 'event' is 1.67772e+07, a float that holds integers to 16777216 only: expected event % 3, or all digits"
        " as an integer of JSON, .npy, Arrow or Parquet"
    )
    row = Row(model="folds", key=KEYS, value=[7.0, 2**24])
    answer = httpx.post(f"{server.url}/proto", content=row.SerializeToString())
    assert (answer.status_code, answer.json()) == (400, {"error": expected})
    events = np.array([[1, 2], [2, 2**24]], "<f4")
    for content, content_type, query in (
        (events.tobytes(), "application/octet-stream", {"shape": "2,2"}),
        (npy(events), "application/x-npy", {}),
        (arrow(pa.table({"met": events[:, 0], "event": events[:, 1]})), "application/vnd.apache.arrow.stream", {}),
    ):
        answer = batch(server, content, content_type, **query)
        assert (answer.status_code, answer.json()) == (400, {"error": f"event 1: {expected}"})


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("-1", "value 'event' is -1: expected an integer from 0 on, of which the model takes the remainder modulo 3"),
        ("1.5", "value 'event' is 1.5: expected an integer"),
        ("1e18", "value 'event' is 1e+18, a float that holds integers to 9007199254740992 only"),
        ("true", "value 'event' is True: expected an integer"),
        ("null", "value 'event' is missing: expected an integer"),
        ("[1]", "value 'event' is a list: expected an integer"),
    ],
)
def test_other_numbers_are_refused(server: Server, model: str, number: str, message: str) -> None:
    answer = ask_rows(server, keys=KEYS, values=[1, json.loads(number)])
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(message)
    answer = ask_rows(server, columns={"met": [1, 2], "event": [5, json.loads(number)]})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"event 1: {message}")


def test_columns_without_every_number(server: Server, model: str) -> None:
    content = arrow(pa.table({"met": [1.0, 2.0], "event": pa.array([2**60, None], pa.int64())}))
    answer = batch(server, content, "application/vnd.apache.arrow.stream")
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("event 1: value 'event' is missing: expected an integer")
    for missing in ({"columns": {"met": [1.0]}}, {"keys": ["met"], "values": [1.0]}):
        answer = ask_rows(server, **missing)
        assert answer.status_code == 400
        assert answer.json()["error"] == ("missing feature 'event': expected met, event (an integer, taken modulo 3)")


def test_jagged_features_beside_it() -> None:
    layout = layout_of({"name": "jet", "kind": "jagged", "dim": 2}, width=4)
    expected = [5, np.nan, 1, (2**60) % FOLDS]
    decoded = CODECS["json"].decode(b'{"values": [[5], 1, %d]}' % 2**60)
    np.testing.assert_array_equal(layout.vector(decoded.keys, decoded.values), expected)
    np.testing.assert_array_equal(layout.vector((), [5, None, 1, 2**60]), expected)
    np.testing.assert_array_equal(layout.vector(["event", "jet", "met"], [2**60, [5], 1]), expected)
    np.testing.assert_array_equal(
        layout.vector(["event", "met", "jet", "jet"], np.array([2**24 - 1, 1, 5, 6], np.float32)),
        [5, 6, 1, (2**24 - 1) % FOLDS],
    )


def test_the_number_is_not_changed_where_the_caller_holds_it() -> None:
    layout, values, array = layout_of(), [1.0, 5], np.array([1, 5], np.float32)
    layout.vector(KEYS, values)
    layout.vector(KEYS, array)
    assert values == [1.0, 5]
    assert array.tolist() == [1, 5]


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ({"name": "event", "modulo": 1}, "greater than or equal to 2"),
        ({"name": "event", "modulo": 2**25}, "less than or equal to 16777216"),
        ({"name": "event", "kind": "jagged", "dim": 2, "modulo": 3}, "a jagged feature has no modulo"),
    ],
)
def test_a_modulo_that_cannot_be_is_refused(feature: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidBundle, match=message):
        parse_manifest(json.dumps({"features": [feature]}))


def test_random_events_hold_remainders_where_a_model_takes_them() -> None:
    manifest = parse_manifest(json.dumps({"features": features(), "missing": True}))
    inputs = random_inputs(Signature((TensorSpec("x", "float32", (None, 2)),), ()), 32, manifest)
    assert set(inputs[0][:, 1]) == set(range(FOLDS))
    assert not np.isin(inputs[0][:, 0], range(FOLDS)).any()


def test_integers_without_end_are_refused_as_any_number_is() -> None:
    manifest = parse_manifest(json.dumps({"features": ["a", "b"]}))
    layout = InputLayout(manifest, Signature((TensorSpec("x", "float32", (None, 2)),), ()))
    row = CODECS["json"].decode(b'{"values": [1, 1%s]}' % (b"0" * 400))
    with pytest.raises(InvalidRequest, match="more than 308 digits"):
        layout.vector(row.keys, row.values)
