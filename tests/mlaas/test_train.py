"""`mlaas train` from files to a served model, as a user runs it."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from mlaas.demo.sample import write_sample
from tests.mlaas.conftest import XRootD
from tests.servers import Server, running_server

MLAAS = Path(sys.executable).with_name("mlaas")
DATA = Path(__file__).parents[3] / "shared" / "data"
MODEL = """
import keras

def model(idim):
    network = keras.Sequential([
        keras.layers.Input((idim,)),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dense(1, activation="sigmoid"),
    ])
    network.compile(optimizer="adam", loss="binary_crossentropy")
    return network
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two samples, a model and parameters."""
    folder = tmp_path_factory.mktemp("train")
    for seed, name in enumerate(("signal", "background")):
        write_sample(folder / f"{name}.root", 1500, name == "signal", seed)
    (folder / "net.py").write_text(MODEL)
    write_params(folder / "params.json")
    return folder


def write_params(path: Path, **changes: Any) -> None:
    params = {"branch": "Events", "epochs": 3, "chunk_size": 1000, "exclude_branches": ["run", "event"]}
    path.write_text(json.dumps(params | changes))


def mlaas(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`mlaas train` with the options that every training needs where they are not given."""
    defaults = {
        "--files": "signal.root,background.root",
        "--labels": "1,0",
        "--model": "net.py",
        "--params": "params.json",
    }
    given = dict(zip(options[::2], options[1::2], strict=True))
    arguments = [part for pair in (defaults | given).items() for part in pair if pair[1] != "unset"]
    return subprocess.run(
        [MLAAS, "train", *arguments], cwd=folder, capture_output=True, text=True, timeout=240, check=False
    )


def member(bundle: Path, name: str) -> Any:
    with tarfile.open(bundle) as archive:
        file = archive.extractfile(name)
        assert file is not None
        return json.load(file)


def events_by_name(bundle: Path, name: str, number: int) -> list[tuple[dict[str, Any], float]]:
    """Raw events of a bundle by feature name, with the training process's answers."""
    features = member(bundle, f"{name}/params.json")["features"]
    reference = member(bundle, f"{name}/reference.json")
    rows = []
    for values, (answer,) in list(zip(reference["inputs"], reference["outputs"], strict=True))[:number]:
        row, start = {}, 0
        for feature in features:
            numbers = values[start : start + feature["dim"]]
            jagged = feature["kind"] == "jagged"
            row[feature["name"]] = [n for n in numbers if n is not None] if jagged else numbers[0]
            start += feature["dim"]
        rows.append((row, answer))
    return rows


