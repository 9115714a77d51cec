"""`python -m benchmarks.score`: `mlaas score` beside the data layer's chunks, measured in turn in one process."""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from benchmarks.data import PARAMS, _chunks, _timed
from benchmarks.data_files import TREE, benchmark_file
from benchmarks.servers import running_tfaas
from benchmarks.table import HEAD, Row, machine, show
from mlaas.dataset import Dataset
from mlaas.export import with_preprocessing
from mlaas.publish import publish_bundle
from mlaas.scoring import ScoreOptions, score_files
from tfaas.bundles import pack

TARGET = 0.6
HIDDEN = 32
SEED = 2203


def scoring(folder: Path, repetitions: int) -> Iterator[Row]:
    """The benchmark file with a small network, in the process and through a server on the same machine."""
    path = benchmark_file()
    registry = f"sqlite:///{folder / 'registry.db'}"
    with Dataset([str(path)], ["label"], PARAMS, tree=TREE) as dataset, running_tfaas() as url:
        for target in (registry, url):
            publish_bundle(_bundle(folder, dataset), target)
        print(f"{len(dataset.features)} branches in {len(dataset.columns)} columns → {HIDDEN} → 1.\n")
        print(HEAD, flush=True)
        best = dict.fromkeys(("chunks", registry, url), 0.0)
        for repetition in range(repetitions):
            best["chunks"] = max(best["chunks"], _timed(partial(_chunks, dataset, repetition)))
            for target in (registry, url):
                best[target] = max(best[target], _score(path, target, folder))
    beside = f"chunks: {best['chunks']:,.0f} events/s"
    for target, what, least in ((registry, "score, in process", TARGET), (url, "score, through a server", 0)):
        yield Row(what, f"{best[target]:,.0f} events/s", beside, best[target] / best["chunks"], least)


def _score(path: Path, registry: str, folder: Path) -> float:
    """Events a second of the whole: looking the model up, opening, scoring, joining."""
    out = folder / "scores.root"
    scored = score_files(ScoreOptions("net", str(path), out, registry, tree=TREE, force=True), lambda line: None)
    return scored.outputs[out] / scored.seconds


def _bundle(folder: Path, dataset: Dataset) -> Path:
    """What a training on all branches of the file publishes, with weights at random."""
    features = [{"name": one.name, "kind": one.kind, "dim": one.dimension} for one in dataset.features]
    manifest = {"name": "net", "model": "model.onnx", "missing": True, "features": features}
    model = with_preprocessing(_network(len(dataset.columns)), dataset.assembler).SerializeToString()
    pack("net", {"model.onnx": model, "params.json": json.dumps(manifest).encode()}, folder / "net.tar.gz")
    return folder / "net.tar.gz"


def _network(width: int) -> ModelProto:
    generator = np.random.default_rng(SEED)
    weights = {
        "w1": generator.normal(0, 0.1, (width, HIDDEN)),
        "b1": generator.normal(0, 0.1, HIDDEN),
        "w2": generator.normal(0, 0.1, (HIDDEN, 1)),
        "b2": generator.normal(0, 0.1, 1),
    }
    nodes = [
        helper.make_node("Gemm", ["normalised", "w1", "b1"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("Gemm", ["active", "w2", "b2"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("normalised", TensorProto.FLOAT, ["N", width])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 1])],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.score", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5, help="of everything; the best counts")
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(prefix="bench-score-") as folder:
        show(scoring(Path(folder), options.repetitions))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
