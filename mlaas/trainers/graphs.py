"""ONNX models of converters that have their own idea of outputs."""

import numpy as np
import onnx
import onnx.compose
from onnx import TensorProto, helper, numpy_helper, version_converter

OPSETS = {"": 18, "ai.onnx.ml": 3}
IR_VERSION = 8


def one_output(model: onnx.ModelProto, classes: int) -> onnx.ModelProto:
    """Leave `output` as the only output, and bring the model to the operator set of the preprocessing.

    Args:
        model: its last output is (n, classes) probabilities, or (n,) or (n, 1) quantities where there are no classes.

    Returns:
        A model whose output is (n, 1) for two classes, the probability of the second, and for quantities.
    """
    if not any(opset.domain == "" for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid("", OPSETS[""]))
    model = version_converter.convert_version(model, OPSETS[""])
    # What is inside may be called `output`, too.
    model = onnx.compose.add_prefix(model, "model_", rename_inputs=False)
    model.ir_version = IR_VERSION
    graph = model.graph
    source = graph.output[-1].name
    if classes > 2:
        graph.node.append(helper.make_node("Identity", [source], ["output"]))
    elif classes:
        graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "output_column"))
        graph.node.append(helper.make_node("Gather", [source, "output_column"], ["output"], axis=1))
    else:
        graph.initializer.append(numpy_helper.from_array(np.array([-1, 1], np.int64), "output_shape"))
        graph.node.append(helper.make_node("Reshape", [source, "output_shape"], ["output"]))
    columns = classes if classes > 2 else 1
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("output", TensorProto.FLOAT, ["events", columns]))
    graph.input[0].type.tensor_type.shape.dim[0].dim_param = "events"
    return model
