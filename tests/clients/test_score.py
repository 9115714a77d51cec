"""`tfaas-client score`: all events of ROOT files, in and out."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from numpy.typing import NDArray
from tfaas_client import Client

Run = Callable[..., subprocess.CompletedProcess[str]]
OneLine = Callable[[str], str]
Expected = Callable[..., NDArray[np.float32]]

EVENTS = 2500
DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def root_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with a flat and a jagged branch that the model takes, and others."""
    random = np.random.default_rng(4)
    path = tmp_path_factory.mktemp("root") / "events.root"
    jets = random.integers(0, 5, EVENTS)
    with uproot.recreate(path) as file:
        file["Events"] = {
            "met": random.normal(size=EVENTS),
            "jet_pt": ak.unflatten(random.normal(30, 10, jets.sum()), jets),
            "run": np.ones(EVENTS, np.int32),
        }
    return path


@pytest.fixture(scope="module")
def wanted(root_file: Path, expected: Expected) -> NDArray[np.float32]:
    events = uproot.open(root_file)["Events"].arrays(["met", "jet_pt"])
    return np.stack([expected(event["met"], *event["jet_pt"][:2]) for event in ak.to_list(events)])


def read_root(path: Path) -> Any:
    return uproot.open(path)["scores"]["probabilities"].array(library="np")


def read_npz(path: Path) -> Any:
    return np.load(path)["probabilities"]


def read_csv(path: Path) -> Any:
    assert path.read_text().startswith("probabilities_0,probabilities_1\n")
    return np.loadtxt(path, delimiter=",", skiprows=1)


def read_json_lines(path: Path) -> Any:
    return [json.loads(line)["probabilities"] for line in path.read_text().splitlines()]


READERS: dict[str, Callable[[Path], Any]] = {
    ".root": read_root,
    ".npz": read_npz,
    ".csv": read_csv,
    ".jsonl": read_json_lines,
}


@pytest.mark.parametrize("suffix", READERS)
def test_scores_are_written_in_the_order_of_the_events(
    tfaas_client: Run, model: str, root_file: Path, wanted: NDArray[np.float32], tmp_path: Path, suffix: str
) -> None:
    output = tmp_path / f"scores{suffix}"
    finished = tfaas_client("score", root_file, root_file, f"--model={model}", "--step=999", f"--output={output}")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.startswith(f"5,000 events of 2 file(s) scored by {model}:1 in ")
    np.testing.assert_allclose(READERS[suffix](output), np.concatenate([wanted, wanted]), atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


def test_without_a_file_the_scores_are_lines(
    tfaas_client: Run, model: str, root_file: Path, wanted: NDArray[np.float32]
) -> None:
    head, *lines = tfaas_client("score", root_file, f"--model={model}").stdout.splitlines()
    assert head == "probabilities_0\tprobabilities_1"
    np.testing.assert_allclose([list(map(float, line.split("\t"))) for line in lines], wanted, atol=1e-6)
    lines = tfaas_client("score", root_file, f"--model={model}", "--json").stdout.splitlines()
    np.testing.assert_allclose([json.loads(line)["probabilities"] for line in lines], wanted, atol=1e-6)


def test_machines_are_told_what_was_done(tfaas_client: Run, model: str, root_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores.npz"
    told = json.loads(tfaas_client("score", root_file, f"--model={model}", f"--output={output}", "--json").stdout)
    assert told.pop("seconds") > 0
    assert told == {"model": f"{model}:1", "events": EVENTS, "output": str(output)}


def test_a_file_without_events_has_scores_of_the_same_form(tfaas_client: Run, model: str, tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "empty.root") as file:
        file["Events"] = {"met": np.zeros(0), "jet_pt": ak.unflatten(np.zeros(0), np.zeros(0, int))}
    output = tmp_path / "scores.root"
    finished = tfaas_client("score", tmp_path / "empty.root", f"--model={model}", f"--output={output}")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert read_root(output).shape == (0, 2)


def test_what_the_user_can_mend_leaves_no_file(
    tfaas_client: Run, one_line: OneLine, client: Client, model: str, root_file: Path, model_files: Path, tmp_path: Path
) -> None:
    content = root_file.read_bytes()
    (tmp_path / "broken.root").write_bytes(b"root" + bytes(1000))
    (tmp_path / "cut.root").write_bytes(content[: len(content) // 2])
    (tmp_path / "wrong.root").write_bytes(content[:400] + bytes(5000) + content[5400:])
    with uproot.recreate(tmp_path / "two.root") as file:
        file["one"] = {"met": np.zeros(3)}
        file["two"] = {"met": np.zeros(3)}
    client.upload("nameless", model_files / "model.onnx")
    output = tmp_path / "scores.root"
    for arguments, problem in {
        ("absent.root",): "absent.root",
        (tmp_path / "broken.root",): "broken.root",
        (tmp_path / "cut.root",): "cut.root",
        (tmp_path / "wrong.root",): "wrong.root",
        (tmp_path / "two.root",): "holds one, two",
        (tmp_path / "two.root", "--tree=three"): "no tree 'three'",
        (tmp_path / "two.root", "--tree=one"): "no branch 'jet_pt'",
        (root_file, tmp_path / "two.root"): "holds one, two",
        (root_file, "--model=absent"): "absent",
        (root_file, "--model=nameless"): "declares no features",
        (root_file, "--outputs=score"): "no output 'score'",
        (root_file, f"--output={tmp_path}/scores.txt"): ".root, .npz, .csv, .jsonl",
        (root_file, f"--output={tmp_path}/absent/scores.root"): "absent",
    }.items():
        refused = tfaas_client("score", f"--model={model}", f"--output={output}", *arguments)
        assert refused.returncode == 2
        assert problem in one_line(refused.stderr)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.root", "cut.root", "two.root", "wrong.root"]


@pytest.mark.skipif(not DATA.exists(), reason=f"{DATA} is absent")
@pytest.mark.parametrize(
    ("name", "branches", "events"),
    [
        ("nanoAOD_2015_CMS_Open_Data_ttbar.root", ("MET_pt", "Jet_pt"), 200),
        ("heptut_ww.root", ("MET_px", "Jet_Px"), 4580),
        ("Run2012BC_DoubleMuParked_Muons_rntuple.root", ("nMuon", "Muon_eta"), 1000),
    ],
)
def test_real_files_are_scored(
    tfaas_client: Run,
    client: Client,
    model_files: Path,
    unique_name: str,
    expected: Expected,
    name: str,
    branches: tuple[str, str],
    events: int,
    tmp_path: Path,
) -> None:
    flat, jagged = branches
    features = [{"name": flat, "kind": "flat"}, {"name": jagged, "kind": "jagged", "dim": 2}]
    client.upload(unique_name, model_files / "model.onnx", {"features": features, "missing": True})
    output = tmp_path / "scores.npz"
    finished = tfaas_client("score", DATA / name, f"--model={unique_name}", f"--output={output}", "--step=77")
    assert (finished.returncode, finished.stderr) == (0, "")
    tree = uproot.open(DATA / name)[{"heptut_ww.root": "events"}.get(name, "Events")]
    array = tree.arrays(filter_name=list(branches))
    wanted = [expected(event[flat], *event[jagged][:2]) for event in ak.to_list(array)]
    assert len(wanted) == events
    np.testing.assert_allclose(read_npz(output), wanted, atol=1e-6)
