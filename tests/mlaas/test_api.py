"""The functions of `mlaas.api`, as notebooks and scripts call them."""

import json
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import start_new_kernel

from mlaas import api, crossvalidation, workflow
from mlaas.demo.sample import write_sample
from mlaas.errors import MlaasError, ParameterError
from tests.mlaas.test_sweep import MODEL, SLOW

PARAMS = {"branch": "Events", "epochs": 3, "exclude_branches": ["run", "event"]}
FILES = ["signal.root", "background.root"]
PAGE = Path(__file__).parents[2] / "docs" / "python.md"
WAIT_SECONDS = 120


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with two samples and a model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for seed, name in enumerate(FILES):
        write_sample(tmp_path / name, 600, name == "signal.root", seed)
    Path("net.py").write_text(MODEL)
    return tmp_path


@pytest.fixture
def without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its figures take most of the time of a training."""
    monkeypatch.setattr(workflow, "report_training", lambda *arguments: None)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """`train` returns what the workflow is asked for."""
    monkeypatch.setattr(crossvalidation, "train_and_publish", lambda options, tell, command: {"options": options})


def train(**changes: Any) -> dict[str, Any]:
    return api.train(
        **({"files": FILES, "labels": [1, 0], "model": "net.py", "params": PARAMS, "tell": None} | changes)
    )


def test_from_events_to_scores(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(api.inspect(Path("signal.root"), branches="met, jet_*").branches) == [
        "met", "jet_pt", "jet_eta", "jet_phi", "jet_btag",
    ]  # fmt: skip
    params = {
        **PARAMS,
        "epochs": np.int64(3),
        "exclude_branches": ("run", "event"),
        "model": {"rate": np.float32(0.05)},
    }
    api.prepare([Path(name) for name in FILES], np.array([1, 0]), Path("prepared"), params=params, tell=None)
    done = train(files=Path("prepared"), labels=None, params=params, run=Path("run"), fout=Path("net.tar.gz"))
    assert done["events"] == 1200
    assert done["test_auc"] > 0.6
    assert json.loads(Path("run/summary.json").read_text()) == done
    command = json.loads(Path("run/report.json").read_text())["command"]
    assert command.startswith("mlaas.api.train(files='prepared', model='net.py', params={")
    scored = api.score(Path("net.tar.gz"), FILES, Path("scores.root"), identifier=["event"], tell=None)
    assert scored.outputs == {Path("scores.root"): 1200}
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    "files",
    [
        "a.root,b.root",
        ["a.root", Path("b.root")],
        (name for name in ("a.root", "b.root")),
        np.array(["a.root", "b.root"]),
        {"a.root": 1, "b.root": 0},
    ],
)
def test_files_in_any_form(files: Any) -> None:
    assert train(files=files)["options"].files == "a.root,b.root"


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([1, 0], "1,0"),
        (np.array([1, 0]), "1,0"),
        ((np.int8(1), np.uint64(0)), "1,0"),
        ([True, False], "1,0"),
        ([0.5, np.float32(2)], "0.5,2.0"),
        ("truth", "truth"),
        ("1,0", "1,0"),
        (1, "1"),
        (np.array(1), "1"),
        (None, None),
    ],
)
def test_labels_in_any_form(labels: Any, expected: str | None) -> None:
    assert train(labels=labels)["options"].labels == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": lambda idim: None}, "model is of type function: expected the path of a Python file"),
        ({"model": None}, "model is of type NoneType"),
        ({"files": None}, "files is None: expected a path, or a list of them"),
        ({"files": []}, "names no file"),
        ({"files": [""]}, "files has an empty name"),
        ({"files": [3]}, "file 3 is of type int"),
        ({"files": ["a,b.root"]}, "has a comma in its name"),
        ({"files": [Path("root://host//f.root")]}, "expected a URL as text"),
        ({"labels": None}, "--labels is missing"),
        ({"labels": [1]}, "1 labels are given for 2 files"),
        ({"labels": [None, 0]}, "label 'None' of signal.root is not a number"),
        ({"params": [1]}, "params is of type list: expected a path, or a dictionary"),
        ({"params": {"epoch": 1}}, "params: unknown field 'epoch': did you mean 'epochs'"),
        ({"params": {"epochs": "many"}}, "params: epochs: .*not \"many\""),
        ({"params": {"epochs": object()}}, "is of type object; expected what JSON has"),
        ({"params": {**PARAMS, "model": {"rat": 1}}}, "model() takes no argument 'rat' besides its first"),
        ({"params": "absent.json"}, "absent.json: No such file"),
        ({"preproc": {"cut": ["met > 3"]}}, "unknown key 'cut'; did you mean cuts"),
        ({"seed": "a"}, "seed 'a': expected a whole number"),
        ({"seed": -1}, "seed -1: expected 0 to 4294967295"),
        ({"publish": Path("r.db")}, "expected a text such as sqlite:///r.db"),
        ({"publish": "r.db"}, "expected sqlite:///FILE"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("without_report")
def test_what_can_be_mended_is_told_in_one_line(work: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MlaasError) as raised:
        train(**options)
    told = str(raised.value)
    assert "\n" not in told
    assert message.partition(".*")[0] in told
    assert message.rpartition(".*")[2] in told
    assert not Path("mlaas-runs").exists()


def test_events_are_not_prepared_without_labels(work: Path) -> None:
    with pytest.raises(ParameterError, match="labels is None"):
        api.prepare(FILES, None, "prepared", params=PARAMS)  # type: ignore[arg-type]


@pytest.mark.usefixtures("without_report")
def test_a_second_training_in_a_process_sees_nothing_of_the_first(work: Path) -> None:
    first = train()["test_loss"]
    assert train()["test_loss"] == first
    # What the model file and a module beside it say now counts.
    Path("net.py").write_text("from settings import RATE\n" + MODEL.replace("rate=0.05", "rate=RATE"))
    Path("settings.py").write_text("RATE = 1e-30\n")
    assert train()["test_auc"] == 0.5
    Path("settings.py").write_text("RATE = 0.0500\n")
    assert train()["test_loss"] == first
    # A module of the same name beside another model is another one.
    Path("other").mkdir()
    Path("other/net.py").write_text(Path("net.py").read_text())
    Path("other/settings.py").write_text("RATE = 1e-30\n")
    assert train(model="other/net.py")["test_auc"] == 0.5
    assert train()["test_loss"] == first


@pytest.mark.usefixtures("without_report")
def test_folds_become_one_model(work: Path) -> None:
    done = train(params={**PARAMS, "event_number": "event"}, folds=2, run="folds")
    assert [fold["events_by_part"]["test"] for fold in done["folds"]] == [600, 600]
    assert Path("folds/net.tar.gz").is_file()


@pytest.mark.usefixtures("without_report")
def test_a_training_runs_in_a_thread(work: Path) -> None:
    found: list[float] = []
    thread = threading.Thread(target=lambda: found.append(train(run="thread")["test_loss"]))
    thread.start()
    thread.join()
    assert found == [train()["test_loss"]]


class Kernel:
    """A Jupyter kernel at work in the working folder."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self._client = client

    def start(self, code: str) -> str:
        """Begin to run a cell: what its answer is known by."""
        return str(self._client.execute(code))

    def reply(self, message: str) -> dict[str, Any]:
        while True:
            answer = self._client.get_shell_msg(timeout=WAIT_SECONDS)
            if answer["parent_header"].get("msg_id") == message:
                return dict(answer["content"])

    def run(self, code: str) -> dict[str, Any]:
        return self.reply(self.start(code))

    def value(self, expression: str) -> str:
        """The text of an expression's value."""
        content = self._client.execute("", user_expressions={"value": expression}, reply=True, timeout=WAIT_SECONDS)
        return str(content["content"]["user_expressions"]["value"]["data"]["text/plain"])


