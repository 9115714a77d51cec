"""A trained model and its preprocessing as a bundle."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.compose
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from mlaas.assembly import Assembler
from mlaas.errors import ModelError, one_line
from mlaas.features import columns
from mlaas.trainers import TRAINERS, FloatArray, Trainer, Unfitted
from tfaas.bundles import pack

TOLERANCE = 1e-5
MADE_UP_EVENTS = 100
ERRORS_ONLY = 3


@dataclass(frozen=True)
class ReferenceEvents:
    """Raw events (n, width), NaN for what is missing, and the trained model's answers (n, outputs)."""

    inputs: FloatArray
    outputs: FloatArray


def export_bundle(
    trainer: Trainer,
    assembler: Assembler,
    reference: ReferenceEvents,
    name: str,
    labels: Sequence[str],
    about: Mapping[str, Any],
    folder: Path,
) -> Path:
    """Write the bundle `<name>.tar.gz` in `folder`.

    Args:
        about: more fields of the manifest, such as description, metrics and lineage.

    Raises:
        ModelError: ONNX can't express the model, or answers the reference events otherwise than the framework does.
    """
    framework = TRAINERS[trainer.framework]
    onnx_path, native_path = folder / "model.onnx", folder / f"model{framework.suffix}"
    with _export_errors_translated():
        network_path = folder / "network.onnx"
        trainer.export(network_path)
        onnx.save(with_preprocessing(onnx.load(str(network_path)), assembler), str(onnx_path))
        session = open_session(onnx_path)
        answers = session.run(None, {"features": reference.inputs})[0]
    check_answers(reference, answers.reshape(len(answers), -1))
    files: dict[str, Path | bytes] = {
        "model.onnx": onnx_path,
        "params.json": to_json(_manifest(name, assembler, about) | ({"labels": "labels.txt"} if labels else {})),
        "reference.json": to_json(
            {
                "columns": columns(assembler.features),
                "inputs": nullable(reference.inputs),
                "outputs": reference.outputs.tolist(),
            }
        ),
    }
    if trainer.save(native_path) and framework.bundled:
        files[native_path.name] = native_path
    if labels:
        files["labels.txt"] = "".join(f"{label}\n" for label in labels).encode()
    archive = folder / f"{name}.tar.gz"
    pack(name, files, archive)
    return archive


def check_exportable(trainer: Trainer) -> None:
    """Find out before the training whether ONNX can express the model, and answers as it does; raises ModelError."""
    if isinstance(trainer, Unfitted):
        trainer = trainer.trial()
    with tempfile.TemporaryDirectory(prefix="mlaas-") as folder, _export_errors_translated():
        path = Path(folder) / "network.onnx"
        trainer.export(path)
        session = open_session(path)
        events = np.random.default_rng(1).random((MADE_UP_EVENTS, session.get_inputs()[0].shape[1]), np.float32)
        events[:, ::5] = 0  # as the columns of absent objects are
        answers = session.run(None, {"normalised": events})[0].reshape(len(events), -1)
    expected = trainer.predict(events)
    if not _agree(answers, expected):
        raise ModelError(
            f"the model can't be exported to ONNX: there, it answers made-up events with {answers[0, :3]}…, not"
            f" {expected[0, :3]}…"
        )


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """What runs an ONNX file here."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY  # converters leave things behind that the runtime removes, and tells
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@contextmanager
def _export_errors_translated() -> Iterator[None]:
    """Turn whatever a converter raises for a model that it can't express into a ModelError."""
    try:
        yield
    except Exception as error:
        reason = one_line(str(error))[:300]
        raise ModelError(f"the model can't be exported to ONNX: {reason}") from error


def with_preprocessing(network: onnx.ModelProto, assembler: Assembler) -> onnx.ModelProto:
    """A model from raw `features` (n, width), NaN or infinity where a value is missing, to the network's `output`.

    Args:
        network: takes `normalised` (n, width).
    """
    constants = {
        "preprocessing_shift": assembler.shift,
        "preprocessing_scale": assembler.scale,
        "preprocessing_fill": np.float32(assembler.fill),
    }
    nodes = [
        helper.make_node("Sub", ["features", "preprocessing_shift"], ["preprocessing_shifted"]),
        helper.make_node("Mul", ["preprocessing_shifted", "preprocessing_scale"], ["preprocessing_scaled"]),
        helper.make_node("IsNaN", ["features"], ["preprocessing_nan"]),
        helper.make_node("IsInf", ["features"], ["preprocessing_inf"]),
        helper.make_node("Or", ["preprocessing_nan", "preprocessing_inf"], ["preprocessing_missing"]),
        helper.make_node(
            "Where", ["preprocessing_missing", "preprocessing_fill", "preprocessing_scaled"], ["preprocessed"]
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "preprocessing",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["events", assembler.width])],
        [helper.make_tensor_value_info("preprocessed", TensorProto.FLOAT, ["events", assembler.width])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    preprocessing = helper.make_model(graph, opset_imports=network.opset_import, ir_version=network.ir_version)
    return onnx.compose.merge_models(preprocessing, network, io_map=[("preprocessed", "normalised")])


def _agree(answers: npt.NDArray[Any], expected: npt.NDArray[Any]) -> bool:
    return answers.shape == expected.shape and np.allclose(answers, expected, TOLERANCE, TOLERANCE)


def check_answers(reference: ReferenceEvents, answers: npt.NDArray[Any]) -> None:
    """Raise ModelError unless the exported model answers (n, outputs) as the trained one does."""
    if _agree(answers, reference.outputs):
        return
    differences = np.abs(answers - reference.outputs).max(axis=1)
    worst = int(differences.argmax())
    raise ModelError(
        f"the exported model differs from the trained one by {differences[worst]:.3g} on reference event {worst}:"
        f" expected at most {TOLERANCE}; nothing is published"
    )


def _manifest(name: str, assembler: Assembler, about: Mapping[str, Any]) -> dict[str, Any]:
    shifts, scales = iter(assembler.shift.tolist()), iter(assembler.scale.tolist())
    features = []
    for feature in assembler.features:
        # All columns of a feature share one shift and one scale.
        shift, scale = [(next(shifts), next(scales)) for _ in range(feature.dimension)].pop()
        features.append(
            {"name": feature.name, "kind": feature.kind, "dim": feature.dimension, "shift": shift, "scale": scale}
            | ({"categories": feature.categories} if feature.categories else {})
        )
    return {
        "name": name,
        "model": "model.onnx",
        "features": features,
        "missing": True,
        "preprocessing": {
            "normalisation": "(value - shift) * scale",
            "fill": float(assembler.fill),
            "in_graph": True,
        },
        **about,
    }


def nullable(inputs: FloatArray) -> list[list[float | None]]:
    """For JSON, which has no NaN."""
    return [[None if np.isnan(value) else value for value in row] for row in inputs.tolist()]


def to_json(data: Mapping[str, Any]) -> bytes:
    """As the files of a bundle have it."""
    return json.dumps(data, indent=1, allow_nan=False).encode()
