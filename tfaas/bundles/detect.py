"""Which file of an unpacked bundle is the model, and of which kind it is."""

from dataclasses import dataclass
from pathlib import Path

from tfaas.errors import InvalidBundle

SAVED_MODEL = "saved_model.pb"
SUFFIXES = {".onnx": "onnx", ".keras": "keras", ".pb": "frozen"}
EXPECTED = "a SavedModel folder, .keras, .onnx or a frozen .pb"


@dataclass(frozen=True)
class ModelSource:
    """The model as uploaded: a folder for a SavedModel, a file for everything else."""

    kind: str
    path: Path


def find_model(folder: Path, named: str) -> ModelSource:
    """The model of a bundle: the one that params.json names, else the only one there is."""
    if named:
        # Clients in the field write absolute paths of their own machine.
        path = folder / Path(named).name
        if not path.exists() and (folder / SAVED_MODEL).is_file():
            return ModelSource("savedmodel", folder)
        if not path.exists():
            raise InvalidBundle(f"params.json names the model {named!r}, which is not in the bundle")
        return _source(path)
    if (folder / SAVED_MODEL).is_file():
        return ModelSource("savedmodel", folder)
    candidates = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES or (path / SAVED_MODEL).is_file())
    if len(candidates) == 1:
        return _source(candidates[0])
    if candidates:
        names = ", ".join(path.name for path in candidates)
        raise InvalidBundle(f"the bundle holds several models ({names}): name one as 'model' in params.json")
    names = ", ".join(sorted(path.name for path in folder.iterdir())[:10])
    raise InvalidBundle(f"the bundle holds no model, only {names or 'nothing'}: expected {EXPECTED}")


def _source(path: Path) -> ModelSource:
    if path.is_dir():
        if (path / SAVED_MODEL).is_file():
            return ModelSource("savedmodel", path)
        raise InvalidBundle(f"folder {path.name!r} holds no {SAVED_MODEL}: expected {EXPECTED}")
    kind = SUFFIXES.get(path.suffix)
    if kind is None:
        raise InvalidBundle(f"{path.name!r} is no model that can be served: expected {EXPECTED}")
    if kind == "frozen" and _is_saved_model(path):
        return ModelSource("savedmodel", path.parent)
    return ModelSource(kind, path)


def _is_saved_model(path: Path) -> bool:
    """A SavedModel begins with its schema version, a GraphDef with its first node."""
    with path.open("rb") as file:
        return path.name == SAVED_MODEL and file.read(1) == b"\x08"