def test_an_interrupted_kernel_saves_and_goes_on(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(work / "jupyter"))
    Path("slow.py").write_text(SLOW + MODEL)
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        kernel = Kernel(client)
        options = f"{FILES}, [1, 0], 'slow.py', params={PARAMS | {'epochs': 5}}, tell=None"
        assert kernel.run("from mlaas import api, workflow")["status"] == "ok"
        kernel.run("workflow.report_training = lambda *arguments: None")

        refused = kernel.run(f"api.train({options.replace('epochs', 'epoch')})")
        assert refused["traceback"] == ["ParameterError: params: unknown field 'epoch': did you mean 'epochs'?"]

        training = kernel.start(f"api.train({options}, run='run')")
        deadline = time.monotonic() + WAIT_SECONDS
        while not Path("run/checkpoint").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        manager.interrupt_kernel()
        stopped = kernel.reply(training)
        assert stopped["ename"] == "Interrupted"
        (line,) = stopped["traceback"]
        assert "to go on: mlaas train --resume run" in line
        assert Path("run/checkpoint").exists()
        assert not Path("run/summary.json").exists()

        assert kernel.run("resumed = api.resume('run', tell=None)")["status"] == "ok"
        assert kernel.run(f"alone = api.train({options}, run='alone')")["status"] == "ok"
        assert kernel.value("resumed['test_loss'] == alone['test_loss']") == "True"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.mark.usefixtures("without_report")
def test_every_function_has_an_example_that_runs(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, *examples = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert model.startswith("# net.py\n")
    Path("net.py").write_text(model)
    names: dict[str, Any] = {}
    for example in examples:
        exec(compile(example, str(PAGE), "exec"), names)
    for function in api.__all__:
        assert any(f"api.{function}(" in example for example in examples), function
        assert f"\n## {function}\n" in PAGE.read_text()
    assert names["done"]["version"] == 1
    assert names["done"]["alias"] == "production"
    summary = PAGE.read_text().partition("The summary is")[2].partition("[training.md]")[0]
    fields = set(re.findall(r"`(\w+)`", summary))
    assert {"test_auc", "version"} <= fields <= names["done"].keys()
    assert names["slower"]["test_loss"] != names["done"]["test_loss"]
    assert len(names["swept"]["trials"]) == 3
    assert names["swept"]["version"] == 2
    assert names["scored"].outputs == {Path("scores.root"): 600}
    told = capsys.readouterr().out
    for line in re.findall(r"print\(error\)  # (.*)", PAGE.read_text()):
        assert f"{line}\n" in told
