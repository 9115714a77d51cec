"""Many events in one request, in every format."""

import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper

from tests.networks import linear_onnx, model_bytes
from tests.servers import Server
from tfaas.codecs.tfaas_pb2 import DataFrame, Outputs, Row

WEIGHTS = np.array([1.0, 10.0, 100.0], np.float32)
EVENTS = np.arange(2500 * 3, dtype=np.float32).reshape(-1, 3) % 17
KEYS = ["a", "b", "c"]
EXPECTED = EVENTS @ WEIGHTS
SHUFFLED = ["c", "a", "b"]


def upload(server: Server, name: str, data: bytes, **params: object) -> None:
    httpx.post(
        f"{server.url}/upload",
        data={"name": name},
        files={"model": ("m.onnx", data), "params": ("p.json", json.dumps(params))},
        timeout=60,
    ).raise_for_status()


@pytest.fixture(scope="module")
def model(server: Server) -> str:
    upload(server, "table", linear_onnx(WEIGHTS.tolist()), features=KEYS)
    return "table"


@pytest.fixture(scope="module")
def jagged(server: Server) -> str:
    """Answers met + 100 × the sum of up to two jets, an absent one counted as 7."""
    graph = model_bytes(
        [
            helper.make_node("IsNaN", ["x"], ["missing"]),
            helper.make_node("Where", ["missing", "seven", "x"], ["filled"]),
            helper.make_node("MatMul", ["filled", "w"], ["y"]),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])],
        seven=np.float32(7),
        w=np.array([[1], [100], [100]], np.float32),
    )
    upload(server, "jets", graph, features=["met", {"name": "jet", "kind": "jagged", "dim": 2}])
    return "jets"


@pytest.fixture(scope="module")
def two_outputs(server: Server) -> str:
    graph = model_bytes(
        [helper.make_node("Neg", ["x"], ["negative"]), helper.make_node("ReduceMax", ["x"], ["largest"], axes=[1])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [
            helper.make_tensor_value_info("negative", TensorProto.FLOAT, ["N", 3]),
            helper.make_tensor_value_info("largest", TensorProto.FLOAT, ["N", 1]),
        ],
    )
    upload(server, "pair", graph, features=KEYS)
    return "pair"


def post(server: Server, content: bytes, content_type: str, accept: str = "", **query: str) -> httpx.Response:
    headers = {"content-type": content_type} | ({"accept": accept} if accept else {})
    return httpx.post(f"{server.url}/predict/batch", content=content, params=query, headers=headers, timeout=60)


def npy(array: Any) -> bytes:
    target = io.BytesIO()
    np.save(target, array)
    return target.getvalue()


def arrow(table: pa.Table, file: bool = False) -> bytes:
    sink = io.BytesIO()
    with (pa.ipc.new_file if file else pa.ipc.new_stream)(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=700)
    return sink.getvalue()


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def data_frame(model: str) -> bytes:
    rows = [Row(key=SHUFFLED, value=event[[2, 0, 1]], model=model if i == 0 else "") for i, event in enumerate(EVENTS)]
    return DataFrame(row=rows).SerializeToString()


TABLE = pa.table({key: EVENTS[:, KEYS.index(key)] for key in SHUFFLED})


def compressed_arrow() -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, TABLE.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(TABLE)
    return sink.getvalue()


JSON, PROTO, RAW = "application/json", "application/x-protobuf", "application/octet-stream"
NPY, ARROW, PARQUET = "application/x-npy", "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
REQUESTS: dict[str, tuple[str, bytes, dict[str, str]]] = {
    "json rows": (JSON, json.dumps({"keys": SHUFFLED, "values": EVENTS[:, [2, 0, 1]].tolist()}).encode(), {}),
    "json columns": (JSON, json.dumps({"columns": {k: EVENTS[:, KEYS.index(k)].tolist() for k in KEYS}}).encode(), {}),
    "protobuf": (PROTO, data_frame("table"), {}),
    "raw": (RAW, EVENTS.tobytes(), {"shape": "2500,3"}),
    "raw by name": (RAW, EVENTS[:, [2, 0, 1]].tobytes(), {"shape": "2500,3", "keys": "c,a,b"}),
    "npy of doubles": (NPY, npy(EVENTS.astype(np.float64)), {}),
    "npy in Fortran order": (NPY, npy(np.asfortranarray(EVENTS)), {}),
    "arrow stream": (ARROW, arrow(TABLE), {}),
    "arrow file": ("application/vnd.apache.arrow.file", arrow(TABLE, file=True), {}),
    "parquet": (PARQUET, parquet(TABLE), {}),
}
READ: dict[str, Callable[[bytes], Any]] = {
    JSON: lambda body: np.array(json.loads(body)),
    PROTO: lambda body: np.array(Outputs.FromString(body).output[0].value),
    RAW: lambda body: np.frombuffer(body, "<f4"),
    NPY: lambda body: np.load(io.BytesIO(body)),
    ARROW: lambda body: pa.ipc.open_stream(body).read_all().column("y").to_numpy(),
    PARQUET: lambda body: pq.read_table(io.BytesIO(body)).column("y").to_numpy(),
}


@pytest.mark.parametrize("request_name", REQUESTS)
def test_every_format_gives_every_event_its_answer_in_order(server: Server, model: str, request_name: str) -> None:
    content_type, content, query = REQUESTS[request_name]
    answer = post(server, content, content_type, model=model, **query)
    assert answer.status_code == 200, answer.text
    assert READ[answer.headers["content-type"]](answer.content).ravel().tolist() == EXPECTED.tolist()


@pytest.mark.parametrize("accept", READ)
def test_the_answer_comes_in_the_format_that_is_asked_for(server: Server, model: str, accept: str) -> None:
    answer = post(server, EVENTS.tobytes(), RAW, accept, model=model, shape="2500,3")
    assert answer.headers["content-type"] == accept
    assert answer.headers["x-shape"] == "2500,1"
    assert READ[accept](answer.content).ravel().tolist() == EXPECTED.tolist()


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/html, application/x-npy;q=0.9, */*;q=0.8", NPY),
        (f"application/json, {RAW}", RAW),
        ("text/html, */*", RAW),
        ("", RAW),
    ],
)
def test_of_several_formats_that_a_client_accepts_one_is_chosen(
    server: Server, model: str, accept: str, expected: str
) -> None:
    answer = post(server, EVENTS.tobytes(), RAW, accept, model=model, shape="2500,3")
    assert answer.headers["content-type"] == expected


