"""Events with run, lumi and event numbers, a model for them, and its scores computed without our code."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import onnxruntime
import uproot
from onnx import TensorProto, helper

from mlaas.features import Feature
from mlaas.publish import publish_bundle
from tests.networks import model_bytes
from tfaas.bundles import pack

MLAAS = Path(sys.executable).with_name("mlaas")
FEATURES = (Feature("met", "flat"), Feature("jet_pt", "jagged", 3), Feature("njet", "flat"))
TREE = "Events"
LARGE = 2**60  # where a float64 knows no odd numbers

Columns = dict[str, npt.NDArray[Any]]


def write_events(path: Path, entries: int, seed: int = 1, step: int = 64, tree: str = TREE, first: int = 0) -> Path:
    """A TTree in baskets of ``step`` events."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 6, entries)
    columns = {
        "run": np.full(entries, 4_294_967_290, "u4"),
        "luminosityBlock": np.arange(entries, dtype="u4"),
        "event": np.arange(entries, dtype="u8") * 3 + LARGE + 2 * first + 1,
        "met": rng.exponential(50, entries).astype("f4"),
        "njet": counts.astype("i4"),
        "jet_pt": ak.unflatten(rng.exponential(40, int(counts.sum())).astype("f4"), counts),
    }
    types = {name: values.dtype for name, values in columns.items() if name != "jet_pt"} | {"jet_pt": "var * float32"}
    with uproot.recreate(path) as file:
        file.mktree(tree, types)
        for start in range(0, entries, step):
            file[tree].extend({name: values[start : start + step] for name, values in columns.items()})
    return path


def network(outputs: int = 1, features: Sequence[Feature] = FEATURES) -> bytes:
    """Raw values → 0 for what is missing, else scaled → a dense layer → ``outputs`` numbers, in ONNX."""
    width = sum(feature.dimension for feature in features)
    return model_bytes(
        [
            helper.make_node("IsNaN", ["features"], ["missing"]),
            helper.make_node("Mul", ["features", "scale"], ["scaled"]),
            helper.make_node("Where", ["missing", "zero", "scaled"], ["normalised"]),
            helper.make_node("MatMul", ["normalised", "w"], ["z"]),
            helper.make_node("Sigmoid", ["z"], ["output"]),
        ],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", width])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", outputs])],
        scale=np.float32(0.02),
        zero=np.float32(0),
        w=np.random.default_rng(7).normal(0, 1, (width, outputs)).astype("f4"),
    )


def write_bundle(
    folder: Path,
    name: str,
    features: Sequence[Feature] = FEATURES,
    content: bytes | None = None,
    labels: Sequence[str] = (),
    **manifest: Any,
) -> Path:
    """A bundle of :func:`network`, or of ``content``."""
    fields = {
        "name": name,
        "model": "model.onnx",
        "missing": True,
        "features": [{"name": one.name, "kind": one.kind, "dim": one.dimension} for one in features],
    }
    fields |= {"labels": "labels.txt"} if labels else {}
    files: dict[str, Path | bytes] = {
        "model.onnx": content or network(max(1, len(labels)), features),
        "params.json": json.dumps(fields | manifest).encode(),
    }
    if labels:
        files["labels.txt"] = "\n".join(labels).encode()
    pack(name, files, folder / f"{name}.tar.gz")
    return folder / f"{name}.tar.gz"


def publish(bundle: Path, folder: Path) -> str:
    """The URL of a registry in ``folder`` that has the bundle."""
    registry = f"sqlite:///{folder / 'registry.db'}"
    publish_bundle(bundle, registry)
    return registry


def expected_scores(
    path: Path, features: Sequence[Feature] = FEATURES, outputs: int = 1, tree: str = TREE
) -> npt.NDArray[np.float32]:
    """(n, outputs): uproot, awkward's padding and ONNX Runtime, without our code in between."""
    with uproot.open(path) as file:
        arrays = file[tree].arrays([feature.name for feature in features])
    columns = []
    for feature in features:
        values = arrays[feature.name]
        if feature.kind == "jagged":
            padded = ak.fill_none(ak.pad_none(values, feature.dimension, clip=True), np.nan)
            columns.append(ak.to_numpy(padded).astype("f4").reshape(-1, feature.dimension))
        else:
            columns.append(ak.to_numpy(values).astype("f4")[:, None])
    session = onnxruntime.InferenceSession(network(outputs, features), providers=["CPUExecutionProvider"])
    scores: npt.NDArray[np.float32] = session.run(None, {"features": np.concatenate(columns, axis=1)})[0]
    return scores


def read_scores(path: Path) -> Columns:
    """The columns of an output of any format."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        return {name: table.column(name).to_numpy() for name in table.column_names}
    with uproot.open(path) as file:
        arrays = file["scores"].arrays()
    return {name: ak.to_numpy(arrays[name]) for name in arrays.fields}


def read_branches(path: Path, *names: str, tree: str = TREE) -> Columns:
    """Flat branches of a file of events."""
    with uproot.open(path) as file:
        return {name: file[tree][name].array(library="np") for name in names}


def mlaas_score(*arguments: object, timeout: float = 120, **options: Any) -> subprocess.CompletedProcess[str]:
    """`mlaas score` as a user runs it."""
    command = [str(MLAAS), "score", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, **options)
