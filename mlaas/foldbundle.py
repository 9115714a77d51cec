"""The bundles of all folds as the bundle of one model."""

import json
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

from mlaas.errors import ModelError
from mlaas.export import ReferenceEvents, check_answers, nullable, open_session, to_json
from mlaas.folds import combine_folds
from mlaas.wholefile import write_whole
from tfaas.bundles import pack


@dataclass(frozen=True)
class _Exported:
    """What the bundle of a fold holds: the files of a model, as :func:`mlaas.export.export_bundle` writes them."""

    files: Mapping[str, bytes]

    @classmethod
    def read(cls, bundle: Path) -> "_Exported":
        with tarfile.open(bundle) as archive:
            members = [member for member in archive if member.isfile()]
            return cls({PurePosixPath(one.name).name: _content(archive, one) for one in members})

    @property
    def model(self) -> ModelProto:
        return onnx.load_from_string(self.files["model.onnx"])

    @property
    def manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads(self.files["params.json"])
        return manifest

    @property
    def reference(self) -> dict[str, Any]:
        reference: dict[str, Any] = json.loads(self.files["reference.json"])
        return reference


def export_folds(
    bundles: Sequence[Path], name: str, about: Mapping[str, Any], target: Path, fout: Path | None = None
) -> None:
    """Write the bundle of one model to `target`, from those of the trainings of all folds.

    Args:
        bundles: that of fold i, whose reference events are among those that it was tested on.
        about: more fields of the manifest, such as description and metrics.
        fout: where to save the bundle, or where it ends in .onnx the model alone, too.

    Raises:
        ModelError: they don't go together, or the one model answers a reference event otherwise than the training
            framework has with the model of the event's fold; nothing is written.
    """
    folds = [_Exported.read(bundle) for bundle in bundles]
    manifest = {**_manifest([fold.manifest for fold in folds]), **about}
    reference = _reference([fold.reference for fold in folds])
    files: dict[str, Path | bytes] = {
        "params.json": to_json(manifest),
        "reference.json": to_json(
            {
                "columns": [*folds[0].reference["columns"], manifest["features"][-1]["name"]],
                "inputs": nullable(reference.inputs),
                "outputs": reference.outputs.tolist(),
            }
        ),
    }
    if "labels.txt" in folds[0].files:
        files["labels.txt"] = folds[0].files["labels.txt"]
    for number, fold in enumerate(folds):
        native = (file for file in fold.files if file.startswith("model.") and file != "model.onnx")
        files |= {f"fold{number}{file.removeprefix('model')}": fold.files[file] for file in native}
    with tempfile.TemporaryDirectory(prefix="mlaas-") as folder:
        model, archive = Path(folder) / "model.onnx", Path(folder) / target.name
        onnx.save(combine_folds([fold.model for fold in folds]), str(model))
        answers = open_session(model).run(None, {"features": reference.inputs})[0]
        check_answers(reference, answers.reshape(len(answers), -1))
        pack(name, files | {"model.onnx": model}, archive)
        write_whole(target, archive)
        if fout is not None:
            write_whole(fout, model if fout.suffix == ".onnx" else archive)


def _manifest(manifests: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """That of the first fold with the event number as one more feature."""
    first = manifests[0]
    for fold, manifest in enumerate(manifests):
        if manifest["features"] != first["features"]:
            raise ModelError(f"the model of fold {fold} has other features than that of fold 0: expected the same")
    params = dict(first["lineage"]["params"])
    del params["fold"]
    number = {"name": params["event_number"], "kind": "flat", "dim": 1, "modulo": len(manifests)}
    return first | {"features": [*first["features"], number], "lineage": first["lineage"] | {"params": params}}


def _reference(references: Sequence[dict[str, Any]]) -> ReferenceEvents:
    """The events of all folds, each with its fold in the last column, and what the framework says to them."""
    inputs = [np.array(one["inputs"], np.float32) for one in references]  # None becomes NaN
    folds = np.repeat(np.arange(len(inputs), dtype=np.float32), [len(one) for one in inputs])
    outputs = np.concatenate([np.array(one["outputs"], np.float32) for one in references])
    return ReferenceEvents(np.column_stack([np.concatenate(inputs), folds]), outputs)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None  # it is a regular file
    return file.read()