def test_json_takes_rows_and_columns_too(server: Server, model: str) -> None:
    rows = {"model": model, "keys": ["b", "a", "c"], "values": [[1, 2, 3], [4, 5, 6]]}
    assert httpx.post(f"{server.url}/json", json=rows).json() == [[312.0], [645.0]]
    assert httpx.post(f"{server.url}/json", json={"model": model, "values": [[1, 2, 3]]}).json() == [[321.0]]
    columns = {"model": model, "columns": {"a": [1, 2], "b": [3, 4], "c": [5, 6]}}
    assert httpx.post(f"{server.url}/json", json=columns).json() == [[531.0], [642.0]]
    assert httpx.post(f"{server.url}/json", json={"model": model, "values": [1, 2, 3]}).json() == [321.0]


def test_jagged_features_take_lists_of_any_length_in_every_format_that_has_lists(server: Server, jagged: str) -> None:
    jets: list[list[float] | None] = [[], [1], [1, 2], [1, 2, 3], None]
    met = [5.0, 6.0, 7.0, 8.0, 9.0]
    expected = [1405.0, 806.0, 307.0, 308.0, 1409.0]
    table = pa.table({"jet": pa.array(jets, pa.list_(pa.float64())), "met": met})
    large = pa.table({"jet": pa.array(jets, pa.large_list(pa.int32())), "met": met}).slice(1)
    assert post(server, arrow(table), ARROW, JSON, model=jagged).json() == [[value] for value in expected]
    assert post(server, parquet(table), PARQUET, JSON, model=jagged).json() == [[value] for value in expected]
    assert post(server, arrow(large), ARROW, JSON, model=jagged).json() == [[value] for value in expected[1:]]
    rows = {"model": jagged, "keys": ["met", "jet"], "values": [list(row) for row in zip(met, jets, strict=True)]}
    assert httpx.post(f"{server.url}/json", json=rows).json() == [[value] for value in expected]
    columns = {"model": jagged, "columns": {"met": met, "jet": jets}}
    assert httpx.post(f"{server.url}/json", json=columns).json() == [[value] for value in expected]
    frame = DataFrame(
        row=[
            Row(key=["met", *["jet"] * max(1, len(objects or ()))], value=[first, *(objects or [float("nan")])])
            for first, objects in zip(met, jets, strict=True)
        ]
    )
    assert post(server, frame.SerializeToString(), PROTO, JSON, model=jagged).json() == [[v] for v in expected]
    # One event whose only lists are its jagged features stays one event.
    one = {"model": jagged, "keys": ["jet", "met"], "values": [[1, 2], 3]}
    assert httpx.post(f"{server.url}/json", json=one).json() == [303.0]


