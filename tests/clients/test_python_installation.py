"""`pip install clients/python` into an empty environment, which needs a package index as `make install` does."""

import json
import re
import subprocess
import sys
import venv
from collections.abc import Callable
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
OneLine = Callable[[str], str]

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ["-c", ROOT / "constraints.txt", "--build-constraint", ROOT / "constraints.txt"]
NEVER = {
    "tensorflow",
    "keras",
    "fastapi",
    "uvicorn",
    "starlette",
    "onnx",
    "onnxruntime",
    "sqlalchemy",
    "pyarrow",
    "awkward",
}

ASK = """
import json, sys
from importlib.metadata import distributions
from tfaas_client import Client

with Client(sys.argv[1]) as client:
    scores = client.predict(sys.argv[2], {"met": [1.0, 2.0], "jet_pt": [[], [3.0]]})
shapes = {name: values.shape for name, values in scores.items()}
print(json.dumps({"installed": [each.name.lower() for each in distributions()], "shapes": shapes}))
"""


@pytest.fixture(scope="module")
def empty_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment into which nothing but the client was installed; its `bin`."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    command = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "-q", *CONSTRAINTS]
    subprocess.run([*command, ROOT / "clients" / "python"], check=True, timeout=600)
    return folder / "bin"


def test_the_requirements_are_three() -> None:
    needed = [line for line in requires("tfaas-client") or [] if "extra ==" not in line]
    assert {re.match(r"[\w-]+", line)[0] for line in needed} == {"httpx", "numpy", "protobuf"}  # type: ignore[index]


def test_the_client_works_alone_and_brings_no_framework(
    empty_environment: Path, run: Run, one_line: OneLine, server: Any, model: str, tmp_path: Path
) -> None:
    asked = run(empty_environment / "python", "-c", ASK, server.url, model, cwd=tmp_path)
    assert asked.stderr == ""
    told = json.loads(asked.stdout)
    assert told["shapes"] == {"probabilities": [2, 2]}
    assert {"tfaas-client", "httpx", "numpy", "protobuf"} <= set(told["installed"])
    assert not NEVER & set(told["installed"])
    command = [empty_environment / "tfaas-client", f"--url={server.url}"]
    assert model in run(*command, "models", cwd=tmp_path).stdout
    refused = run(*command, "score", "events.root", f"--model={model}", cwd=tmp_path)
    assert refused.returncode == 2
    assert "tfaas-client[root]" in one_line(refused.stderr)
