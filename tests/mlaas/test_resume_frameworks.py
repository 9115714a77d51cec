"""Trainings of other frameworks than Keras that are killed and gone on with."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from mlaas.demo.sample import write_sample

MLAAS = Path(sys.executable).with_name("mlaas")
MODELS = {
    "torch": """
from torch import nn

def model(idim):
    return nn.Sequential(nn.Linear(idim, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 1))
""",
    "sklearn": """
from sklearn.neural_network import MLPClassifier

def model(idim):
    return MLPClassifier((16,))
""",
}


@pytest.mark.parametrize("framework", MODELS)
def test_a_run_that_is_killed_ends_as_one_that_was_left_alone(tmp_path: Path, framework: str) -> None:
    for seed, name in enumerate(("signal", "background")):
        write_sample(tmp_path / f"{name}.root", 1500, name == "signal", seed)
    (tmp_path / "net.py").write_text(MODELS[framework])
    params = {"branch": "Events", "epochs": 6, "chunk_size": 500, "exclude_branches": ["run", "event"]}
    (tmp_path / "params.json").write_text(json.dumps(params))
    command = [
        *(MLAAS, "train", "--files", "signal.root,background.root", "--labels", "1,0", "--model", "net.py"),
        *("--params", "params.json", "--seed", "4"),
    ]
    subprocess.run([*command, "--run", "alone", "--fout", "alone.onnx"], cwd=tmp_path, check=True, timeout=240)
    killed = subprocess.Popen(
        [*command, "--run", "killed", "--fout", "killed.onnx"],
        cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert killed.stdout is not None
    for line in killed.stdout:
        if line.startswith("epoch 2/"):
            killed.kill()
            break
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    resumed = subprocess.run(
        [MLAAS, "train", "--resume", "killed"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=240
    )
    assert "epoch 1/" not in resumed.stdout
    alone, gone_on = (
        {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(tmp_path / name).graph.initializer}
        for name in ("alone.onnx", "killed.onnx")
    )
    assert alone.keys() == gone_on.keys()
    assert any(values.ndim == 2 for values in alone.values())
    for name, values in alone.items():
        np.testing.assert_array_equal(values, gone_on[name], err_msg=name)
