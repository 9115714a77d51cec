"""Training runs that are stopped or killed, and gone on with."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlaas.checkpoint import Checkpoint, EpochResult
from mlaas.dataset import Dataset, DatasetParams
from mlaas.demo.sample import write_sample
from mlaas.errors import MlaasError
from mlaas.interrupts import Interrupted
from mlaas.params import TrainParams
from mlaas.training import Training

MLAAS = Path(sys.executable).with_name("mlaas")
MODEL = """
import keras

def model(idim):
    network = keras.Sequential([
        keras.layers.Input((idim,)),
        keras.layers.Dense(16, activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(1, activation="sigmoid"),
    ])
    network.compile(optimizer="adam", loss="binary_crossentropy")
    return network
"""
EPOCHS = 6


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with two samples, a model and parameters."""
    for seed, name in enumerate(("signal", "background")):
        write_sample(tmp_path / f"{name}.root", 1500, name == "signal", seed)
    (tmp_path / "net.py").write_text(MODEL)
    (tmp_path / "params.json").write_text(
        json.dumps({"branch": "Events", "epochs": EPOCHS, "chunk_size": 500, "exclude_branches": ["run", "event"]})
    )
    return tmp_path


def command(*options: str) -> list[str]:
    return [
        *(str(MLAAS), "train", "--files", "signal.root,background.root", "--labels", "1,0", "--model", "net.py"),
        *("--params", "params.json", "--seed", "4", *options),
    ]


def finish(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=240, check=False)


def stop_after(line: str, number: signal.Signals, folder: Path, *options: str) -> tuple[int, str]:
    """Start a training, and send it a signal as soon as it says something: its exit code and its errors."""
    process = subprocess.Popen(
        command(*options),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    for told in process.stdout:
        if told.startswith(line):
            process.send_signal(number)
            break
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def outcome(run: Path) -> dict[str, Any]:
    """What a finished run gives, less times."""
    summary = json.loads((run / "summary.json").read_text())
    for epoch in summary["epochs"]:
        del epoch["events_per_second"]
    return {name: summary[name] for name in ("test_auc", "test_loss", "epochs", "events_by_part")}


def test_a_run_that_is_killed_twice_ends_as_one_that_was_left_alone(work: Path) -> None:
    import onnx
    from onnx import numpy_helper

    alone = finish(work, *command("--run", "alone", "--fout", "alone.onnx"))
    assert alone.returncode == 0, alone.stderr
    code, _ = stop_after("epoch 2/", signal.SIGKILL, work, "--run", "killed", "--fout", "killed.onnx")
    assert code == -signal.SIGKILL
    assert not (work / "killed" / "summary.json").exists()
    (work / "killed" / ".checkpoint.1.partial").write_bytes(b"PK")
    resumed = finish(work, str(MLAAS), "train", "--resume", "killed")
    assert resumed.returncode == 0, resumed.stderr
    assert "epoch 1/" not in resumed.stdout
    assert list((work / "killed").glob(".*")) == []
    assert outcome(work / "killed") == outcome(work / "alone")
    weights = [
        {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(work / name).graph.initializer}
        for name in ("alone.onnx", "killed.onnx")
    ]
    assert weights[0].keys() == weights[1].keys()
    for name, values in weights[0].items():
        np.testing.assert_array_equal(values, weights[1][name], err_msg=name)
    again = finish(work, str(MLAAS), "train", "--resume", "killed")
    assert again.returncode == 2
    assert "this run has ended" in again.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_says_how_to_go_on(work: Path, number: signal.Signals) -> None:
    code, errors = stop_after("epoch 2/", number, work, "--run", "stopped", "--fout", "x.tar.gz")
    assert code == 130, errors
    assert errors.count("\n") == 1
    assert "to go on: mlaas train --resume stopped" in errors
    assert not list(work.glob("x.tar.gz*"))
    resumed = finish(work, str(MLAAS), "train", "--resume", "stopped")
    assert resumed.returncode == 0, resumed.stderr
    assert (work / "x.tar.gz").is_file()
    assert (work / "stopped" / "net.tar.gz").is_file()
    assert len(outcome(work / "stopped")["epochs"]) == EPOCHS


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "model": (lambda work: (work / "net.py").write_text(MODEL.replace("16", "17")), "--model net.py has changed"),
    "data": (lambda work: write_sample(work / "signal.root", 1400, True, 0), "the data have changed"),
    "checkpoint": (lambda work: (work / "run" / "checkpoint").write_bytes(b"PK"), "is no checkpoint, or a damaged one"),
    "folder": (lambda work: (work / "run" / "run.json").write_text("{"), "run.json is damaged"),
    "file gone": (lambda work: (work / "signal.root").unlink(), "signal.root"),
}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stopped")
    for seed, name in enumerate(("signal", "background")):
        write_sample(folder / f"{name}.root", 1500, name == "signal", seed)
    (folder / "net.py").write_text(MODEL)
    (folder / "params.json").write_text('{"branch": "Events", "epochs": 50, "exclude_branches": ["run", "event"]}')
    code, errors = stop_after("epoch 1/", signal.SIGINT, folder, "--run", "run")
    assert code == 130, errors
    return folder


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_goes_on_with_the_same_inputs_or_not_at_all(stopped: Path, tmp_path: Path, change: str) -> None:
    work = tmp_path / "work"
    shutil.copytree(stopped, work)
    about = json.loads((work / "run" / "run.json").read_text())
    (work / "run" / "run.json").write_text(json.dumps(about | {"started_in": str(work)}))
    change_it, reason = CHANGES[change]
    change_it(work)
    done = finish(work, str(MLAAS), "train", "--resume", "run")
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert (work / "run" / "checkpoint").exists()


def test_what_resume_refuses(stopped: Path, tmp_path: Path) -> None:
    for options, reason in (
        (("--resume", "nothing"), "nothing is no folder of a run"),
        (("--resume", "run", "--seed", "3"), "--seed and --resume are both given"),
        (("--files", "signal.root"), "Missing option '--model'"),
    ):
        done = finish(stopped, str(MLAAS), "train", *options)
        assert done.returncode == 2
        assert reason in done.stderr
    elsewhere = finish(tmp_path, str(MLAAS), "train", "--resume", str(stopped / "run"))
    assert f"the run was started in {stopped}" in elsewhere.stderr
    twice = finish(stopped, *command("--run", "run"))
    assert "--run run is there already" in twice.stderr
    assert "mlaas train --resume run" in twice.stderr


class Counting:
    """A trainer whose only weight is the sum of what it was shown, and which can ask for a stop."""

    framework, classifies, streams = "counting", True, True

    def __init__(self, stop_at: int = -1, losses: tuple[float, ...] = ()) -> None:
        self.sum = 0.0
        self.chunks = 0
        self._stop_at = stop_at
        self._losses = iter(losses)

    def fit(self, x: Any, y: Any, batch_size: int, weights: Any = None) -> float:
        self.sum = 0.5 * self.sum + float(np.sum(x, dtype=np.float64))
        self.chunks += 1
        if self.chunks == self._stop_at:
            os.kill(os.getpid(), signal.SIGINT)
        return self.sum

    def evaluate(self, x: Any, y: Any, weights: Any = None) -> float:
        return next(self._losses, 1.0)

    def predict(self, x: Any) -> Any:
        return x[:, :1]

    def state(self) -> bytes:
        return repr(self.sum).encode()

    def resume(self, state: bytes) -> None:
        self.sum = float(state)


@pytest.fixture(scope="module")
def dataset(stopped: Path) -> Dataset:
    files = [str(stopped / f"{name}.root") for name in ("signal", "background")]
    return Dataset(files, [1, 0], DatasetParams(chunk_size=300, excluded=("run", "event")), tree="Events")


@pytest.mark.parametrize("stop_at", [1, 4, 10, 11, 20, 27])
def test_a_stop_at_any_chunk_is_gone_on_from_there(dataset: Dataset, tmp_path: Path, stop_at: int) -> None:
    params = TrainParams(epochs=3)
    alone = Counting()
    expected = Training(alone, dataset, params).run()
    stopped, path = Counting(stop_at), tmp_path / "checkpoint"
    with pytest.raises(Interrupted):
        Training(stopped, dataset, params, path).run()
    assert stopped.chunks == stop_at
    resumed = Counting()
    results = Training(resumed, dataset, params, path).run()
    assert resumed.chunks == alone.chunks - stop_at
    assert resumed.sum == alone.sum
    assert [(one.epoch, one.loss) for one in results] == [(one.epoch, one.loss) for one in expected]


def test_patience_ends_a_training_that_no_longer_gets_better(dataset: Dataset) -> None:
    chunks = len(list(dataset.chunks("validation")))
    losses = [3.0, 1.0, 2.0, 1.5, 1.0, 0.5]
    trainer = Counting(losses=tuple(loss for loss in losses for _ in range(chunks)))
    states: list[float] = []
    results = Training(
        trainer, dataset, TrainParams(epochs=20, patience=3), tell=lambda result: states.append(trainer.sum)
    ).run()
    assert [result.validation_loss for result in results] == losses[:5]
    assert trainer.sum == states[1], "the weights of the best epoch"


def test_a_checkpoint_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    first = Checkpoint([EpochResult(1, 0.5, None, None, 10.0)], 2, 7, 1.75, b"best", b"state")
    first.save(path)
    assert Checkpoint.load(path) == first
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(MlaasError, match="damaged"):
        Checkpoint.load(path)
    with pytest.raises(MlaasError, match="can't be written"):
        first.save(tmp_path / "none" / "checkpoint")
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint"]


def test_mixed_precision_is_trained_and_full_precision_is_served(work: Path) -> None:
    note = 'open("policies", "a").write(keras.config.dtype_policy().name + " ")'
    (work / "net.py").write_text(MODEL.replace("    network = ", f"    {note}\n    network = "))
    params = json.loads((work / "params.json").read_text())
    (work / "params.json").write_text(json.dumps(params | {"precision": "mixed_bfloat16", "epochs": 2}))
    done = finish(work, *command("--run", "mixed", "--fout", "mixed.onnx"))
    assert done.returncode == 0, done.stderr
    assert (work / "policies").read_text().split() == ["float32", "mixed_bfloat16"]
    assert outcome(work / "mixed")["test_auc"] > 0
    import onnx

    kinds = {tensor.data_type for tensor in onnx.load(work / "mixed.onnx").graph.initializer}
    assert onnx.TensorProto.BFLOAT16 not in kinds
