"""What the child process does that proves an upload: unpack, inspect, convert, load, try.

It may crash, hang or run out of memory without harm to the process that started it; `tfaas.sandbox` has shut it in.
"""

import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tfaas.bundles.convert import Converted, convert, first_line, with_precision
from tfaas.bundles.detect import find_model
from tfaas.bundles.manifest import Manifest, parse_manifest
from tfaas.bundles.pickles import refuse_pickles
from tfaas.bundles.probes import BATCH_SIZES, TOLERANCES, Tolerance, random_inputs
from tfaas.bundles.unpack import Limits, check_zip, unpack
from tfaas.errors import InvalidBundle, InvalidRequest
from tfaas.registry.names import check_name
from tfaas.runtimes import RUNTIMES, Session, predict

VERSION_LENGTH = 64


def run(job: dict[str, Any]) -> None:
    """Prove the archive of a job, and write `result.json`."""
    work = Path(job["work"])
    try:
        result = prove_archive(Path(job["archive"]), work, Limits(job["unpacked"], job["members"]))
    except InvalidRequest as error:
        result = {"error": str(error).replace(f"{work}/", "")}  # where the server keeps its files is its own matter
    except MemoryError:
        result = {"error": f"the model needs more than {job['memory']} bytes of memory to be tried"}
    (work / "result.json").write_text(json.dumps(result))


def prove_archive(archive: Path, work: Path, limits: Limits) -> dict[str, Any]:
    """All that the registry wants to know about an upload; the file to serve is left in `work`."""
    unpacked = work / "bundle"
    unpacked.mkdir()
    top = unpack(archive, unpacked, limits)
    refuse_pickles(unpacked)
    folder = unpacked / top
    manifest = _read_manifest(folder)
    name = _model_name(top, manifest)
    source = find_model(folder, manifest.model)
    if source.path.is_file() and zipfile.is_zipfile(source.path):
        check_zip(source.path, limits.unpacked)
    converted = convert(source, manifest, work)
    converted = with_precision(converted, manifest, work)
    tolerance = TOLERANCES[manifest.serving.precision]
    session = _load(converted)
    _check_tensors(session)
    _check_features(converted, session, manifest)
    _check_node(converted, session, manifest)
    output = session.signature.output(manifest.output_node)
    _try(session, output.name, manifest, tolerance)
    _replay(session, output.name, folder, tolerance.reference)
    return {
        "name": name,
        "framework": converted.framework,
        "framework_version": converted.framework_version[:VERSION_LENGTH],
        "runtime": converted.runtime,
        "reason": converted.reason,
        "serving": str(converted.path),
        "signature": asdict(session.signature),
        "manifest": manifest.model_dump(mode="json"),
        "labels": _read_labels(folder, manifest),
    }


def _read_manifest(folder: Path) -> Manifest:
    path = folder / "params.json"
    return parse_manifest(path.read_bytes()) if path.is_file() else parse_manifest(b"{}")


def _model_name(top: str, manifest: Manifest) -> str:
    if top and manifest.name and top != manifest.name:
        raise InvalidBundle(
            f"the bundle's folder is {top!r} but params.json names the model {manifest.name!r}: expected one name"
        )
    name = top or manifest.name
    if not name:
        raise InvalidBundle("the bundle has no top folder and no name in params.json: expected one of them")
    return check_name(name)


def _load(converted: Converted) -> Session:
    try:
        return RUNTIMES[converted.runtime](converted.path, 1)
    except Exception as error:
        raise InvalidBundle(f"the model does not load: {first_line(error)}") from error


def _check_tensors(session: Session) -> None:
    if not session.signature.inputs or not session.signature.outputs:
        raise InvalidBundle("the model has no inputs or no outputs")
    for spec in session.signature.inputs:
        try:
            np.dtype(spec.dtype)
        except TypeError as error:
            raise InvalidBundle(f"input {spec.name!r} holds {spec.dtype}: expected numbers") from error
        if not spec.shape:
            raise InvalidBundle(f"input {spec.name!r} is a scalar: expected a first dimension that counts events")
        if None in spec.shape[1:]:
            shape = ", ".join("?" if size is None else str(size) for size in spec.shape)
            raise InvalidBundle(
                f"input {spec.name!r} has the shape ({shape}): expected every dimension but the first to be fixed"
            )
    if len({spec.batch for spec in session.signature.inputs}) > 1:
        raise InvalidBundle("the inputs have different first dimensions: expected each to count events")


