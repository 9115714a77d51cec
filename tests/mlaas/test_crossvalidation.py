"""`mlaas train --folds` from files to a served model, as a user runs it."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from mlaas.crossvalidation import train_and_publish
from mlaas.errors import MlaasError
from mlaas.metrics import auc
from mlaas.options import TrainOptions
from tests.mlaas.test_specs import write_tree
from tests.servers import Server, running_server
from tfaas.codecs.tfaas_pb2 import Predictions, Row

MLAAS = Path(sys.executable).with_name("mlaas")
FOLDS = 3
EVENTS = 600
MODEL = """
import keras

def model(idim):
    network = keras.Sequential([
        keras.layers.Input((idim,)),
        keras.layers.Dense(8, activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.Dense(1, activation="sigmoid"),
    ])
    network.compile(optimizer=keras.optimizers.Adam(0.01), loss="binary_crossentropy")
    return network
"""


@dataclass(frozen=True)
class Sample:
    """Events of both files: float32 (n, 2) features, int64 (n,) numbers, int (n,) labels."""

    folder: Path
    features: NDArray[np.float32]
    numbers: NDArray[np.int64]
    labels: NDArray[np.int64]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A folder with two files whose event numbers need all of their 61 bits, a model and parameters."""
    folder = tmp_path_factory.mktemp("folds")
    rng = np.random.default_rng(12)
    # Neighbours, so that a float64 would give most of them another one's fold.
    numbers = 2**60 - rng.permutation(2 * EVENTS).astype(np.int64)
    features = rng.normal(size=(2 * EVENTS, 2)).astype(np.float32)
    features[EVENTS:] += 1
    features[::50, 1] = np.nan
    for place, name in enumerate(("background", "signal")):
        rows = slice(place * EVENTS, (place + 1) * EVENTS)
        columns = {"a": features[rows, 0], "b": features[rows, 1], "event": numbers[rows]}
        write_tree(folder / f"{name}.root", columns, {"a": "f4", "b": "f4", "event": "i8"})
    (folder / "net.py").write_text(MODEL)
    (folder / "params.json").write_text(json.dumps({"epochs": 3, "event_number": "event", "batch_size": 32}))
    return Sample(folder, features, numbers, np.repeat([0, 1], EVENTS))


def command(*options: str) -> list[str]:
    return [
        *(str(MLAAS), "train", "--files", "signal.root,background.root", "--labels", "1,0", "--model", "net.py"),
        *("--params", "params.json", "--seed", "5", *options),
    ]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def trained(sample: Sample, server: Server) -> str:
    """What `mlaas train --folds` says; the run is in the folder `run`."""
    options = ("--folds", str(FOLDS), "--run", "run", "--publish", server.url, "--alias", "production")
    done = run(sample.folder, *command(*options, "--name", "folds"))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def out_of_fold(sample: Sample, trained: str) -> NDArray[np.float32]:
    """What Keras says to each event, with the network that has not been trained on it: float32 (n,)."""
    import keras

    answers = np.full(2 * EVENTS, np.nan, np.float32)
    for fold in range(FOLDS):
        path = sample.folder / "run" / f"fold{fold}"
        with tarfile.open(path / "folds.tar.gz") as archive:
            archive.extractall(path / "content", filter="data")
        content = path / "content" / "folds"
        manifest = json.loads((content / "params.json").read_text())
        mine = np.array([int(number) % FOLDS == fold for number in sample.numbers])
        shift, scale = (np.array([one[key] for one in manifest["features"]], np.float32) for key in ("shift", "scale"))
        scaled = (sample.features[mine] - shift) * scale
        network = keras.models.load_model(content / "model.keras")
        answers[mine] = network(np.where(np.isfinite(scaled), scaled, 0), training=False).numpy()[:, 0]
        summary = json.loads((path / "summary.json").read_text())
        assert summary["events_by_part"]["test"] == mine.sum()
    return answers


def test_json_in_columns_scores_every_event_with_the_network_that_has_not_seen_it(
    sample: Sample, server: Server, out_of_fold: NDArray[np.float32]
) -> None:
    columns: dict[str, Any] = {
        name: [None if np.isnan(value) else value for value in sample.features[:, place].tolist()]
        for place, name in enumerate(("a", "b"))
    }
    body = json.dumps({"model": "folds", "columns": columns | {"event": sample.numbers.tolist()}})
    answer = httpx.post(f"{server.url}/json", content=body)
    assert answer.status_code == 200, answer.text
    np.testing.assert_allclose(np.array(answer.json())[:, 0], out_of_fold, rtol=1e-5, atol=1e-5)
    others = np.roll(out_of_fold, 1)
    assert np.abs(others - out_of_fold).max() > 0.01


def test_arrow_and_single_rows_say_the_same(sample: Sample, server: Server, out_of_fold: NDArray[np.float32]) -> None:
    table = pa.table({"event": sample.numbers, "b": sample.features[:, 1], "a": sample.features[:, 0]})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    headers = {"content-type": "application/vnd.apache.arrow.stream", "accept": "application/json"}
    url = f"{server.url}/predict/batch?model=folds@production"
    answer = httpx.post(url, content=sink.getvalue(), headers=headers)
    assert answer.status_code == 200, answer.text
    np.testing.assert_allclose(np.array(answer.json())[:, 0], out_of_fold, rtol=1e-5, atol=1e-5)
    for event in range(1, 40):
        a, b = sample.features[event].tolist()
        number = int(sample.numbers[event])
        body = json.dumps({"model": "folds", "keys": ["event", "a", "b"], "values": [number, a, b]})
        single = httpx.post(f"{server.url}/json", content=body)
        assert single.json() == pytest.approx([out_of_fold[event]], rel=1e-5, abs=1e-5)
        row = Row(model="folds", key=["a", "b", "event"], value=[a, b, number % FOLDS])
        single = httpx.post(f"{server.url}/proto", content=row.SerializeToString())
        (only,) = Predictions.FromString(single.content).prediction
        assert only.probability == pytest.approx(out_of_fold[event], rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("registry", ["a server", "in process"])
def test_files_are_scored_by_the_networks_that_have_not_seen_their_events(
    sample: Sample, server: Server, out_of_fold: NDArray[np.float32], registry: str
) -> None:
    model = ("folds", "--registry", server.url) if registry == "a server" else ("run/folds.tar.gz",)
    out = f"{registry.replace(' ', '_')}.parquet"
    done = run(sample.folder, str(MLAAS), "score", "--files", "signal.root", "--out", out, "--model", *model)
    assert done.returncode == 0, done.stderr
    scores = pq.read_table(sample.folder / out)
    assert scores.column("event").to_pylist() == sample.numbers[EVENTS:].tolist()
    np.testing.assert_allclose(scores.column("score").to_numpy(), out_of_fold[EVENTS:], rtol=1e-5, atol=1e-5)


def test_the_number_as_a_float32_is_refused(sample: Sample, server: Server, trained: str) -> None:
    row = Row(model="folds", key=["a", "b", "event"], value=[1, 1, sample.numbers[0]])
    answer = httpx.post(f"{server.url}/proto", content=row.SerializeToString())
    assert answer.status_code == 400
    assert "expected event % 3" in answer.json()["error"]


def test_figures_of_every_fold_and_of_all_events(
    sample: Sample, trained: str, out_of_fold: NDArray[np.float32]
) -> None:
    summary = json.loads((sample.folder / "run" / "summary.json").read_text())
    areas = []
    for fold in range(FOLDS):
        mine = sample.numbers % FOLDS == fold
        areas.append(auc(sample.labels[mine], out_of_fold[mine, None], None))
        assert f"fold {fold}: loss {summary['folds'][fold]['test_loss']:.4f}, AUC {areas[-1]:.4f}" in trained
    assert [fold["test_auc"] for fold in summary["folds"]] == pytest.approx(areas, abs=1e-4)
    assert summary["test_auc_mean"] == pytest.approx(np.mean(areas), abs=1e-4)
    assert summary["test_auc_spread"] == pytest.approx(np.std(areas, ddof=1), abs=1e-4)
    assert summary["test_auc"] == pytest.approx(auc(sample.labels, out_of_fold[:, None], None), abs=1e-4)
    assert f"AUC {summary['test_auc']:.4f} over all events, each scored by the model that has not seen it" in trained
    assert (summary["events"], summary["version"], summary["features"]) == (2 * EVENTS, 1, ["a", "b"])


def test_reference_events_of_every_fold_travel_with_the_model(sample: Sample, trained: str) -> None:
    with tarfile.open(sample.folder / "run" / "folds.tar.gz") as archive:
        names = {Path(member.name).name for member in archive}
        reference = json.load(archive.extractfile("folds/reference.json"))  # type: ignore[arg-type]
        manifest = json.load(archive.extractfile("folds/params.json"))  # type: ignore[arg-type]
    assert {f"fold{fold}.keras" for fold in range(FOLDS)} <= names
    assert reference["columns"] == ["a", "b", "event"]
    assert [row[2] for row in reference["inputs"]] == [float(fold) for fold in range(FOLDS) for _ in range(100)]
    assert manifest["features"][-1] == {"name": "event", "kind": "flat", "dim": 1, "modulo": FOLDS}
    assert manifest["lineage"]["params"]["folds"] == FOLDS


def test_a_run_that_is_stopped_goes_on_to_the_same_result(sample: Sample, trained: str) -> None:
    process = subprocess.Popen(
        command("--folds", str(FOLDS), "--run", "stopped"),
        cwd=sample.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    told = ""
    while not told.startswith("fold 1 of 3"):
        told = process.stdout.readline()
        assert told
    while not told.startswith("epoch 1/3"):
        told = process.stdout.readline()
        assert told
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "stopped in fold 1; to go on: mlaas train --resume stopped" in errors
    done = run(sample.folder, str(MLAAS), "train", "--resume", "stopped")
    assert done.returncode == 0, done.stderr
    assert "fold 0 of 3" not in done.stdout
    summaries = [json.loads((sample.folder / name / "summary.json").read_text()) for name in ("run", "stopped")]
    for figure in ("test_auc", "test_auc_mean", "test_auc_spread", "test_loss_mean"):
        assert summaries[0][figure] == summaries[1][figure]
    again = run(sample.folder, str(MLAAS), "train", "--resume", "stopped")
    assert (again.returncode, again.stderr) == (2, "mlaas: stopped: this run has ended; nothing is left to do\n")


def test_one_fold_alone_gives_what_it_gives_among_all(sample: Sample, trained: str) -> None:
    done = run(sample.folder, *command("--fold", f"1/{FOLDS}", "--run", "alone"))
    assert done.returncode == 0, done.stderr
    alone, among = (json.loads((sample.folder / path / "summary.json").read_text()) for path in ("alone", "run/fold1"))
    assert (alone["test_auc"], alone["test_loss"]) == (among["test_auc"], among["test_loss"])


@pytest.mark.parametrize(
    ("options", "params", "message"),
    [
        ({"fold": "3/3"}, {}, "--fold 3/3: expected K/N with K from 0 to N - 1, such as 0/5"),
        ({"fold": "2"}, {}, "--fold 2: expected K/N with K from 0 to N - 1, such as 0/5"),
        ({"fold": "0/3"}, {"folds": 4}, "--fold 0/3: the parameters say folds 4; leave one of them out"),
        ({"folds": 1}, {}, "--folds 1: expected at least 2"),
        ({"folds": 3, "fold": "0/3"}, {}, "--fold and --folds are both given: expected one of them"),
        ({"folds": 3, "fout": Path("x.keras")}, {}, "--fout x.keras: the folds are several networks"),
        ({"folds": 3, "promote_if": "auc > 0.5"}, {}, "--promote-if: the folds have no test part in common"),
        ({"folds": 3}, {"event_number": ""}, "event_number is missing in the parameters: expected the branch"),
        ({"folds": 3}, {"event_number": "evt"}, "no branch evt for the event number"),
    ],
)
def test_what_cannot_be_is_said_before_any_training_and_leaves_nothing(
    sample: Sample, options: dict[str, Any], params: dict[str, Any], message: str
) -> None:
    folder = sample.folder
    wanted = TrainOptions(
        f"{folder}/signal.root,{folder}/background.root",
        "1,0",
        folder / "net.py",
        {"epochs": 1, "event_number": "event", **params},
        run=folder / "refused",
        **options,
    )
    with pytest.raises(MlaasError, match=re.escape(message)):
        train_and_publish(wanted, lambda line: None)
    assert not (folder / "refused").exists()
