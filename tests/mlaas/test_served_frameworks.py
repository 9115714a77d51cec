"""One command from files to a served model, for every framework; the framework itself, alone, gives the answers."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uproot

from mlaas.demo.sample import write_sample
from tests.servers import Server, running_server

MLAAS = Path(sys.executable).with_name("mlaas")
DATA = Path(__file__).parents[3] / "shared" / "data"
EVENTS = 100

TORCH = """
import torch
from torch import nn

class Network(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(width, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1))
        self.last = nn.Linear(32, 1)

    def forward(self, x):
        return self.last(self.hidden(x))

def model(features):
    network = Network(sum(feature.dimension for feature in features))
    network.loss = nn.BCEWithLogitsLoss()
    network.optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    return network
"""
STREAMING = """
from sklearn.linear_model import SGDClassifier

def model(idim):
    return SGDClassifier(loss="log_loss", alpha=1e-3)
"""
FOREST = """
from sklearn.ensemble import RandomForestClassifier

def model(idim):
    return RandomForestClassifier(n_estimators=30, max_depth=8)
"""
HISTOGRAMS = """
from sklearn.ensemble import HistGradientBoostingClassifier

def model(idim):
    return HistGradientBoostingClassifier(max_iter=60, early_stopping=True)
"""
XGBOOST = """
from xgboost import XGBClassifier

def model(idim):
    return XGBClassifier(n_estimators=60, max_depth=4, learning_rate=0.1, early_stopping_rounds=10)
"""
BOOSTER = """
import xgboost

def model(idim):
    booster = xgboost.Booster({"objective": "binary:logistic", "max_depth": 4, "eta": 0.1})
    booster.set_attr(num_boost_round="60")
    return booster
"""
LIGHTGBM = """
from lightgbm import LGBMClassifier

def model(idim):
    return LGBMClassifier(n_estimators=60, learning_rate=0.1, early_stopping_round=10)