def test_from_files_to_predictions_by_branch_name_through_a_server(work: Path, server: Server) -> None:
    done = mlaas(
        work,
        "--name",
        "served",
        "--publish",
        server.url,
        "--fout",
        "served.tar.gz",
        "--summary",
        "s.json",
        "--seed",
        "3",
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads((work / "s.json").read_text())
    assert summary["model"] == "served"
    assert summary["version"] == 1
    assert summary["events"] == 3000
    assert "jet_pt" in summary["features"]
    assert not {"run", "event"} & set(summary["features"])
    assert summary["test_auc"] > 0.6
    assert summary["seconds"] > 0
    assert f"AUC {summary['test_auc']:.4f}" in done.stdout
    for row, answer in events_by_name(work / "served.tar.gz", "served", 40):
        # The names in another order than the model's, raw values, collections of any length.
        body = {"keys": list(row)[::-1], "values": list(row.values())[::-1], "model": "served"}
        assert httpx.post(f"{server.url}/json", json=body).json() == pytest.approx([answer], abs=1e-5)
    (row,) = (row for row in httpx.get(f"{server.url}/models").json() if row["name"] == "served")
    assert row["metrics"]["test_auc"] == pytest.approx(summary["test_auc"])
    params = httpx.get(f"{server.url}/params/served").json()
    assert [file["entries"] for file in params["lineage"]["files"]] == [1500, 1500]


def test_the_same_seed_gives_the_same_result_locally_and_through_xrootd(work: Path, xrootd: XRootD) -> None:
    remote = []
    for name in ("signal", "background"):
        target = xrootd.root / f"train-{name}.root"
        target.write_bytes((work / f"{name}.root").read_bytes())
        target.chmod(0o644)
        remote.append(xrootd.url(target))
    # The split follows the files' names, so the local run reads the same names.
    local = ",".join(str(xrootd.root / f"train-{name}.root") for name in ("signal", "background"))
    summaries = []
    for files in (local, ",".join(remote)):
        done = mlaas(
            work, "--files", files, "--summary", "x.json", "--seed", "5", "--publish", f"sqlite:///{work}/x.db"
        )
        assert done.returncode == 0, done.stderr
        summaries.append(json.loads((work / "x.json").read_text()))
    for summary in summaries:
        del summary["seconds"], summary["version"], summary["cutflow_by_file"], summary["run"]
        for epoch in (*summary["epochs"], summary["best_epoch"]):
            del epoch["events_per_second"]
    assert summaries[0] == summaries[1]


@pytest.mark.skipif(not DATA.is_dir(), reason="the real files in ../shared/data are not here")
def test_real_single_top_against_ww(work: Path, tmp_path: Path) -> None:
    write_params(tmp_path / "p.json", branch="events", epochs=15, exclude_branches=["EventWeight", "MC*"])
    files = f"{DATA}/heptut_single_top.root,{DATA}/heptut_ww.root"
    done = mlaas(work, "--files", files, "--params", str(tmp_path / "p.json"), "--summary", str(tmp_path / "s.json"))
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["test_auc"] >= 0.88
    assert summary["events_by_part"]["test"] > 1900
    assert not [name for name in summary["features"] if name.startswith("MC") or name == "EventWeight"]


def test_preproc_specs_and_file_lists(work: Path, tmp_path: Path) -> None:
    (tmp_path / "files.txt").write_text(f"# samples\n{work}/signal.root\n\n{work}/background.root\n")
    (tmp_path / "labels.txt").write_text("1\n0\n")
    preproc = {
        "new_branch": {"log_ht": {"def": "log(ht + 1)", "type": "flat", "remove": "False", "keys_to_remove": ["ht"]}},
        "flat_cut": {"nlepton": {"cut": "nlepton == 2", "remove": "True"}},
        "jagged_cut": {"lepton_pt": {"cut": ["lepton_pt > 15", "all"], "remove": "False"}},
    }
    (tmp_path / "preproc.json").write_text(json.dumps(preproc))
    options = (
        *("--files", str(tmp_path / "files.txt"), "--labels", str(tmp_path / "labels.txt")),
        *("--preproc", str(tmp_path / "preproc.json"), "--specs", str(tmp_path / "specs.json")),
        *("--summary", str(tmp_path / "s.json")),
    )
    assert mlaas(work, *options).returncode == 0
    summary = json.loads((tmp_path / "s.json").read_text())
    assert "log_ht" in summary["features"]
    assert not {"ht", "nlepton"} & set(summary["features"])
    assert 3000 > summary["cutflow"]["nlepton == 2"] > summary["events"] > 500
    first = (tmp_path / "specs.json").read_text()
    assert mlaas(work, *options).returncode == 0  # the same data: the specs are used again
    assert (tmp_path / "specs.json").read_text() == first
    stale = mlaas(work, "--specs", str(tmp_path / "specs.json"))
    assert stale.returncode == 2
    assert "specs.json" in stale.stderr
    assert stale.stderr.count("\n") == 1


BAD = {
    "no such file": (("--files", "nope.root,background.root"), "nope.root"),
    "empty file": (("--files", "empty.root,background.root"), "empty.root"),
    "truncated file": (("--files", "truncated.root,background.root"), "truncated.root"),
    "no ROOT file": (("--files", "net.py,background.root"), "net.py"),
    "fewer labels than files": (("--labels", "1"), "1 labels are given for 2 files"),
    "more labels than files": (("--labels", "1,0,1"), "3 labels are given for 2 files"),
    "equal labels": (("--labels", "1,1"), "expected at least two different labels"),
    "label branch that is not there": (("--labels", "truth"), "truth"),
    "same file twice": (("--files", "signal.root,signal.root"), "signal.root"),
    "no model file": (("--model", "nope.py"), "model file nope.py: No such file or directory"),
    "syntax error": (("--model", "syntax.py"), "model file syntax.py, line 1"),
    "no model function": (("--model", "empty.py"), "defines no function model(idim)"),
    "model raises": (("--model", "raises.py"), "raises.py, line 3: RuntimeError: no luck"),
    "old spelling": (("--model", "lr.py"), "Keras 3 spells it learning_rate"),
    "not compiled": (("--model", "uncompiled.py"), "not compiled"),
    "other framework": (("--model", "other.py"), "expected a compiled model of keras"),
    "wrong width": (("--model", "width.py"), "does not take the"),
    "no such parameters": (("--params", "nope.json"), "nope.json: No such file or directory"),
    "parameters that are no JSON": (("--params", "net.py"), "net.py is not JSON"),
    "unknown parameter": (("--params", "unknown.json"), "did you mean 'epochs'?"),
    "wrong type": (("--params", "type.json"), "type.json: epochs: Input should be a valid integer"),
    "unknown tree": (("--params", "tree.json"), "Events"),
    "unknown branch": (("--params", "branch.json"), "jet_px"),
    "wrong name": (("--name", "../x"), "--name: model name '../x' is not allowed"),
    "registry away": (("--publish", "http://127.0.0.1:1"), "no server is ready there"),
    "no database": (("--publish", "mysql://h/d"), "expected sqlite or postgresql"),
    "no folder": (("--fout", "nope/x.tar.gz"), "there is no folder"),
    "unknown suffix": (("--fout", "x.h5"), "expected a name that ends in .tar.gz, .onnx, .keras"),
    "another archive": (("--fout", "x.gz"), "expected a name that ends in .tar.gz, .onnx, .keras"),
    "no name": (("--name", ""), "--name: model name '' is not allowed"),
    "model file whose name is none": (("--model", "my net.py"), "give a --name: model name 'my net' is not allowed"),
    "parameter twice": (("--params", "twice.json"), "twice.json is not JSON: field 'epochs' is given twice"),
    "many labels": (("--labels", ",".join("1" * 300)), "300 labels are given for 2 files"),
    "no list": (("--files", "nolist.txt"), "there is no such list of files"),
    "no ONNX": (("--model", "noonnx.py"), "can't be exported to ONNX"),
    "one-hot quantity": (("--model", "onehot.py", "--labels", "met"), "needs labels that are classes"),
    "no SQLite file": (("--publish", "sqlite:///net.py"), "file is not a database"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_told_in_one_line(work: Path, kind: str) -> None:
    (work / "empty.root").write_bytes(b"")
    (work / "truncated.root").write_bytes((work / "signal.root").read_bytes()[:30_000])
    (work / "syntax.py").write_text("def model(idim:\n")
    (work / "empty.py").write_text("")
    (work / "raises.py").write_text("def model(idim):\n    pass\n    raise RuntimeError('no luck')\n")
    (work / "lr.py").write_text(MODEL.replace('"adam"', "keras.optimizers.Adam(lr=1e-3)"))
    (work / "uncompiled.py").write_text(MODEL.replace("network.compile", "(lambda **_: None)"))
    (work / "other.py").write_text("def model(idim):\n    return object()\n")
    (work / "width.py").write_text(MODEL.replace("(idim,)", "(3,)"))
    (work / "onehot.py").write_text(MODEL.replace("binary_crossentropy", "categorical_crossentropy"))
    strange = "keras.layers.Lambda(lambda x: __import__('tensorflow').numpy_function(lambda v: v, [x], 'float32'))"
    (work / "noonnx.py").write_text(MODEL.replace("keras.layers.Dropout(0.2)", strange))
    (work / "my net.py").write_text(MODEL)
    (work / "twice.json").write_text('{"epochs": 3, "epochs": 4}')
    write_params(work / "unknown.json", epoch=3)
    write_params(work / "type.json", epochs="many")
    write_params(work / "tree.json", branch="events")
    write_params(work / "branch.json", selected_branches="jet_px")
    options, reason = BAD[kind]
    done = mlaas(work, *options)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("mlaas: ")
    assert reason in done.stderr


def test_a_model_that_is_refused_at_the_end_is_kept(work: Path, tmp_path: Path) -> None:
    for path in work.iterdir():
        if path.suffix in {".root", ".py", ".json"}:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with running_server(tmp_path / "data", TFAAS_MAX_UPLOAD="2048") as server:
        done = mlaas(tmp_path, "--name", "large", "--publish", server.url, "--summary", "refused.json")
    assert done.returncode == 2
    assert "the trained model is kept, publish it by: curl" in done.stderr
    kept = Path(done.stderr.partition("@")[2].split()[0])
    assert member(kept, "large/params.json")["name"] == "large"
    assert kept.parent.parent == tmp_path / "mlaas-runs"
    assert not (tmp_path / "refused.json").exists()


def test_three_classes_with_one_hot_labels(work: Path, tmp_path: Path, server: Server) -> None:
    write_sample(tmp_path / "third.root", 900, True, 9)
    softmax = MODEL.replace('Dense(1, activation="sigmoid")', 'Dense(3, activation="softmax")')
    (tmp_path / "net3.py").write_text(softmax.replace("binary_crossentropy", "categorical_crossentropy"))
    done = mlaas(
        work,
        *("--files", f"signal.root,background.root,{tmp_path}/third.root", "--labels", "2,0,5"),
        *("--model", str(tmp_path / "net3.py"), "--name", "three_classes", "--publish", server.url),
    )
    assert done.returncode == 0, done.stderr
    assert "AUC" in done.stdout
    (row,) = (row for row in httpx.get(f"{server.url}/models").json() if row["name"] == "three_classes")
    assert row["signature"]["outputs"][0]["shape"][1] == 3
    assert row["labels"] == "labels.txt"


def test_labels_from_a_branch(work: Path, tmp_path: Path) -> None:
    import uproot

    generator = np.random.default_rng(1)
    x = generator.normal(size=(2000, 2)).astype(np.float32)
    with uproot.recreate(tmp_path / "one.root") as file:
        file["Events"] = {"a": x[:, 0], "b": x[:, 1], "truth": (x.sum(axis=1) > 0).astype(np.int32)}
    write_params(tmp_path / "p.json", epochs=5, exclude_branches="")
    done = mlaas(
        work,
        *("--files", str(tmp_path / "one.root"), "--labels", "truth", "--params", str(tmp_path / "p.json")),
        *("--summary", str(tmp_path / "s.json")),
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["features"] == ["a", "b"]
    assert summary["test_auc"] > 0.95


def test_a_regression_is_trained_on_the_label_itself(work: Path, tmp_path: Path) -> None:
    regression = MODEL.replace(', activation="sigmoid"', "").replace("binary_crossentropy", "mse")
    (tmp_path / "fit.py").write_text(regression)
    write_params(tmp_path / "p.json", epochs=8)
    done = mlaas(
        work,
        *("--labels", "nlepton", "--model", str(tmp_path / "fit.py"), "--params", str(tmp_path / "p.json")),
        *("--summary", str(tmp_path / "s.json"), "--fout", str(tmp_path / "fit.onnx")),
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["test_auc"] is None
    assert summary["test_loss"] < 0.4  # the mean squared distance from 0, 1 or 2
    assert (tmp_path / "fit.onnx").stat().st_size > 1000


def test_a_loss_that_is_no_number_stops_the_training(work: Path, tmp_path: Path) -> None:
    (tmp_path / "nan.py").write_text(MODEL.replace('"adam"', "keras.optimizers.SGD(1e30)"))
    done = mlaas(
        work, "--model", str(tmp_path / "nan.py"), "--publish", f"sqlite:///{tmp_path}/r.db", "--run", f"{tmp_path}/run"
    )
    assert done.returncode == 2
    assert "the loss is nan in chunk" in done.stderr
    assert list(tmp_path.glob("r.db*")) == [], "a registry without a model"
    assert not (tmp_path / "run").exists(), "a folder with nothing in it"