def _check_node(converted: Converted, session: Session, manifest: Manifest) -> None:
    """An output that ONNX does not have is a mistake; of TensorFlow, clients name nodes that a signature knows not."""
    names = [spec.name for spec in session.signature.outputs]
    if converted.framework == "onnx" and manifest.output_node and manifest.output_node not in names:
        raise InvalidBundle(f"params.json: output_node {manifest.output_node!r} is none of {', '.join(names)}")


def _check_features(converted: Converted, session: Session, manifest: Manifest) -> None:
    names = [spec.name for spec in session.signature.inputs]
    if manifest.features and len(names) > 1 and not converted.inputs_ordered:
        raise InvalidBundle(
            f"the inputs {', '.join(names)} of a SavedModel have no order, so the features can't be told which is"
            " whose: expected the inputs in their order as input_node in params.json"
        )
    if manifest.features and manifest.width != session.signature.width:
        raise InvalidBundle(
            f"params.json: features fill {manifest.width} numbers an event, the model takes {session.signature.width}"
        )


def _try(session: Session, output: str, manifest: Manifest, tolerance: Tolerance) -> None:
    """Warm up on every batch size, and see that each event gets its own answer, whatever stands beside it."""
    for batch in BATCH_SIZES:
        inputs = random_inputs(session.signature, batch, manifest)
        events = np.concatenate([array.reshape(len(array), -1).astype(np.float32) for array in inputs], axis=1)
        try:
            result = session.run(inputs, [output])[0]
        except Exception as error:
            raise InvalidBundle(f"the model fails on {len(events)} random events: {first_line(error)}") from error
        if result.ndim == 0 or len(result) != len(events) or result.dtype.kind not in "fiub":
            raise InvalidBundle(
                f"the model answers {len(events)} events with {result.dtype} of shape {result.shape}:"
                " expected numbers for each event"
            )
        together = predict(session, events, [output])[0]
        alone = np.concatenate([predict(session, event[None, :], [output])[0] for event in events])
        if not tolerance.agree(together, alone):
            raise InvalidBundle(
                f"the model answers an event differently alone and in a batch of {len(events)}:"
                " expected an answer that depends on nothing but the event"
            )


def _replay(session: Session, output: str, folder: Path, tolerance: float) -> None:
    """Compare with the events that the bundle brings along, where it does."""
    path = folder / "reference.json"
    if not path.is_file():
        return
    try:
        reference = json.loads(path.read_bytes())
        inputs = np.array(reference["inputs"], dtype=np.float32)  # null becomes NaN
        expected = np.array(reference["outputs"], dtype=np.float32)
        shapes_fit = inputs.ndim == expected.ndim == 2 and inputs.shape[1] == session.signature.width
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidBundle(f"reference.json can't be read: {error}; expected inputs and outputs") from error
    if not shapes_fit or len(inputs) != len(expected) or not len(inputs):
        raise InvalidBundle(
            f"reference.json: inputs {inputs.shape} and outputs {expected.shape} don't fit the model,"
            f" which takes {session.signature.width} numbers an event"
        )
    got = predict(session, inputs, [output])[0]
    if got.shape != expected.shape or not np.allclose(got, expected, tolerance, tolerance):
        worst = np.abs(got - expected).max() if got.shape == expected.shape else np.inf
        raise InvalidBundle(
            f"the model's answers to its reference events differ by up to {worst:.3g} from those in reference.json:"
            f" expected {tolerance}"
        )


def _read_labels(folder: Path, manifest: Manifest) -> list[str]:
    """One label a line, from the file that params.json names or from labels.txt."""
    named = Path(manifest.labels).name if manifest.labels else ""
    path = folder / (named or "labels.txt")
    if not path.is_file():
        if manifest.labels:
            raise InvalidBundle(f"params.json names the labels {manifest.labels!r}, which is not in the bundle")
        return []
    try:
        labels = path.read_text("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InvalidBundle(f"{path.name!r} is not UTF-8 text: expected a label a line") from error
    if any("\0" in label for label in labels):
        raise InvalidBundle(f"{path.name!r} holds a NUL character: expected a label a line")
    return labels
