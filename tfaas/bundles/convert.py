"""From a model as uploaded to the file that a runtime serves.

TensorFlow and Keras models become a SavedModel first, whatever they were, and then ONNX. Where ONNX Runtime can't
give TensorFlow's answers, TensorFlow serves the SavedModel itself.
"""

import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tfaas.bundles.detect import ModelSource
from tfaas.bundles.graphs import check_operations
from tfaas.bundles.manifest import Manifest
from tfaas.bundles.probes import BATCH_SIZES, TOLERANCES, Tolerance, random_inputs
from tfaas.errors import InvalidBundle
from tfaas.runtimes import RUNTIMES, Session

ONNX_LIMIT = 2 * 1024**3 - 1024**2  # one ONNX file is one ProtoBuffer message


@dataclass(frozen=True)
class Converted:
    """The file to serve, and how it came to be."""

    path: Path
    framework: str
    framework_version: str
    runtime: str
    reason: str
    inputs_ordered: bool = True


def convert(source: ModelSource, manifest: Manifest, folder: Path) -> Converted:
    """Make the file to serve in `folder`; raises InvalidBundle when the model can't be read."""
    if source.kind == "onnx":
        return _convert_onnx(source.path, folder)
    from tfaas.runtimes.tensorflow import TensorFlowSession, pack_saved_model

    kind = TENSORFLOW_KINDS[source.kind]
    saved_model, order = kind.to_saved_model(source.path, manifest, folder / "savedmodel")
    packed, target = folder / "model.tar", folder / "model.onnx"
    pack_saved_model(saved_model, order, packed)
    try:
        reference = TensorFlowSession(packed, 1)
    except Exception as error:
        raise InvalidBundle(f"TensorFlow can't load the model: {first_line(error)}") from error
    inputs = [spec.name for spec in reference.signature.inputs]
    framework, version, ordered = kind.framework, kind.read_version(source.path), inputs == order
    try:
        function_to_onnx(reference.function, target, inputs)
        difference = _difference(reference, RUNTIMES["onnx"](target, 1), manifest, TOLERANCES["float32"])
    except Exception as error:  # noqa: BLE001 - TensorFlow serves instead, and the reason is kept
        reason = f"tf2onnx can't convert it: {first_line(error)}"
        return Converted(packed, framework, version, "tensorflow", reason, ordered)
    if difference:
        reason = f"the ONNX conversion differs: {difference}"
        return Converted(packed, framework, version, "tensorflow", reason, ordered)
    sizes = ", ".join(map(str, BATCH_SIZES))
    reason = f"converted by tf2onnx; equal to TensorFlow on random batches of {sizes} events"
    return Converted(target, framework, version, "onnx", reason, ordered)


def _convert_onnx(path: Path, folder: Path) -> Converted:
    import onnx

    try:
        # External data is looked for beside the file; onnx refuses paths that leave the folder.
        model = onnx.load(str(path))
        onnx.checker.check_model(model, full_check=False)
    except Exception as error:
        raise InvalidBundle(f"{path.name!r} is no ONNX model: {first_line(error)}") from error
    if model.ByteSize() > ONNX_LIMIT:
        raise InvalidBundle(f"the ONNX model has {model.ByteSize()} bytes: expected at most {ONNX_LIMIT}")
    target = folder / "model.onnx"
    onnx.save(model, str(target))
    producer = f"{model.producer_name} {model.producer_version}".strip()
    return Converted(target, "onnx", producer, "onnx", "uploaded as ONNX")


def with_precision(converted: Converted, manifest: Manifest, folder: Path) -> Converted:
    """The file to serve in the precision that the manifest asks for; inputs and outputs stay float32.

    Raises:
        InvalidBundle: TensorFlow serves the model, or its answers change by more than the precision explains.
    """
    precision = manifest.serving.precision
    if precision == "float32":
        return converted
    if converted.runtime != "onnx":
        raise InvalidBundle(f"precision {precision} needs ONNX Runtime, but {converted.runtime} serves this model")
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    target = folder / f"model.{precision}.onnx"
    try:
        onnx.save(convert_float_to_float16(onnx.load(str(converted.path)), keep_io_types=True), str(target))
        before, after = RUNTIMES["onnx"](converted.path, 1), RUNTIMES["onnx"](target, 1)
    except Exception as error:
        raise InvalidBundle(f"the model can't be made {precision}: {first_line(error)}") from error
    difference = _difference(before, after, manifest, TOLERANCES[precision])
    if difference:
        raise InvalidBundle(f"in {precision} the model differs from itself in float32: {difference}")
    return replace(converted, path=target, reason=f"{converted.reason}; in {precision}")


def _saved_model_as_it_is(path: Path, manifest: Manifest, target: Path) -> tuple[Path, list[str]]:
    check_operations(path / "saved_model.pb")
    # Clients in the field name the node in the graph, which has the name of the input behind this prefix.
    return path, [name.removeprefix("serving_default_") for name in node_names(manifest.input_node)]


def _keras_to_saved_model(path: Path, manifest: Manifest, target: Path) -> tuple[Path, list[str]]:
    import keras

    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
        model.export(str(target), format="tf_saved_model", verbose=False)
    except Exception as error:
        raise InvalidBundle(f"Keras can't load {path.name!r}: {first_line(error)}") from error
    check_operations(target / "saved_model.pb")
    return target, [tensor.name for tensor in model.inputs]


