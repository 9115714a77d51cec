"""Frameworks that need all events at once, on a sample of them."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from mlaas.dataset import Dataset, DatasetParams
from mlaas.demo.sample import write_sample
from mlaas.trainers.sample import collect_sample

MLAAS = Path(sys.executable).with_name("mlaas")
COMMAND = (
    *("--files", "signal.root,background.root", "--labels", "7,3"),
    *("--model", "net.py", "--params", "params.json"),
)
MODEL = """
from sklearn.linear_model import LogisticRegression

def model(idim):
    return LogisticRegression(max_iter=1000)
"""


def ordered_file(path: Path, events: int, scale: float) -> str:
    """A file whose values grow with the entry, as run numbers do."""
    with uproot.recreate(path) as file:
        entry = np.arange(events, dtype=np.float32)
        file["Events"] = {"entry": entry * np.float32(scale), "weight": 1 + entry}
    return str(path)


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_sample_is_spread_evenly_over_files_and_entries(tmp_path: Path, part: Any) -> None:
    files = [ordered_file(tmp_path / "a.root", 6000, 1), ordered_file(tmp_path / "b.root", 3000, -2)]
    params = DatasetParams(chunk_size=700, weight_branch="weight", normalisation="none")
    with Dataset(files, [1, 0], params) as dataset:
        x, y, weights = collect_sample(dataset, 300, part)
    assert x.shape == (300, 1)
    assert np.sum(y == 1) == pytest.approx(200, abs=25)
    assert weights is not None
    for label, sign in ((1, 1), (0, -1)):
        quarters, _ = np.histogram(sign * x[y == label], bins=4, range=(0, 6000))
        assert quarters.min() > 0.6 * quarters.mean()
    first = y == 1
    np.testing.assert_allclose(weights[first] / weights[first][0], (1 + x[first, 0]) / (1 + x[first, 0][0]), rtol=1e-5)


def test_all_events_are_taken_where_there_is_room(tmp_path: Path) -> None:
    files = [ordered_file(tmp_path / "a.root", 500, 1), ordered_file(tmp_path / "b.root", 300, -2)]
    with Dataset(files, [1, 0], DatasetParams(chunk_size=90, normalisation="none")) as dataset:
        x, y, weights = collect_sample(dataset, 10**6, "train")
        chunks = list(dataset.chunks("train"))
    assert len(x) == dataset.counts["train"]
    assert weights is None
    np.testing.assert_array_equal(np.sort(x[:, 0]), np.sort(np.concatenate([chunk.x[:, 0] for chunk in chunks])))
    np.testing.assert_array_equal(np.sort(y), np.sort(np.concatenate([chunk.y for chunk in chunks])))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fitting")
    for seed, name in enumerate(("signal", "background")):
        write_sample(folder / f"{name}.root", 1000, name == "signal", seed)
    (folder / "net.py").write_text(MODEL)
    return folder


def train(work: Path, *options: str, **params: Any) -> subprocess.CompletedProcess[str]:
    (work / "params.json").write_text(json.dumps({"branch": "Events", "exclude_branches": ["run", "event"]} | params))
    command = (
        "--files",
        "signal.root,background.root",
        "--labels",
        "7,3",
        "--model",
        "net.py",
        "--params",
        "params.json",
    )
    return subprocess.run(
        [MLAAS, "train", *command, *options], cwd=work, capture_output=True, text=True, timeout=240, check=False
    )


def test_events_that_are_left_out_are_told_and_noted(work: Path) -> None:
    done = train(work, "--summary", "s.json", "--fout", "net.tar.gz", sample_events=400)
    assert done.returncode == 0, done.stderr
    summary = json.loads((work / "s.json").read_text())
    events = summary["events_by_part"]["train"]
    note = f"{events - 400} of {events} training events are LEFT OUT"
    assert f"note: {note}" in done.stdout
    assert any(note in one for one in summary["notes"])
    assert summary["test_auc"] > 0.6
    assert len(summary["epochs"]) == 1
    with tarfile.open(work / "net.tar.gz") as archive:
        assert not [name for name in archive.getnames() if "joblib" in name], "a file that runs code when it is loaded"


def test_a_sample_without_a_class_is_an_error(work: Path) -> None:
    done = train(work, sample_events=1)
    assert done.returncode == 2
    assert "hold none of label" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_format_of_another_framework_is_an_error_before_the_training(work: Path) -> None:
    done = train(work, "--fout", "net.keras")
    assert done.returncode == 2
    assert done.stderr == "mlaas: --fout net.keras: a model of sklearn is saved as .tar.gz, .onnx, .joblib\n"
    assert "epoch" not in done.stdout


def test_tensorflow_is_not_loaded_for_other_frameworks(work: Path) -> None:
    code = """
import sys
from mlaas.cli import cli
cli.main(sys.argv[1:], standalone_mode=False)
sys.exit(sorted({"tensorflow", "keras", "torch", "xgboost", "lightgbm"} & set(sys.modules)) or 0)
"""
    (work / "params.json").write_text(json.dumps({"branch": "Events", "exclude_branches": ["run", "event"]}))
    command = (
        "--files",
        "signal.root,background.root",
        "--labels",
        "1,0",
        "--model",
        "net.py",
        "--params",
        "params.json",
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "train", *command],
        cwd=work,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
