"""Sweeps from a space of parameters to the best model, undisturbed, failing, interrupted, killed and on a cluster."""

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from mlaas import api, cluster
from mlaas.demo.sample import write_sample
from mlaas.errors import MlaasError, ParameterError, PublishError
from mlaas.publish import existing
from mlaas.sweep.space import read_space

MLAAS = Path(sys.executable).with_name("mlaas")
MODEL = """
from sklearn.linear_model import SGDClassifier


def model(idim, rate=0.05, penalty="l2"):
    return SGDClassifier(loss="log_loss", learning_rate="constant", eta0=rate, penalty=penalty, random_state=0)
"""
# Run in a trial, whose report is most of its work and looked at by one test only.
WITHOUT_REPORT = """
from mlaas import workflow

workflow.report_training = lambda *arguments: None
"""
# With time to be interrupted.
SLOW = """
import functools
import time

from sklearn.linear_model import SGDClassifier

learn = SGDClassifier.partial_fit


@functools.wraps(learn)
def slowly(*arguments, **named):
    time.sleep(0.5)
    return learn(*arguments, **named)


SGDClassifier.partial_fit = slowly
"""
PARAMS = {"branch": "Events", "epochs": 4, "exclude_branches": ["run", "event"]}
SPACE = {"model.rate": {"low": 1e-3, "high": 1e-1, "log": True}, "batch_size": [50, 100]}
WAIT_SECONDS = 120


def prepare(folder: Path) -> None:
    for seed, name in enumerate(("signal", "background")):
        write_sample(folder / f"{name}.root", 600, name == "signal", seed)
    (folder / "net.py").write_text(WITHOUT_REPORT + MODEL)
    (folder / "params.json").write_text(json.dumps(PARAMS))


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with two samples and a model."""
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep that was left alone."""
    folder = tmp_path_factory.mktemp("alone")
    prepare(folder)
    with contextlib.chdir(folder):
        sweep("out", trials=3, processes=2, seed=3)
    return folder / "out"


def command(space: Any, *options: str) -> list[str]:
    Path("space.json").write_text(json.dumps(space))
    return [
        *(str(MLAAS), "sweep", "--files", "signal.root,background.root", "--labels", "1,0", "--model", "net.py"),
        *("--params", "params.json", "--space", "space.json", "--processes", "2", "--seed", "3", *options),
    ]


def finish(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, timeout=240, check=False)


def sweep(output: str, **options: Any) -> dict[str, Any]:
    given = {"space": SPACE, "params": PARAMS, "trials": 1, "tell": None} | options
    return api.sweep(["signal.root", "background.root"], [1, 0], "net.py", output=output, **given)


def outcome(folder: Path) -> list[tuple[Any, ...]]:
    """What the trials of a sweep gave, less times."""
    trials = json.loads((folder / "sweep.json").read_text())["trials"]
    return [(trial["values"], trial["value"], trial["test_auc"], trial["epoch"]) for trial in trials]


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_best_trial_is_published_and_a_failing_one_is_in_the_table(work: Path) -> None:
    Path("net.py").write_text(MODEL)
    registry = f"sqlite:///{work}/registry.db"
    space = {"model.rate": [1e-3, 3e-2, 1e300]}
    options = (
        "--trials",
        "4",
        "--output",
        "out",
        "--publish",
        registry,
        "--alias",
        "production",
        "--summary",
        "s.json",
    )
    done = finish(*command(space, *options))
    assert done.returncode == 0, done.stderr
    found = json.loads(Path("out/sweep.json").read_text())
    assert json.loads(Path("s.json").read_text()) == found
    assert [trial["trial"] for trial in found["trials"]] == [0, 1, 2, 3]
    failed = [trial for trial in found["trials"] if trial["value"] is None]
    good = [trial for trial in found["trials"] if trial["value"] is not None]
    assert good
    assert failed
    assert {trial["values"]["model.rate"] for trial in failed} == {1e300}
    assert all(trial["reason"] and "\n" not in trial["reason"] for trial in failed)
    assert found["best"]["value"] == min(trial["value"] for trial in good)
    assert found["version"] == 1
    assert existing(registry, "net").aliases == {"latest": 1, "production": 1}
    summary = json.loads(Path("out", found["best"]["folder"], "run", "summary.json").read_text())
    assert summary["test_auc"] == found["best"]["test_auc"]
    assert Path("out", found["best"]["folder"], "run", "report.html").is_file()
    assert f"trial {failed[0]['trial']}: model.rate 1e+300: validation_loss failed, " in done.stdout
    assert f"best: trial {found['best']['trial']}, validation_loss {found['best']['value']:.4f}" in done.stdout
    assert "net@production is version 1" in done.stdout


