"""The network that the original was measured with: 27 features, two hidden layers of 1024, random weights."""

import itertools

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH = 27
HIDDEN = 1024
SEED = 1


def onnx_bytes(width: int = WIDTH, hidden: int = HIDDEN) -> bytes:
    """Dense ReLU, dense ReLU, dense sigmoid, as ONNX."""
    generator = np.random.default_rng(SEED)
    sizes = [width, hidden, hidden, 1]
    nodes, constants, last = [], [], "features"
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        weights = generator.normal(0, np.sqrt(2 / fan_in), (fan_in, fan_out)).astype(np.float32)
        constants += [
            numpy_helper.from_array(weights, f"w{layer}"),
            numpy_helper.from_array(np.zeros(fan_out, np.float32), f"b{layer}"),
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