def test_a_jagged_feature_may_be_named_once_for_each_object_in_batches_too(server: Server, jagged: str) -> None:
    keys = ["met", "jet", "jet"]
    body = {"model": jagged, "keys": keys, "values": [[1, 2, 3], [4, 5, 6]]}
    assert httpx.post(f"{server.url}/json", json=body).json() == [[501.0], [1104.0]]
    raw = np.array(body["values"], "<f4").tobytes()
    answer = post(server, raw, RAW, JSON, model=jagged, shape="2,3", keys=",".join(keys))
    assert answer.json() == [[501.0], [1104.0]]
    twice = httpx.post(f"{server.url}/json", json=body | {"keys": ["met", "met", "jet"]})
    assert twice.status_code == 400
    assert "key 'met' is given twice" in twice.text
    nested = httpx.post(f"{server.url}/json", json={"model": jagged, "keys": ["met", "jet"], "values": [1, [[1, 2]]]})
    assert nested.status_code == 400


def test_large_json_is_answered_like_small(server: Server, model: str) -> None:
    events = np.tile(EVENTS, (8, 1))
    answer = httpx.post(f"{server.url}/json", json={"model": model, "values": events.tolist()}, timeout=60)
    assert np.array(answer.json()).ravel().tolist() == np.tile(EXPECTED, 8).tolist()


def test_a_large_request_fills_no_queue(server: Server) -> None:
    """It counts as a batch, so that the small ones beside it are answered, and several of them too."""
    upload(server, "queue", linear_onnx([1.0]), serving={"max_queue": 100, "max_batch_size": 8})
    rows = {"model": "queue", "values": [[float(value)] for value in range(5000)]}
    with ThreadPoolExecutor(16) as executor:
        large = [executor.submit(httpx.post, f"{server.url}/json", json=rows, timeout=60) for _ in range(6)]
        small = {"model": "queue", "values": [3.0]}
        answers = [executor.submit(httpx.post, f"{server.url}/json", json=small, timeout=60) for _ in range(50)]
        assert {answer.result().text for answer in answers} == {"[3.0]"}
        assert {answer.result().status_code for answer in large} == {200}


def test_outputs_come_by_name_when_asked_for(server: Server, two_outputs: str) -> None:
    body = json.dumps({"model": two_outputs, "values": [1, 3, 2]})
    ask = f"{server.url}/json"
    assert httpx.post(ask, content=body).json() == [-1, -3, -2]
    assert httpx.post(f"{ask}?outputs=largest", content=body).json() == {"largest": [3]}
    assert httpx.post(f"{ask}?outputs=*", content=body).json() == {"negative": [-1, -3, -2], "largest": [3]}
    assert "no output 'x': expected one of negative, largest" in httpx.post(f"{ask}?outputs=x", content=body).text
    rows = json.dumps({"values": [[1, 3, 2], [4, 4, 4]]}).encode()
    assert post(server, rows, JSON, model=two_outputs, outputs="largest").json() == {"largest": [[3], [4]]}
    row = Row(value=[1, 3, 2], model=two_outputs).SerializeToString()
    outputs = Outputs.FromString(httpx.post(f"{server.url}/proto?outputs=*", content=row).content).output
    assert [(one.name, one.width, list(one.value)) for one in outputs] == [
        ("negative", 3, [-1, -3, -2]),
        ("largest", 1, [3]),
    ]
    table = pa.ipc.open_stream(post(server, rows, JSON, ARROW, model=two_outputs, outputs="*").content).read_all()
    assert table.to_pydict() == {"negative": [[-1, -3, -2], [-4, -4, -4]], "largest": [3, 4]}