def test_where_no_trial_succeeds_the_first_reason_is_told(work: Path) -> None:
    done = finish(*command({"model.colour": ["red"]}, "--trials", "1", "--output", "out"))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "no trial has succeeded" in line
    assert "model() takes no argument 'colour' besides its first: expected rate, penalty" in line
    assert not Path("out/sweep.json").exists()


@pytest.fixture
def slow(work: Path) -> Iterator[subprocess.Popen[str]]:
    """A sweep whose two trials have both saved something and are at work."""
    Path("net.py").write_text(WITHOUT_REPORT + SLOW + MODEL)
    process = subprocess.Popen(
        command(SPACE, "--trials", "3", "--output", "out"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for(lambda: len(list(Path("out").glob("trial-*/run/checkpoint"))) == 2, process)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_sweep_that_is_stopped_or_killed_goes_on_to_the_same_result(
    slow: subprocess.Popen[str], alone: Path, number: signal.Signals
) -> None:
    trials = psutil.Process(slow.pid).children()
    assert len(trials) == 2
    slow.send_signal(number)
    _, errors = slow.communicate(timeout=WAIT_SECONDS)
    if number == signal.SIGKILL:
        psutil.wait_procs(trials, timeout=WAIT_SECONDS)
    else:
        assert slow.returncode == 130
        assert errors == "mlaas: interrupted: stopped; to go on: mlaas sweep --resume out\n"
    # No training goes on without its sweep, none has lost what it had.
    assert [trial for trial in trials if trial.is_running()] == []
    assert len(list(Path("out").glob("trial-*/run/checkpoint"))) == 2
    assert list(Path("out").glob("trial-*/failed.json")) == []
    # What has changed in the files since has no effect.
    Path("space.json").write_text(json.dumps({"batch_size": [7]}))
    Path("params.json").write_text(json.dumps(PARAMS | {"epochs": 1}))
    resumed = finish(str(MLAAS), "sweep", "--resume", "out")
    assert resumed.returncode == 0, resumed.stderr
    assert "epoch 1/" not in Path("out/trial-000/log").read_text().partition("interrupted")[2]
    assert outcome(Path("out")) == outcome(alone)


def is_pending(number: signal.Signals, pid: int) -> bool:
    """Whether a suspended process will get a signal as soon as it goes on."""
    (pending,) = re.findall(r"^ShdPnd:\s*([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(int(pending, 16) >> (number - 1) & 1)


def test_a_second_ctrl_c_does_not_wait(slow: subprocess.Popen[str]) -> None:
    trials = psutil.Process(slow.pid).children()
    for trial in trials:
        trial.suspend()
    # Until then, a signal may still be handled.
    wait_for(lambda: all(trial.status() == psutil.STATUS_STOPPED for trial in trials), slow)
    slow.send_signal(signal.SIGINT)
    wait_for(lambda: all(is_pending(signal.SIGTERM, trial.pid) for trial in trials), slow)
    slow.send_signal(signal.SIGINT)
    _, errors = slow.communicate(timeout=WAIT_SECONDS)
    assert slow.returncode == 130, errors
    assert [trial for trial in trials if trial.is_running()] == []


def test_two_processes_do_not_go_on_with_one_sweep(slow: subprocess.Popen[str]) -> None:
    with pytest.raises(MlaasError, match="another process is at work on this sweep"):
        api.resume("out", None)
    assert slow.poll() is None


def test_a_registry_that_fails_at_the_end_loses_nothing(work: Path) -> None:
    database = Path("registry.db")

    def spoil(line: str) -> None:
        if line.startswith("trial 0"):
            database.write_text("this is no database")

    with pytest.raises(PublishError, match=r"the trained model is kept, publish it by: tfaas upload \S+net.tar.gz"):
        sweep("out", publish=f"sqlite:///{database.resolve()}", tell=spoil)
    assert json.loads(Path("out/sweep.json").read_text())["version"] is None
    database.unlink()
    assert api.resume("out", None)["version"] == 1
    with pytest.raises(ParameterError, match="this sweep has ended"):
        api.resume("out", None)


def test_the_best_can_be_that_of_the_largest_auc(work: Path) -> None:
    found = sweep("out", space={"model.rate": [1e-30, 3e-2]}, trials=3, processes=2, metric="validation_auc", seed=1)
    values = [trial["value"] for trial in found["trials"]]
    assert len(set(values)) == 2
    assert found["best"]["value"] == max(values)


def test_a_dask_cluster_trains(work: Path, alone: Path) -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0") as local:
        sweep("out", trials=3, dask=local.scheduler_address, seed=3)
    assert outcome(Path("out")) == outcome(alone)


def test_a_sweep_on_a_cluster_stops_its_trials_too(work: Path) -> None:
    from distributed import LocalCluster

    Path("net.py").write_text(WITHOUT_REPORT + SLOW + MODEL)
    options = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": ":0"}
    with LocalCluster(protocol="tcp", **options) as local:
        process = subprocess.Popen(
            command(SPACE, "--trials", "3", "--output", "out", "--dask", local.scheduler_address),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        wait_for(lambda: len(list(Path("out").glob("trial-*/run/checkpoint"))) == 2, process)
        # Here, the worker is this process.
        trials = [child for child in psutil.Process().children() if "mlaas.sweep.child" in child.cmdline()]
        assert len(trials) == 2
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=WAIT_SECONDS)
        assert process.returncode == 130, errors
        deadline = time.monotonic() + WAIT_SECONDS
        while any(trial.is_running() for trial in trials):
            assert time.monotonic() < deadline
            time.sleep(0.02)  # waiting as a parent would take their exit codes from the worker
    assert len(list(Path("out").glob("trial-*/run/checkpoint"))) == 2
    assert list(Path("out").glob("trial-*/failed.json")) == []
    assert list(Path("out").glob("trial-*/run/summary.json")) == []


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "expected an object of parameters"),
        ({"batchsize": [1]}, "batchsize: expected a field of params.json, .*did you mean batch_size"),
        ({"model.": [1]}, "expected a field of params.json, or model. and an argument"),
        ({"epochs": []}, "epochs: expected a list of numbers"),
        ({"epochs": 3}, "epochs: expected a list of choices, or low and high, not 3"),
        ({"epochs": {"low": 1}}, "epochs: expected a list of choices, or low and high"),
        ({"epochs": {"low": 3, "high": 1}}, "low 3 is not below high 1"),
        ({"epochs": {"low": "a", "high": 1}}, "low, high and step are numbers"),
        ({"model.rate": {"low": 0, "high": 1, "log": True}}, "begins above 0"),
        ({"model.rate": {"low": 0.0, "high": float("inf")}}, "finite"),
        ({"epochs": {"low": 1, "high": 9, "step": 0}}, "step is above 0"),
        ({"epochs": {"low": 1, "high": 9, "step": 1.5}}, "step 1.5: expected a whole number"),
        ({"epochs": [[1]]}, "expected a list of numbers, texts"),
        (None, "space is None"),
        ("absent.json", "absent.json: No such file"),
        ([1], "space is of type list"),
    ],
)
def test_bad_spaces_are_told_before_anything_is_made(work: Path, space: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        sweep("out", space=space)
    assert not Path("out").exists()


def test_numbers_without_a_dot_are_numbers_in_yaml_too(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("model.rate: {low: 1e-5, high: 1E-1, log: true}\nmodel.penalty: [l2, 2e3, -1.5e+2, e1]\n")
    assert read_space(path) == {
        "model.rate": {"low": 1e-5, "high": 0.1, "log": True},
        "model.penalty": ["l2", 2000.0, -150.0, "e1"],
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "auc"}, "--metric auc: expected validation_loss or validation_auc"),
        ({"trials": 0}, "--trials 0: expected 1 or more"),
        ({"processes": 0}, "--processes 0: expected 1 or more"),
        ({"alias": "production"}, "--publish is missing"),
        ({"params": {"epoch": 1}}, "did you mean 'epochs'"),
        ({"name": "a/b"}, "--name"),
        ({"publish": "mysql://host/db"}, "mysql"),
        ({"dask": "tcp://127.0.0.1:1"}, "no scheduler with a worker answers"),
    ],
)
def test_bad_options_leave_no_folder(
    work: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(cluster, "CONNECTION_TIMEOUT", 1)
    with pytest.raises(MlaasError, match=message):
        sweep("out", **options)
    assert not Path("out").exists()


def test_only_the_folder_of_a_sweep_is_gone_on_with(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("other").mkdir()
    done = finish(str(MLAAS), "sweep", "--resume", "other")
    assert done.returncode == 2
    assert done.stderr == "mlaas: other is no folder of a sweep: No such file or directory\n"
    sweep("out")
    with pytest.raises(ParameterError, match="is there already"):
        sweep("out")
    Path("out/sweep.json").unlink()
    monkeypatch.chdir("other")
    with pytest.raises(ParameterError, match="the sweep was started in"):
        api.resume(Path("..", "out"), None)
    monkeypatch.chdir("..")
    Path("out").rename("renamed")
    with pytest.raises(ParameterError, match="the sweep was started as out: give it that name again"):
        api.resume("renamed", None)
