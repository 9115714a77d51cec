"""Every example of the Python client's pages runs, in the order of the page, against a server of its own."""

import importlib
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import cloudpickle
import numpy as np
import onnx
import pytest
import uproot
from PIL import Image
from tfaas_client import Client

from tests.clients.test_command_line import brightness_model
from tests.servers import Server, running_server

Run = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[2]
PAGES = {
    name: ROOT / path
    for name, path in {
        "readme": "clients/python/README.md",
        "python": "docs/clients-python.md",
        "coffea": "docs/coffea.md",
        "shell": "docs/shell.md",
    }.items()
}
EVENTS = 1200


def blocks(page: str, language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGES[page].read_text(), re.DOTALL | re.MULTILINE)
    assert found
    return found


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path / "server" / "data") as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path, model_files: Path, own_server: Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the pages suppose: files in the working folder, and two models on the server."""
    folder = tmp_path / "work"
    shutil.copytree(model_files, folder / "signal")
    random = np.random.default_rng(5)
    jets = random.integers(0, 4, EVENTS)
    with uproot.recreate(folder / "events.root") as file:
        file["Events"] = {"met": random.normal(size=EVENTS), "jet_pt": ak.unflatten(np.full(jets.sum(), 30.0), jets)}
    Image.new("RGB", (4, 4), (255, 255, 255)).save(folder / "picture.png")
    onnx.save(brightness_model(), folder / "pictures.onnx")
    (folder / "upload.json").write_text(json.dumps({"name": "mine", "model": "signal/model.onnx"}))
    (folder / "input.json").write_text('{"keys": ["met", "jet_pt"], "values": [41.5, [80.2]], "model": "signal"}')
    (folder / "params.json").write_text('{"missing": true}')
    with Client(own_server.url) as client:
        client.upload_bundle(folder / "signal")
        client.upload("pictures", folder / "pictures.onnx")
    monkeypatch.chdir(folder)
    return folder


def test_the_python_examples_run(folder: Path, own_server: Server, closed_url: str) -> None:
    names: dict[str, Any] = {}
    for block in blocks("python", "python"):
        code = block.replace("http://localhost:8083", own_server.url).replace("http://localhost:8084", closed_url)
        exec(compile(code, str(PAGES["python"]), "exec"), names)
    names["patient"].close()
    assert {name: values.shape for name, values in names["scores"].items()} == {"probabilities": (3, 2)}
    for scores in names["same"]:
        np.testing.assert_array_equal(scores["probabilities"], names["scores"]["probabilities"][:2])
    assert names["probabilities"].shape == (2,)
    assert names["second"]["probabilities"].shape == (25_000, 2)


def test_the_readme_examples_run(folder: Path, own_server: Server, run: Run) -> None:
    for block in blocks("readme", "python"):
        exec(compile(block.replace("http://localhost:8083", own_server.url), str(PAGES["readme"]), "exec"), {})
    for block in blocks("readme", "sh"):
        _succeed(run, block, own_server)


@pytest.mark.parametrize("script", ["run.py", "run_coffea.py", "run_dask.py"])
def test_the_processor_runs_in_threads_and_processes(folder: Path, own_server: Server, run: Run, script: str) -> None:
    for block in blocks("coffea", "python"):
        name = re.match(r"# (\w+\.py)\n", block)
        assert name
        (folder / name[1]).write_text(block)
    finished = run(sys.executable, script, own_server.url)
    assert finished.returncode == 0, finished.stderr
    counts = re.search(r"'counts': array\(\[(.*?)\]", finished.stdout)
    selected = re.search(r"'selected': (?:np\.int64\()?(\d+)", finished.stdout)
    assert f"'events': {EVENTS}" in finished.stdout
    assert counts
    assert selected
    assert 0 < sum(map(int, counts[1].split(","))) == int(selected[1]) < EVENTS


@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
def test_the_processor_is_pickled(
    folder: Path, own_server: Server, monkeypatch: pytest.MonkeyPatch, pickler: Any
) -> None:
    (folder / "signal_processor.py").write_text(blocks("coffea", "python")[0])
    monkeypatch.syspath_prepend(folder)
    module = importlib.import_module("signal_processor")
    cloudpickle.register_pickle_by_value(module)
    processor = module.SignalProcessor(own_server.url, "signal")
    pickled = pickler.dumps(processor)
    events = uproot.open("events.root")["Events"].arrays()
    copied, wanted = pickler.loads(pickled).process(events), processor.process(events)
    np.testing.assert_array_equal(copied.pop("counts"), wanted.pop("counts"))
    assert copied == wanted
    assert processor.process(events[:0])["selected"] == 0
    del sys.modules["signal_processor"]


def test_the_shell_examples_run(folder: Path, own_server: Server, run: Run) -> None:
    outputs = [_succeed(run, block, own_server) for block in blocks("shell", "sh")]
    assert re.search(r"^signal +0\.\d+\nbackground +0\.\d+$", outputs[1], re.MULTILINE)
    assert (folder / "scores.root").exists()
    assert len(np.load("scores.npz")["probabilities"]) == 2 * EVENTS
    assert "complete -o default" in outputs[4]


def _succeed(run: Run, block: str, server: Server) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "TFAAS_URL": server.url}
    finished = run("bash", "-e", "-c", block.replace("http://localhost:8083", server.url), env=environment)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout
