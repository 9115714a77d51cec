"""Whatever a client gets wrong, the answer says so and the server goes on."""

import json
import socket
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.networks import linear_onnx, model_bytes
from tests.servers import Server
from tfaas.codecs.tfaas_pb2 import Row


@pytest.fixture(scope="module")
def model(server: Server) -> Iterator[str]:
    upload(server, "three", linear_onnx([1.0, 10.0, 100.0]), features=["a", "b", "c"])
    yield "three"
    answer = predict(server, {"keys": ["a", "b", "c"], "values": [1, 2, 3], "model": "three"})
    assert answer.json() == [321.0]


def upload(server: Server, name: str, data: bytes, **params: object) -> None:
    answer = httpx.post(
        f"{server.url}/upload",
        data={"name": name},
        files={"model": ("m.onnx", data), "params": ("p.json", json.dumps(params))},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text


def predict(server: Server, body: object) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body)
    return httpx.post(f"{server.url}/json", content=content)


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (
            {"keys": ["a", "b", "z"], "values": [1, 2, 3]},
            400,
            "unknown feature 'z'; missing feature 'c': expected a",
        ),
        ({"keys": ["a", "b"], "values": [1, 2]}, 400, "missing feature 'c': expected a, b, c"),
        ({"keys": ["a", "b", "c", "c"], "values": [1, 2, 3, 3]}, 400, "key 'c' is given twice"),
        ({"keys": ["a", "b", "c"], "values": [1, 2]}, 400, "3 keys but 2 values"),
        ({"values": [1, 2]}, 400, "2 values: expected 3, a, b, c"),
        ({"values": []}, 400, "0 values: expected 3"),
        ({"values": [1, 2, None]}, 400, "value 'c' is missing or no finite float32: expected a number"),
        ({"values": [1, 2, [3]]}, 400, "value 'c' is a list: expected a number"),
        ({"values": [1, 2, "3"]}, 400, "the body is not the JSON of a row"),
        ({"values": [1, 2, 3], "model": "nope"}, 404, "no model 'nope'"),
        ({"values": [1, 2, 3], "model": "three:7"}, 404, "no 'three:7': model 'three' has versions 1"),
        ({"values": [1, 2, 3], "model": "three@x"}, 404, "aliases latest"),
        ({"values": [1, 2, 3], "model": "../three"}, 400, "model name '../three' is not allowed"),
        ({"keys": ["a"]}, 400, "missing required field `values`"),
        (b'{"values": [NaN]}', 400, "the body is not the JSON of a row"),
        (b'{"values": [1, 2', 400, "the body is not the JSON of a row"),
        (b"", 400, "the body is not the JSON of a row"),
        (b"\xff\xfe", 400, "the body is not the JSON of a row"),
        (b"[" * 100_000, 400, "the body is not the JSON of a row"),
    ],
)
def test_json_that_does_not_fit(server: Server, model: str, body: object, status: int, reason: str) -> None:
    if isinstance(body, dict):
        body.setdefault("model", model)
    answer = predict(server, body)
    assert answer.status_code == status, answer.text
    assert reason in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"\xff\xff\xff", 400, "no ProtoBuffer message"),
        (Row(key=["a"], value=[1], model="three").SerializeToString(), 400, "missing feature 'b', 'c'"),
        (Row(value=[1, 2, float("nan")], model="three").SerializeToString(), 400, "value 'c' is missing"),
        (Row(value=[1], model="nope").SerializeToString(), 404, "no model 'nope'"),
    ],
)
def test_protobuf_that_does_not_fit(server: Server, model: str, body: bytes, status: int, reason: str) -> None:
    answer = httpx.post(f"{server.url}/proto", content=body)
    assert answer.status_code == status
    assert reason in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/json", 405),
        ("PUT", "/models", 405),
        ("GET", "/no/such/thing", 404),
        ("GET", "/data?model=/etc/passwd", 404),
    ],
)
def test_other_addresses_and_methods(server: Server, method: str, path: str, status: int) -> None:
    answer = httpx.request(method, server.url + path)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_a_body_over_the_limit_is_refused_and_the_connection_closed(server: Server, model: str) -> None:
    size = 9 * 1024**2
    address = server.url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1])), timeout=30) as connection:
        connection.sendall(f"POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
        block = b" " * 1024**2
        try:
            for _ in range(9):
                connection.sendall(block)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server need not read what it refuses
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    assert answer.startswith("HTTP/1.1 413")
    assert "more than 8388608 bytes" in answer


def test_a_model_that_fails_on_one_event_does_not_fail_its_neighbours(server: Server) -> None:
    # Gather fails on an index out of range, which only this event asks for.
    graph = model_bytes(
        [
            helper.make_node("Cast", ["x"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "index"], ["y"]),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])],
        table=np.array([0, 10, 20, 30, 40, 50], np.float32),
    )
    upload(server, "fragile", graph)
    answer = predict(server, {"values": [9], "model": "fragile"})
    assert answer.status_code == 500
    assert "the model failed" in answer.json()["error"]
    assert predict(server, {"values": [3], "model": "fragile"}).json() == [30.0]


