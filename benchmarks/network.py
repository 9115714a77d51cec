"""The network that the original was measured with: 27 features, two hidden layers of 1024, random weights.

Run as `python -m benchmarks.network FILE` to write it as a bundle with a SavedModel.
"""

import io
import itertools
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH = 27
HIDDEN = 1024
SEED = 1


MODEL = "benchmark"
KEYS = [f"feature_{index}" for index in range(WIDTH)]
VALUES = np.random.default_rng(2).normal(size=WIDTH).astype(np.float32).tolist()
JSON = json.dumps({"keys": KEYS, "values": VALUES, "model": MODEL}).encode()


def proto_bytes() -> bytes:
    from tfaas_client.tfaas_pb2 import Row

    return Row(key=KEYS, value=VALUES, model=MODEL).SerializeToString()


def weights(width: int = WIDTH, hidden: int = HIDDEN) -> list[np.ndarray]:
    """A matrix (inputs, outputs) for each layer."""
    generator = np.random.default_rng(SEED)
    sizes = [width, hidden, hidden, 1]
    return [
        generator.normal(0, np.sqrt(2 / fan_in), (fan_in, fan_out)).astype(np.float32)
        for fan_in, fan_out in itertools.pairwise(sizes)
    ]


def saved_model_bundle() -> bytes:
    """A .tar.gz with the network as a SavedModel; TensorFlow is loaded by another process."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        path = Path(folder) / "bundle.tar.gz"
        command = [sys.executable, "-m", "benchmarks.network", str(path)]
        subprocess.run(command, check=True, cwd=Path(__file__).parents[1], stderr=subprocess.DEVNULL)
        return path.read_bytes()


def write_saved_model_bundle(path: Path) -> None:
    import tensorflow as tf

    matrices = [tf.constant(matrix) for matrix in weights()]

    @tf.function(input_signature=[tf.TensorSpec((None, WIDTH), tf.float32, name="features")])
    def network(features):  # type: ignore[no-untyped-def]
        hidden = tf.nn.relu(tf.nn.relu(features @ matrices[0]) @ matrices[1])
        return {"output": tf.sigmoid(hidden @ matrices[2])}

    module = tf.Module()
    module.network = network
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder, tarfile.open(path, "w:gz") as archive:
        tf.saved_model.save(module, folder, signatures={"serving_default": network})
        archive.add(folder, MODEL)
        params = json.dumps({"name": MODEL, "features": KEYS}).encode()
        member = tarfile.TarInfo(f"{MODEL}/params.json")
        member.size = len(params)
        archive.addfile(member, io.BytesIO(params))


def onnx_bytes(width: int = WIDTH, hidden: int = HIDDEN) -> bytes:
    """Dense ReLU, dense ReLU, dense sigmoid, as ONNX."""
    nodes, constants, last = [], [], "features"
    for layer, matrix in enumerate(weights(width, hidden)):
        constants += [
            numpy_helper.from_array(matrix, f"w{layer}"),
            numpy_helper.from_array(np.zeros(matrix.shape[1], np.float32), f"b{layer}"),
        ]
        nodes.append(helper.make_node("Gemm", [last, f"w{layer}", f"b{layer}"], [f"z{layer}"]))
        last = f"a{layer}" if layer < 2 else "output"
        nodes.append(helper.make_node("Relu" if layer < 2 else "Sigmoid", [f"z{layer}"], [last]))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["events", width])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["events", 1])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


if __name__ == "__main__":
    write_saved_model_bundle(Path(sys.argv[1]))
