"""The operators of an ONNX file, which decide whether its runs may be made in the event loop."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.networks import linear_onnx, loop_onnx
from tfaas.runtimes.onnx import OnnxSession
from tfaas.runtimes.operators import operators


def test_those_of_the_graph_and_of_its_functions(tmp_path: Path) -> None:
    """A weight that spells an operator is none."""
    weights = numpy_helper.from_array(np.frombuffer(b"\x22\x04Loop" * 1000, np.uint8), "weights")
    double = helper.make_function(
        "own", "Double", ["x"], ["y"], [helper.make_node("Add", ["x", "x"], ["y"])], [helper.make_opsetid("", 13)]
    )
    graph = helper.make_graph(
        [helper.make_node("Double", ["x"], ["z"], domain="own"), helper.make_node("Relu", ["z"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [weights],
    )
    imports = [helper.make_opsetid("", 13), helper.make_opsetid("own", 1)]
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, functions=[double], opset_imports=imports, ir_version=8), path)
    assert operators(path) == {"Double", "Add", "Relu"}
    assert OnnxSession(path, 1).steady


def test_a_loop_is_not_steady(tmp_path: Path) -> None:
    """What is in its body need not be known."""
    path = tmp_path / "model.onnx"
    path.write_bytes(loop_onnx())
    assert "Loop" in operators(path)
    assert "Identity" not in operators(path)
    assert not OnnxSession(path, 1).steady


@pytest.mark.parametrize("spoil", [lambda data: data[:-3], lambda data: b"ORTM" + data, lambda data: b"\xff" * 20])
def test_what_is_no_onnx_file_is_told(tmp_path: Path, spoil: object) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(spoil(linear_onnx([2.0])))  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"byte|decode"):
        operators(path)
