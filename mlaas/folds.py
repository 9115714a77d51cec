"""The models of all folds as one, which answers each event with the model that has not been trained on it."""

from collections.abc import Sequence

import numpy as np
import onnx
import onnx.compose
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as state

from mlaas.errors import ModelError

FLOATING = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
FATAL_ONLY = 4


def combine_folds(models: Sequence[ModelProto]) -> ModelProto:
    """One model in the place of one a fold, each of which runs on the events of its fold alone.

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
    fillers = [not _takes_no_event(model, width) for model in models]
    constants = {
        "folds_0": np.array([0], np.int64),
        "folds_1": np.array([1], np.int64),
        "folds_width": np.array([width], np.int64),
        "folds_column": np.array(width, np.int64),
        "folds_end": np.array([np.iinfo(np.int64).max], np.int64),
        "folds_none": np.array(np.nan, helper.tensor_dtype_to_np_dtype(output.type.tensor_type.elem_type)),
        **{f"folds_number_{fold}": np.array(fold, np.float32) for fold in range(len(models))},
        **({"folds_last": np.array([-1], np.int64)} if any(fillers) else {}),
    }
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    # Shapes inside the models are left out: they call their numbers of events by one name, and here these differ.
    graph = helper.make_graph(
        [*_asking(renamed, fillers), *_placing(output.name, fillers)],
        "folds",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["events", width + 1])],
        [output],
        [*initializers, *(one for model in renamed for one in model.graph.initializer)],
        sparse_initializer=[one for model in renamed for one in model.graph.sparse_initializer],
    )
    return helper.make_model(
        graph,
        opset_imports=models[0].opset_import,
        ir_version=max(model.ir_version for model in models),
        functions=[function for model in renamed for function in model.functions],
    )


def _asking(models: Sequence[ModelProto], fillers: Sequence[bool]) -> list[NodeProto]:
    """The nodes of models whose names have prefixes, and those that hand each the events of its fold.

    Args:
        fillers: of each model, whether it is given the first of all events behind its own.
    """
    node = helper.make_node
    nodes = [
        node("Slice", ["features", "folds_0", "folds_width", "folds_1"], ["folds_features"]),
        node("Gather", ["features", "folds_column"], ["folds_fold"], axis=1),
    ]
    if any(fillers):
        nodes.append(node("Slice", ["folds_features", "folds_0", "folds_1", "folds_0"], ["folds_filler"]))
    for fold, (model, filler) in enumerate(zip(models, fillers, strict=True)):
        given, mine = f"fold{fold}_features", f"folds_is_{fold}"
        nodes += [
            node("Equal", ["folds_fold", f"folds_number_{fold}"], [mine]),
            node("Compress", ["folds_features", mine], [f"folds_events_{fold}" if filler else given], axis=0),
        ]
        if filler:
            nodes.append(node("Concat", [f"folds_events_{fold}", "folds_filler"], [given], axis=0))
        nodes += model.graph.node
    return nodes


def _placing(output: str, fillers: Sequence[bool]) -> list[NodeProto]:
    """The nodes that put the answers of all models where their events are; the answers to fillers are left out."""
    node = helper.make_node
    nodes = [
        node("Shape", ["folds_fold"], ["folds_events"]),
        node("Shape", [f"fold0_{output}"], ["folds_shape"]),
        node("Slice", ["folds_shape", "folds_1", "folds_end", "folds_0"], ["folds_sizes"]),
        node("Concat", ["folds_events", "folds_sizes"], ["folds_answers"], axis=0),
        node("Expand", ["folds_none", "folds_answers"], ["folds_placed"]),
    ]
    placed = "folds_placed"
    for fold, filler in enumerate(fillers):
        before, placed = placed, f"folds_placed_{fold}"
        answers = f"fold{fold}_{output}"
        if filler:
            nodes.append(node("Slice", [answers, "folds_0", "folds_last", "folds_0"], [f"folds_answers_{fold}"]))
            answers = f"folds_answers_{fold}"
        nodes += [
            node("NonZero", [f"folds_is_{fold}"], [f"folds_row_{fold}"]),
            node("Transpose", [f"folds_row_{fold}"], [f"folds_rows_{fold}"], perm=[1, 0]),
            node("ScatterND", [before, f"folds_rows_{fold}", answers], [placed]),
        ]
    return [*nodes, node("Identity", [placed], [output])]


def _takes_no_event(model: ModelProto, width: int) -> bool:
    """Whether it can be run where no event is for it; one that can't is given the first event as well."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL_ONLY
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    one = session.run(None, {"features": np.zeros((1, width), np.float32)})[0]
    try:
        none = session.run(None, {"features": np.zeros((0, width), np.float32)})[0]
    except (state.Fail, state.InvalidArgument, state.NotImplemented, state.RuntimeException):
        return False
    return bool(none.shape == (0, *one.shape[1:]))


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
