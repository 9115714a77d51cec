"""The models of all folds as one, which answers each event with the model that has not been trained on it."""

from collections.abc import Sequence

import numpy as np
import onnx
import onnx.compose
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from mlaas.errors import ModelError

FLOATING = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)


def combine_folds(models: Sequence[ModelProto]) -> ModelProto:
    """One model in the place of one a fold.

    Every model answers every event, and the answer of the right one is taken. That costs a run a fold, and holds for
    every network; to run each on its own events would leave some without any, which not every network can take.

    Args:
        models: that of fold i, which was tested on the events whose number is i modulo ``len(models)``; from
            ``features`` (n, width) to one output of floating point, (n,) or (n, …).

    Returns:
        From ``features`` (n, width + 1), whose last column is the fold of an event, to the output of that fold's
        model; NaN where the column holds no fold.

    Raises:
        ModelError: there are less than two models, or they don't go together.
    """
    if len(models) < 2:
        raise ModelError(f"{len(models)} models of folds: expected at least 2")
    width, output = _width(models[0], 0), _output(models[0], 0)
    for fold, model in enumerate(models[1:], 1):
        _check_alike(fold, model, models[0])
    renamed = [onnx.compose.add_prefix(model, f"fold{fold}_") for fold, model in enumerate(models)]
    tensor = output.type.tensor_type
    constants = {
        "folds_first": np.array([0], np.int64),
        "folds_width": np.array([width], np.int64),
        "folds_axis": np.array([1], np.int64),
        # The fold of an event gets as many dimensions as its output has, so that they can be chosen by it.
        "folds_column": np.full((1,) * (len(tensor.shape.dim) - 1), width, np.int64),
        "folds_none": np.array(np.nan, helper.tensor_dtype_to_np_dtype(tensor.elem_type)),
        **{f"folds_{fold}": np.array(fold, np.float32) for fold in range(len(models))},
    }
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(
        _nodes(renamed, output.name),
        "folds",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["events", width + 1])],
        [output],
        [*initializers, *(one for model in renamed for one in model.graph.initializer)],
        value_info=[one for model in renamed for one in model.graph.value_info],
        sparse_initializer=[one for model in renamed for one in model.graph.sparse_initializer],
    )
    return helper.make_model(
        graph,
        opset_imports=models[0].opset_import,
        ir_version=max(model.ir_version for model in models),
        functions=[function for model in renamed for function in model.functions],
    )


def _nodes(models: Sequence[ModelProto], output: str) -> list[NodeProto]:
    """Those of models whose names have prefixes, and what stands before and behind them."""
    nodes = [
        helper.make_node("Slice", ["features", "folds_first", "folds_width", "folds_axis"], ["folds_features"]),
        helper.make_node("Gather", ["features", "folds_column"], ["folds_fold"], axis=1),
    ]
    answer = "folds_none"
    for fold, model in enumerate(models):
        before, answer = answer, f"folds_answer_{fold}"
        nodes += [
            helper.make_node("Identity", ["folds_features"], [f"fold{fold}_features"]),
            *model.graph.node,
            helper.make_node("Equal", ["folds_fold", f"folds_{fold}"], [f"folds_is_{fold}"]),
            helper.make_node("Where", [f"folds_is_{fold}", f"fold{fold}_{output}", before], [answer]),
        ]
    return [*nodes, helper.make_node("Identity", [answer], [output])]


def _check_alike(fold: int, model: ModelProto, first: ModelProto) -> None:
    for what, value, expected in (
        ("columns", _width(model, fold), _width(first, 0)),
        ("output", _shown(_output(model, fold)), _shown(_output(first, 0))),
        ("operator sets", _opsets(model), _opsets(first)),
    ):
        if value != expected:
            raise ModelError(
                f"the model of fold {fold} has the {what} {value}, that of fold 0 {expected}: expected the same of all"
            )


def _width(model: ModelProto, fold: int) -> int:
    """Columns of the only input."""
    inputs = {one.name: one.type.tensor_type.shape.dim for one in model.graph.input}
    if list(inputs) != ["features"] or len(inputs["features"]) != 2:
        given = ", ".join(inputs) or "none"
        raise ModelError(f"the model of fold {fold} has the inputs {given}: expected features (events, width) alone")
    return int(inputs["features"][1].dim_value)


def _output(model: ModelProto, fold: int) -> ValueInfoProto:
    """The only output."""
    outputs = [_shown(one) for one in model.graph.output]
    tensor = model.graph.output[0].type.tensor_type
    if len(outputs) > 1 or tensor.elem_type not in FLOATING or not tensor.shape.dim:
        raise ModelError(
            f"the model of fold {fold} has the outputs {', '.join(outputs)}:"
            " expected one of floating point, with a number or more for each event"
        )
    return model.graph.output[0]


def _shown(output: ValueInfoProto) -> str:
    """As in `output FLOAT (events, 1)`; the first dimension counts events, whatever it is called."""
    tensor = output.type.tensor_type
    sizes = ["events", *(str(one.dim_value or one.dim_param) for one in tensor.shape.dim[1:])]
    return f"{output.name} {TensorProto.DataType.Name(tensor.elem_type)} ({', '.join(sizes)})"


def _opsets(model: ModelProto) -> dict[str, int]:
    return {one.domain: one.version for one in model.opset_import}
