"""Small networks in every format that can be uploaded."""

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper


def linear_onnx(weights: list[float], bias: float = 0.0, sigmoid: bool = False, batch: int | str = "N") -> bytes:
    """y = x·w + b as ONNX, with one output an event."""
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["z" if sigmoid else "y"])]
    if sigmoid:
        nodes.append(helper.make_node("Sigmoid", ["z"], ["y"]))
    return model_bytes(
        nodes,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, len(weights)])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 1])],
        w=np.array(weights, np.float32)[:, None],
        b=np.array([bias], np.float32),
    )


def loop_onnx() -> bytes:
    """A model of 64 numbers that takes as many turns as the largest of them says: none, or for as long as one likes."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("MatMul", ["state", "w"], ["state_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, ["N", 64]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state_out", TensorProto.FLOAT, ["N", 64]),
        ],
    )
    return model_bytes(
        [
            helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
            helper.make_node("Cast", ["most"], ["turns"], to=TensorProto.INT64),
            helper.make_node("Loop", ["turns", "", "x"], ["y"], body=body),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 64])],
        w=np.eye(64, dtype=np.float32),
    )


def model_bytes(nodes: list[Any], inputs: list[Any], outputs: list[Any], **constants: npt.NDArray[Any]) -> bytes:
    graph = helper.make_graph(
        nodes, "g", inputs, outputs, [numpy_helper.from_array(value, name) for name, value in constants.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@dataclass(frozen=True)
class Network:
    """One network: its files in four formats, events and what it answers to them."""

    folder: Path
    events: npt.NDArray[np.float32]
    answers: npt.NDArray[np.float32]


def build_network(folder: Path, width: int = 27, hidden: int = 64) -> Network:
    """A dense network with random weights as SavedModel, .keras, frozen graph and ONNX."""
    import keras
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    from tfaas.bundles import function_to_onnx

    keras.utils.set_random_seed(20)
    model = keras.Sequential(
        [
            keras.layers.Input((width,), name="inputs_input"),
            keras.layers.Dense(hidden, activation="relu"),
            keras.layers.Dense(hidden, activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    tf.saved_model.save(model, str(folder / "saved" / "model"))
    with tarfile.open(folder / "model.tar.gz", "w:gz") as archive:
        archive.add(folder / "saved" / "model", "model")
    model.save(folder / "net.keras")
    function = tf.function(lambda x: {"output_node0": model(x)}).get_concrete_function(
        tf.TensorSpec((None, width), tf.float32, name="dense_4_input")
    )
    frozen = convert_variables_to_constants_v2(function)
    (folder / "tf_model.pb").write_bytes(frozen.graph.as_graph_def().SerializeToString())
    params = {"name": "ImageModel", "model": "tf_model.pb", "labels": "labels.txt", "inputNode": "dense_4_input"}
    params["outputNode"] = frozen.outputs[0].op.name
    (folder / "params.json").write_text(json.dumps(params))
    (folder / "labels.txt").write_text("signal\n")
    function_to_onnx(function, folder / "net.onnx")
    events = np.random.default_rng(5).normal(size=(50, width)).astype(np.float32)
    return Network(folder, events, np.asarray(model(events))[:, 0])