"""

Predict = Callable[[np.ndarray], np.ndarray]


def _torch(path: Path) -> Predict:
    import_module("mlaas.trainers.torch").leave_triton_out()
    torch = import_module("torch")
    network = torch.export.load(path).module()
    return lambda x: network(torch.from_numpy(x))[:, 0].detach().numpy()


def _sklearn(path: Path) -> Predict:
    joblib = import_module("joblib")
    estimator = joblib.load(path)
    return lambda x: estimator.predict_proba(x)[:, 1]


def _xgboost(path: Path) -> Predict:
    xgboost = import_module("xgboost")
    booster = xgboost.Booster(model_file=path)
    return lambda x: booster.predict(xgboost.DMatrix(x))


def _lightgbm(path: Path) -> Predict:
    lightgbm = import_module("lightgbm")
    return lightgbm.Booster(model_file=path).predict  # type: ignore[no-any-return]


CASES: dict[str, tuple[str, str, Callable[[Path], Predict]]] = {
    "torch": (TORCH, ".pt2", _torch),
    "sklearn_streaming": (STREAMING, ".joblib", _sklearn),
    "sklearn_forest": (FOREST, ".joblib", _sklearn),
    "sklearn_histograms": (HISTOGRAMS, ".joblib", _sklearn),
    "xgboost_estimator": (XGBOOST, ".ubj", _xgboost),
    "xgboost_booster": (BOOSTER, ".ubj", _xgboost),
    "lightgbm": (LIGHTGBM, ".txt", _lightgbm),
}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frameworks")
    for seed, name in enumerate(("signal", "background")):
        write_sample(folder / f"{name}.root", 1500, name == "signal", seed)
    write_params(folder / "params.json")
    return folder


@pytest.fixture(scope="module")
def registry(work: Path) -> str:
    return f"sqlite:///{work}/registry.db"


@pytest.fixture(scope="module")
def server(work: Path, registry: str) -> Iterator[Server]:
    with running_server(work / "data", "--database", registry) as server:
        yield server


def write_params(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({"branch": "Events", "epochs": 3, "exclude_branches": ["run", "event"]} | changes))


def train(folder: Path, model: str, *options: str, **defaults: str) -> subprocess.CompletedProcess[str]:
    """`mlaas train` with a model file of this text."""
    (folder / "net.py").write_text(model)
    given = {"files": "signal.root,background.root", "labels": "1,0", "params": "params.json"} | defaults
    arguments = [part for name, value in given.items() for part in (f"--{name}", value)]
    return subprocess.run(
        [MLAAS, "train", "--model", "net.py", *arguments, *options],
        cwd=folder, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def raw_events(path: Path, tree: str, features: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Events as they are in a file, by name of the feature."""
    with uproot.open(path) as file:
        names = [feature["name"] for feature in features]
        arrays = file[tree].arrays(names, entry_stop=EVENTS // 2)
    return [{name: np.float32(value).tolist() for name, value in event.items()} for event in arrays.to_list()]


def preprocessed(events: list[dict[str, Any]], features: list[dict[str, Any]], fill: float) -> np.ndarray:
    """What the manifest says to do with raw values, done here."""
    columns = []
    for feature in features:
        values = [np.atleast_1d(event[feature["name"]])[: feature["dim"]] for event in events]
        padded = [np.pad(one, (0, feature["dim"] - len(one)), constant_values=np.nan) for one in values]
        scaled = (np.array(padded, np.float32) - np.float32(feature["shift"])) * np.float32(feature["scale"])
        columns.append(np.where(np.isfinite(scaled), scaled, np.float32(fill)))
    return np.concatenate(columns, axis=1)


def without_nan(event: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no NaN."""
    return {name: None if value != value else value for name, value in event.items()}


def check_answers(server: Server, name: str, files: list[Path], tree: str, framework: Predict) -> None:
    """Compare what a server says to raw events by name with what the framework says to the preprocessed ones."""
    manifest = httpx.get(f"{server.url}/params/{name}").json()
    features = manifest["features"]
    events = [event for file in files for event in raw_events(file, tree, features)]
    assert len(events) == EVENTS
    expected = framework(preprocessed(events, features, manifest["preprocessing"]["fill"]))
    assert expected.std() > 0.05
    for event, answer in zip(events, expected, strict=True):
        row = without_nan(event)
        body = {"keys": list(row)[::-1], "values": list(row.values())[::-1], "model": name}
        assert httpx.post(f"{server.url}/json", json=body).json() == pytest.approx([answer], abs=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_the_server_answers_raw_events_as_the_framework_does(
    work: Path, registry: str, server: Server, case: str
) -> None:
    model, suffix, load = CASES[case]
    native = work / f"{case}{suffix}"
    done = train(work, model, "--name", case, "--publish", registry, "--fout", str(native), "--summary", "s.json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads((work / "s.json").read_text())["test_auc"] > 0.65
    check_answers(server, case, [work / "signal.root", work / "background.root"], "Events", load(native))


@pytest.mark.skipif(not DATA.is_dir(), reason="the real files in ../shared/data are not here")
@pytest.mark.parametrize("case", ["torch", "sklearn_streaming", "sklearn_forest", "xgboost_estimator", "lightgbm"])
def test_real_single_top_against_ww(work: Path, registry: str, server: Server, case: str) -> None:
    model, suffix, load = CASES[case]
    native = work / f"real_{case}{suffix}"
    files = [DATA / "heptut_single_top.root", DATA / "heptut_ww.root"]
    write_params(work / "real.json", branch="events", epochs=8, exclude_branches=["EventWeight", "MC*"])
    done = train(
        work, model, "--name", f"real_{case}", "--publish", registry, "--fout", str(native), "--summary", "s.json",
        files=",".join(map(str, files)), params="real.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((work / "s.json").read_text())["test_auc"] > 0.87
    check_answers(server, f"real_{case}", files, "events", load(native))


@pytest.mark.skipif(not DATA.is_dir(), reason="the real files in ../shared/data are not here")
def test_a_boosted_tree_on_derived_branches_of_single_top_and_ww_reaches_090(work: Path) -> None:
    jets, muons = "sum(sqrt(Jet_Px**2 + Jet_Py**2))", "sum(sqrt(Muon_Px**2 + Muon_Py**2))"
    met = "sqrt(MET_px**2 + MET_py**2)"
    definitions = {
        "HT": jets,
        "MET": met,
        "MT": f"sqrt(abs(({muons} + {met})**2 - (sum(Muon_Px) + MET_px)**2 - (sum(Muon_Py) + MET_py)**2))",
        "btags": "sum(where(Jet_btag > 1.5, 1, 0))",
    }
    new = {
        name: {"def": text, "type": "flat", "remove": "False", "keys_to_remove": []}
        for name, text in definitions.items()
    }
    new["Jet_angle"] = {"def": "abs(Jet_Pz) / Jet_E", "type": "jagged", "remove": "False", "keys_to_remove": []}
    (work / "preproc.json").write_text(json.dumps({"new_branch": new}))
    write_params(work / "real.json", branch="events", exclude_branches=["EventWeight", "MC*"])
    model = XGBOOST.replace("n_estimators=60", "n_estimators=200")
    done = train(
        work, model, "--preproc", "preproc.json", "--summary", "s.json",
        files=f"{DATA}/heptut_single_top.root,{DATA}/heptut_ww.root", params="real.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((work / "s.json").read_text())["test_auc"] >= 0.90