@pytest.mark.parametrize(
    ("content_type", "content", "query", "reason"),
    [
        ("text/plain", b"", {}, "content type 'text/plain' is not known: expected one of application/json"),
        (JSON, b"[", {}, "is not the JSON of a row"),
        (JSON, b'{"values": [[1, 2], [3, 4, 5]]}', {}, "the rows have 2 to 3 values: expected as many in each"),
        (JSON, b'{"values": [[1, 2], [3, 4]]}', {}, "rows of 2 values: expected 3, a, b, c"),
        (JSON, b'{"values": [[1, 2, 3], [4, null, 6]]}', {}, "event 1: value 'b' is missing"),
        (JSON, b'{"values": [[1, 2, 3], [4, [5], 6]]}', {}, "column 'b' holds lists: expected numbers"),
        (JSON, b'{"columns": {"a": [1], "b": [2, 3], "c": [4]}}', {}, "the columns have 1 to 2 events"),
        (JSON, b'{"columns": {"a": [1], "b": [2]}}', {}, "missing feature 'c': expected a, b, c"),
        (JSON, b'{"columns": {}}', {}, "missing feature 'a', 'b', 'c'"),
        (JSON, b'{"columns": {"a": [1]}, "values": [1]}', {}, "expected the one or the other"),
        (JSON, b'{"columns": {"a": [], "b": [], "c": []}}', {}, "the request holds no event"),
        (JSON, b'{"values": [[1, 2, 3]]}', {"colour": "red"}, "'colour' in the query is not known"),
        (PROTO, b"\xff\xff", {}, "expected a tfaaspb.DataFrame"),
        (PROTO, b"", {}, "the request holds no event"),
        (RAW, b"\0" * 12, {}, "shape not given: expected events,values"),
        (RAW, b"\0" * 12, {"shape": "one,3"}, "shape 'one,3'"),
        (RAW, b"\0" * 12, {"shape": "2,3"}, "the body has 12 bytes: expected 24"),
        (RAW, b"\0" * 8, {"shape": "1,2"}, "rows of 2 values: expected 3, a, b, c"),
        (RAW, np.full(3, np.nan, "<f4").tobytes(), {"shape": "1,3"}, "value 'a' is missing or no finite float32"),
        (RAW, b"\0" * 12, {"shape": "1,3", "outputs": "*"}, "application/octet-stream holds one array"),
        (NPY, b"\x93NUMPY", {}, "the body is no .npy array of numbers"),
        (NPY, npy(np.zeros(3)), {}, "of shape (3,): expected numbers (events, values)"),
        (NPY, npy(np.array([["x"]])), {}, "expected numbers (events, values)"),
        (ARROW, b"ARROW1\0\0", {}, "the body is no Arrow IPC stream or file"),
        (ARROW, arrow(TABLE)[:5000], {}, "the body is no Arrow IPC stream or file"),
        (ARROW, arrow(pa.table({"a": ["x"], "b": [1], "c": [2]})), {}, "column 'a' holds string: expected numbers"),
        (PARQUET, parquet(TABLE)[:-9], {}, "the body is no Parquet file"),
        (ARROW, compressed_arrow(), {}, "the Arrow data is compressed"),
        (ARROW, arrow(pa.Table.from_arrays([pa.array([1.0])] * 2, names=["a", "a"])), {}, "two columns have one name"),
        (PARQUET, parquet(pa.table({"a": [[0.0] * 70_000_000]})), {}, "unfolds to more than"),
        (PROTO, b"\x0a\x00" * 200_000, {}, "has more than 100000 rows"),
        (PROTO, b"\x10\xff\xff\xff\x0f" + b"\x0a\x00" * 200_000, {}, "expected a tfaaspb.DataFrame"),
        (NPY, b"\x93NUMPY\x01\x00\x88\x13" + b"(" * 5000, {}, "the body is no .npy array of numbers"),
    ],
)
def test_what_does_not_fit_is_told(
    server: Server, model: str, content_type: str, content: bytes, query: dict[str, str], reason: str
) -> None:
    answer = post(server, content, content_type, model=model, **query)
    assert answer.status_code == 400
    assert reason in answer.json()["error"]


def test_a_parquet_file_that_unfolds_to_more_than_the_limit_is_refused_unread(server: Server, model: str) -> None:
    zeros = pa.array(np.zeros(30_000_000, np.float32))
    content = parquet(pa.table({"a": zeros, "b": zeros, "c": zeros}))
    assert len(content) < 1_000_000
    answer = post(server, content, PARQUET, model=model)
    assert answer.status_code == 400
    assert "unfolds to more than" in answer.text


def test_limits_of_one_model_are_in_its_manifest(server: Server) -> None:
    upload(server, "narrow", linear_onnx([1.0]), serving={"max_queue": 4, "max_batch_size": 2, "deadline": 5.0})
    rows = {"model": "narrow", "values": [[float(value)] for value in range(9)]}
    assert httpx.post(f"{server.url}/json", json=rows).json() == [[float(value)] for value in range(9)]
    answer = httpx.post(
        f"{server.url}/upload",
        data={"name": "wide"},
        files={"model": ("m.onnx", linear_onnx([1.0])), "params": ("p.json", '{"serving": {"max_batch": 4}}')},
    )
    assert answer.status_code == 400
    assert "serving.max_batch" in answer.text