def _frozen_to_saved_model(path: Path, manifest: Manifest, target: Path) -> tuple[Path, list[str]]:
    import tensorflow as tf

    check_operations(path)
    graph_def = tf.compat.v1.GraphDef()
    graph_def.ParseFromString(path.read_bytes())
    inputs, outputs = _graph_nodes(graph_def, manifest)
    try:
        imported = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph_def, name=""), [])
        function = imported.prune(
            [imported.graph.get_tensor_by_name(f"{name}:0") for name in inputs],
            {_plain(name): imported.graph.get_tensor_by_name(f"{name}:0") for name in outputs},
        )
        module = tf.Module()
        module.function = function
        specs = [
            tf.TensorSpec(tensor.shape, tensor.dtype, name=_plain(name))
            for name, tensor in zip(inputs, function.inputs, strict=True)
        ]
        serving = tf.function(lambda *tensors: function(*tensors), input_signature=specs)
        tf.saved_model.save(module, str(target), signatures={"serving_default": serving})
    except Exception as error:
        raise InvalidBundle(f"TensorFlow can't import {path.name!r}: {first_line(error)}") from error
    return target, [_plain(name) for name in inputs]


def node_names(text: str) -> list[str]:
    """The nodes that a field of the manifest names, separated by commas."""
    return [name.strip().removesuffix(":0") for name in text.split(",") if name.strip()]


def _plain(node: str) -> str:
    """A node's name as a signature can spell it."""
    return node.replace("/", "_")


def _graph_nodes(graph_def: Any, manifest: Manifest) -> tuple[list[str], list[str]]:
    """The names of the inputs and outputs: those of the manifest, else the graph's own ends."""
    nodes = {node.name: node for node in graph_def.node}
    if not nodes:
        raise InvalidBundle("the frozen graph holds no nodes")
    used = {name.lstrip("^").partition(":")[0] for node in nodes.values() for name in node.input}
    placeholders = [name for name, node in nodes.items() if node.op == "Placeholder"]
    ends = [name for name, node in nodes.items() if name not in used and node.op not in ("Placeholder", "NoOp")]
    chosen = []
    for field, named, found in (
        ("input_node", manifest.input_node, placeholders),
        ("output_node", manifest.output_node, ends),
    ):
        names = node_names(named) or found
        unknown = [name for name in names if name not in nodes]
        if unknown or not names:
            raise InvalidBundle(
                f"params.json: {field} {named!r} is not in the frozen graph: it ends in {', '.join(found) or 'nothing'}"
            )
        chosen.append(names)
    return chosen[0], chosen[1]


def _saved_model_version(folder: Path) -> str:
    """The TensorFlow that wrote a SavedModel."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    message = SavedModel()
    message.ParseFromString((folder / "saved_model.pb").read_bytes())
    return message.meta_graphs[0].meta_info_def.tensorflow_version if message.meta_graphs else ""


def _keras_version(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return str(json.loads(archive.read("metadata.json")).get("keras_version", ""))


def _unknown_version(path: Path) -> str:
    return ""


@dataclass(frozen=True)
class TensorFlowKind:
    """How one kind of upload becomes a SavedModel, with the names of its inputs in order where they have one."""

    framework: str
    to_saved_model: Callable[[Path, Manifest, Path], tuple[Path, list[str]]]
    read_version: Callable[[Path], str]


TENSORFLOW_KINDS = {
    "savedmodel": TensorFlowKind("tensorflow", _saved_model_as_it_is, _saved_model_version),
    "keras": TensorFlowKind("keras", _keras_to_saved_model, _keras_version),
    "frozen": TensorFlowKind("tensorflow", _frozen_to_saved_model, _unknown_version),
}


def function_to_onnx(function: Any, target: Path, order: Sequence[str] = ()) -> None:
    """Write a concrete TensorFlow function with named outputs as ONNX.

    The tensors of the graph are called as the function's arguments and outputs.

    Args:
        order: the names of the inputs in the order that they get.
    """
    import tf2onnx
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(function)
    # Variables are constants by now, so what is left of the inputs are the arguments.
    inputs = {tensor.name: tensor.op.name for tensor in frozen.inputs}
    if order:
        inputs = dict(sorted(inputs.items(), key=lambda item: order.index(item[1])))
    outputs = {
        tensor.name: name for name, tensor in zip(sorted(function.structured_outputs), frozen.outputs, strict=True)
    }
    if len(outputs) < len(frozen.outputs):
        raise ValueError("two outputs are one tensor")
    model, _ = tf2onnx.convert.from_graph_def(
        frozen.graph.as_graph_def(),
        name="model",
        input_names=list(inputs),
        output_names=list(outputs),
        tensors_to_rename=inputs | outputs,
    )
    target.write_bytes(model.SerializeToString())


def _difference(reference: Session, converted: Session, manifest: Manifest, tolerance: Tolerance) -> str:
    """Where two sessions answer differently on random batches; empty when they don't."""
    for batch in BATCH_SIZES:
        inputs = random_inputs(reference.signature, batch, manifest)
        by_name = dict(zip((spec.name for spec in reference.signature.inputs), inputs, strict=True))
        names = [spec.name for spec in reference.signature.outputs]
        expected = reference.run(inputs, names)
        got = converted.run([by_name[spec.name] for spec in converted.signature.inputs], names)
        for name, values, others in zip(names, expected, got, strict=True):
            if not tolerance.agree(values, others):
                return f"output {name!r} on a batch of {batch} events"
    return ""


def first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:500] if lines else type(error).__name__