def test_upload_forms_that_are_not_complete(server: Server) -> None:
    def refused(**request: object) -> str:
        answer = httpx.post(f"{server.url}/upload", timeout=60, **request)  # type: ignore[arg-type]
        assert answer.status_code == 400, answer.text
        return str(answer.json()["error"])

    model = ("m.onnx", linear_onnx([1.0]))
    assert "no field 'name'" in refused(files={"model": model})
    assert "no file 'model'" in refused(data={"name": "m"}, files={"params": ("params.json", b"{}")})
    assert "not allowed" in refused(data={"name": "../m"}, files={"model": model})
    other = {"model": model, "params": ("params.json", b'{"name": "other"}')}
    assert "expected one name" in refused(data={"name": "m"}, files=other)
    broken = {"model": model, "params": ("params.json", b"{")}
    assert "params.json is not JSON" in refused(data={"name": "m"}, files=broken)
    misspelt = {"model": model, "params": ("params.json", b'{"feature": ["a"]}')}
    assert "did you mean 'features'" in refused(data={"name": "m"}, files=misspelt)
    not_base64 = {"model": ("m.onnx", b"\x00\x01")}
    assert "is not base64" in refused(data={"name": "m"}, files=not_base64, headers={"Content-Encoding": "base64"})
    same_name = {"model": model, "labels": ("m.onnx", b"a\nb\n")}
    assert "expected a name that no other file has" in refused(data={"name": "m"}, files=same_name)
    no_labels = {"model": model, "params": ("params.json", b'{"labels": "."}')}
    assert "names the labels '.', which is not in the bundle" in refused(data={"name": "m"}, files=no_labels)
    assert "the body is no archive" in refused(content=b"hello")
    assert "the body is no archive" in refused(content=b"")


def test_requests_that_name_no_model_are_told_what_there_is(server: Server, model: str) -> None:
    upload(server, "another", linear_onnx([1.0]))
    answer = predict(server, {"values": [1]})
    if answer.status_code == 400:  # no default model has been set on the shared server
        assert "expected one of" in answer.json()["error"]
        assert "another" in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("GET", "/params/nope", None, 404, "no model 'nope'"),
        ("POST", "/params", b"{}", 400, "the parameters have no 'name'"),
        ("POST", "/params", b'{"name": "nope"}', 404, "no model 'nope'"),
        ("POST", "/params", b'{"name": "three", "features": ["a"]}', 400, "features fill 1 numbers an event"),
        ("DELETE", "/delete/nope", None, 404, "no model 'nope'"),
        ("DELETE", "/delete", None, 400, "no field 'model'"),
    ],
)
def test_models_that_are_not_there(
    server: Server, model: str, method: str, path: str, body: bytes | None, status: int, reason: str
) -> None:
    answer = httpx.request(method, server.url + path, content=body, timeout=60)
    assert answer.status_code == status
    assert reason in answer.json()["error"]
