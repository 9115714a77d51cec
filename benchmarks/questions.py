"""Requests of all formats whose answers are known, for the soak."""

import io
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from onnx import TensorProto, helper, numpy_helper
from tfaas_client.tfaas_pb2 import DataFrame, Outputs, Predictions, Row

from benchmarks.network import KEYS as NETWORK_KEYS
from benchmarks.network import MODEL as NETWORK
from benchmarks.network import WIDTH, weights

KEYS = ["x", "y", "z"]
RAW, NPY, ARROW = "application/octet-stream", "application/x-npy", "application/vnd.apache.arrow.stream"


@dataclass(frozen=True)
class Question:
    """A request, and what its answer is read by.

    Attributes:
        expected: (n,) what version 1 of the model answers; version k answers k times that.
        read: body of the answer → (n,) numbers.
    """

    model: str
    path: str
    body: bytes
    expected: np.ndarray
    read: Callable[[bytes], np.ndarray]
    headers: dict[str, str] = field(default_factory=dict)


def sum_onnx(factor: int) -> bytes:
    """Answers `factor` times the sum of three numbers."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "sum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(np.full((3, 1), factor, np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def sum_question(model: str, seed: list[int]) -> Question:
    """A request of any format to a model that `sum_onnx` made; the same for the same seed."""
    generator = np.random.default_rng(seed)
    make, events = _KINDS[generator.integers(len(_KINDS))]
    return make(model, generator.uniform(1, 2, (events, len(KEYS))).astype(np.float32))


def network_question(seed: list[int]) -> Question:
    """A request to the network, answered with what numpy makes of the same weights."""
    events = np.random.default_rng(seed).normal(size=(1, WIDTH)).astype(np.float32)
    hidden = events
    matrices = weights()
    for matrix in matrices[:-1]:
        hidden = np.maximum(hidden @ matrix, 0)
    expected = 1 / (1 + np.exp(-(hidden @ matrices[-1])))
    body = json.dumps({"model": NETWORK, "keys": NETWORK_KEYS, "values": events[0].tolist()}).encode()
    return Question(NETWORK, "/json", body, expected[:, 0], _from_json)


def _by_name(model: str, events: np.ndarray) -> Question:
    body = {"model": model, "keys": KEYS[::-1], "values": events[0, ::-1].tolist()}
    return _question(model, "/json", json.dumps(body).encode(), events, _from_json)


def _by_position(model: str, events: np.ndarray) -> Question:
    body = {"model": model, "values": events[0].tolist()}
    return _question(model, "/predict/json", json.dumps(body).encode(), events, _from_json)


def _row(model: str, events: np.ndarray) -> Question:
    body = Row(key=KEYS, value=events[0], model=model).SerializeToString()
    return _question(model, "/proto", body, events, lambda answer: _probabilities(Predictions.FromString(answer)))


def _columns(model: str, events: np.ndarray) -> Question:
    body = {"model": model, "columns": {key: events[:, at].tolist() for at, key in enumerate(KEYS)}}
    return _question(model, "/json", json.dumps(body).encode(), events, _from_json)


def _json_batch(model: str, events: np.ndarray) -> Question:
    body = {"model": model, "keys": KEYS, "values": events.tolist()}
    return _batch(model, events, json.dumps(body).encode(), "application/json", _from_json)


def _frame(model: str, events: np.ndarray) -> Question:
    body = DataFrame(row=[Row(key=KEYS, value=event, model=model) for event in events]).SerializeToString()
    return _batch(model, events, body, "application/x-protobuf",
                  lambda answer: np.array(Outputs.FromString(answer).output[0].value))  # fmt: skip


def _raw(model: str, events: np.ndarray) -> Question:
    query = f"?model={model}&shape={len(events)},{len(KEYS)}"
    return _batch(model, events, events.tobytes(), RAW, lambda answer: np.frombuffer(answer, "<f4"), query)


def _npy(model: str, events: np.ndarray) -> Question:
    buffer = io.BytesIO()
    np.save(buffer, events)
    return _batch(
        model, events, buffer.getvalue(), NPY, lambda answer: np.load(io.BytesIO(answer)).ravel(), f"?model={model}"
    )


def _arrow(model: str, events: np.ndarray) -> Question:
    table = pa.table({key: events[:, at] for at, key in enumerate(KEYS)})
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return _batch(model, events, buffer.getvalue().to_pybytes(), ARROW, _from_arrow, f"?model={model}")


_KINDS: list[tuple[Callable[[str, np.ndarray], Question], int]] = [
    (_by_name, 1),
    (_by_position, 1),
    (_row, 1),
    (_columns, 50),
    (_json_batch, 20),
    (_frame, 20),
    (_raw, 3000),
    (_npy, 200),
    (_arrow, 500),
]


def _question(
    model: str, path: str, body: bytes, events: np.ndarray, read: Callable[[bytes], np.ndarray], **headers: str
) -> Question:
    return Question(model, path, body, events.sum(axis=1), read, headers)


def _batch(
    model: str, events: np.ndarray, body: bytes, content_type: str, read: Callable[[bytes], np.ndarray], query: str = ""
) -> Question:
    return _question(model, f"/predict/batch{query}", body, events, read, **{"content-type": content_type})


def _from_json(answer: bytes) -> np.ndarray:
    found = json.loads(answer)
    nested = found if isinstance(found[0], list) else [found]
    return np.array(list(itertools.chain(*nested)), np.float32)


def _probabilities(answer: Predictions) -> np.ndarray:
    return np.array([one.probability for one in answer.prediction], np.float32)


def _from_arrow(answer: bytes) -> np.ndarray:
    column = pa.ipc.open_stream(answer).read_all().column(0).combine_chunks()
    return np.asarray(column.flatten() if isinstance(column, pa.FixedSizeListArray) else column)
