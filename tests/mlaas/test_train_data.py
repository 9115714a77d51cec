"""What the parameters of the data layer change in a training, as a user runs it."""

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.mlaas.test_prepare import run
from tests.mlaas.test_specs import write_tree

REGRESSION = """
import keras

def model(idim):
    network = keras.Sequential([keras.layers.Input((idim,)), keras.layers.Dense(1)])
    network.compile(optimizer=keras.optimizers.Adam(0.05), loss="mse")
    return network
"""


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """2,000 events with few different labels, of which one is there once."""
    rng = np.random.default_rng(5)
    target = rng.integers(0, 2, 2000).astype("f8")
    target[1] = 7.0  # in the test part, so that training has no event of this label
    columns = {"x": rng.normal(100, 20, 2000), "target": target, "w": np.where(target == 1, 1.0, 0.0)}
    write_tree(tmp_path / "a.root", columns, {"x": "f8", "target": "f8", "w": "f8"})
    (tmp_path / "net.py").write_text(REGRESSION)
    return tmp_path


def trained(folder: Path, **params: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Summary and manifest of a training."""
    (folder / "params.json").write_text(json.dumps({"epochs": 8, "selected_branches": ["x"]} | params))
    finished = run(
        folder, *("train", "--files", "a.root", "--labels", "target", "--model", "net.py", "--params", "params.json"),
        *("--fout", "net.tar.gz", "--summary", "summary.json"),
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    with tarfile.open(folder / "net.tar.gz") as archive:
        manifest = archive.extractfile("net/params.json")
        assert manifest is not None
        return json.loads((folder / "summary.json").read_text()), json.load(manifest)


def test_a_regression_may_lack_a_label_in_training_and_follows_the_weights(work: Path) -> None:
    summary, manifest = trained(work, normalisation={"x": "zscore"}, weight="w")
    assert summary["classes"] == [0, 1, 7]
    (feature,) = manifest["features"]
    assert feature["shift"] == pytest.approx(100, abs=3)
    assert feature["scale"] == pytest.approx(1 / 20, rel=0.1)
    # Only events with the label 1 have a weight: the best that the line can do for the others does not count.
    assert summary["epochs"][-1]["validation_loss"] < 0.1


def test_a_training_draws_its_features_where_asked(work: Path) -> None:
    trained(work, epochs=1, hist="pdfs")
    assert (work / "pdfs" / "histograms.pdf").read_bytes().startswith(b"%PDF")
    assert [path.name for path in (work / "pdfs").iterdir()] == ["histograms.pdf"]
