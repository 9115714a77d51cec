"""A tiny model with a flat and a jagged feature, published on the running server."""

import json
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tfaas_client import Client

REPOSITORY = Path(__file__).parents[2]
CPP_CLIENT = REPOSITORY / "clients" / "cpp"
CPP_BUILD = REPOSITORY / "build" / "cpp"
WEIGHTS = np.array([0.01, 0.02, -0.03], dtype=np.float32)
LABELS = ("signal", "background")
MANIFEST = {
    "model": "model.onnx",
    "labels": "labels.txt",
    "features": [{"name": "met", "kind": "flat"}, {"name": "jet_pt", "kind": "jagged", "dim": 2}],
    "missing": True,
}


@pytest.fixture(scope="session")
def expected() -> Callable[..., NDArray[np.float32]]:
    """What the model answers for the values of met and of up to two jets."""

    def probabilities(met: float, *jet_pt: float) -> NDArray[np.float32]:
        event = np.array([met, *jet_pt, 0.0, 0.0][:3], dtype=np.float32)
        signal = 1 / (1 + np.exp(-np.nan_to_num(event) @ WEIGHTS))
        return np.array([signal, 1 - signal], dtype=np.float32)

    return probabilities


@pytest.fixture(scope="session")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model.onnx, params.json and labels.txt."""
    folder = tmp_path_factory.mktemp("model") / "clients_bundle"
    folder.mkdir()
    onnx.save(sigmoid_model(), folder / "model.onnx")
    (folder / "params.json").write_text(json.dumps(MANIFEST))
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n")
    return folder


@pytest.fixture(scope="session")
def flat_manifest() -> dict[str, Any]:
    """The same graph with three flat features, for positional values."""
    features = [{"name": name, "kind": "flat"} for name in ("met", "jet_1_pt", "jet_2_pt")]
    return {"model": "model.onnx", "features": features, "missing": True}


@pytest.fixture
def client(server: Any) -> Iterator[Client]:
    with Client(server.url) as connected:
        yield connected


@pytest.fixture
def unique_name() -> str:
    return f"clients_{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def model(server: Any, model_files: Path) -> str:
    """The name of the published model."""
    return _published(server.url, model_files, model_files / "params.json", model_files / "labels.txt")


@pytest.fixture(scope="session")
def flat_model(server: Any, model_files: Path, flat_manifest: dict[str, Any]) -> str:
    """The name of the published model that has flat features and no labels."""
    return _published(server.url, model_files, flat_manifest, None)


@pytest.fixture
def run() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a program to its end."""

    def finished(*command: object, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(part) for part in command], text=True, capture_output=True, timeout=60, check=False, **options
        )

    return finished


@pytest.fixture
def tfaas_client(server: Any, run: Callable[..., Any]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the `tfaas-client` command against the server."""
    program = Path(sys.executable).parent / "tfaas-client"
    return lambda *arguments, **options: run(program, f"--url={server.url}", *arguments, **options)


@pytest.fixture(scope="session")
def closed_url() -> Iterator[str]:
    """A URL where nobody listens: the port is bound, so that nobody else takes it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def one_line() -> Callable[[str], str]:
    """Checks that a text is one line and returns it."""

    def checked(text: str) -> str:
        assert text.endswith("\n")
        assert len(text.splitlines()) == 1, text
        return text

    return checked


@pytest.fixture(scope="session")
def cpp_program() -> Path:
    """The command line program, built where `make cpp` builds it."""
    path = CPP_BUILD / "tfaas-cpp"
    if not path.exists():
        _build(CPP_CLIENT, CPP_BUILD)
    return path


@pytest.fixture(scope="session", params=["thread", "address,undefined"])
def test_programs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs in `cpp`, built with a sanitizer against an installed client."""
    folder = tmp_path_factory.mktemp("cpp")
    prefix = folder / "prefix"
    _build(
        CPP_CLIENT,
        folder / "client",
        "-DCMAKE_BUILD_TYPE=Debug",
        f"-DTFAAS_SANITIZE={request.param}",
        "-DTFAAS_BUILD_TOOLS=OFF",
        f"-DCMAKE_INSTALL_PREFIX={prefix}",
    )
    _succeed("cmake", "--install", folder / "client")
    _build(
        Path(__file__).parent / "cpp", folder / "programs", "-DCMAKE_BUILD_TYPE=Debug", f"-DCMAKE_PREFIX_PATH={prefix}"
    )
    return folder / "programs"


def sigmoid_model() -> onnx.ModelProto:
    """The graph [N, 3] -> [N, 2]: sigmoid(x @ WEIGHTS) and its complement, absent objects counting as 0."""
    constants = {"zero": np.float32(0), "one": np.float32(1), "weights": WEIGHTS.reshape(3, 1)}
    nodes = [
        helper.make_node("IsNaN", ["events"], ["absent"]),
        helper.make_node("Where", ["absent", "zero", "events"], ["filled"]),
        helper.make_node("MatMul", ["filled", "weights"], ["score"]),
        helper.make_node("Sigmoid", ["score"], ["signal"]),
        helper.make_node("Sub", ["one", "signal"], ["background"]),
        helper.make_node("Concat", ["signal", "background"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "sigmoid",
        [helper.make_tensor_value_info("events", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _published(url: str, files: Path, params: Path | dict[str, Any], labels: Path | None) -> str:
    name = f"clients_{uuid.uuid4().hex[:12]}"
    with Client(url) as connected:
        connected.upload(name, files / "model.onnx", params=params, labels=labels)
    return name


def _build(source: Path, build: Path, *options: str) -> None:
    _succeed("cmake", "-S", source, "-B", build, "-Wno-dev", *options)
    _succeed("cmake", "--build", build, "--parallel", "2")


def _succeed(*command: object) -> None:
    finished = subprocess.run(
        [str(part) for part in command],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=600,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout
