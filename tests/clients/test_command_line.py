"""The `tfaas-client` command, its own commands and the flat options of the original."""

import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Run = Callable[..., subprocess.CompletedProcess[str]]
OneLine = Callable[[str], str]
Expected = Callable[..., NDArray[np.float32]]


@pytest.fixture
def event_file(tmp_path: Path, model: str) -> Path:
    path = tmp_path / "input.json"
    path.write_text(json.dumps({"keys": ["met", "jet_pt"], "values": [41.5, [80.2, 35.1]], "model": model}))
    return path


@pytest.fixture
def upload_options(model_files: Path) -> list[str]:
    files = {"model": "model.onnx", "params": "params.json", "labels": "labels.txt"}
    return [f"--{option}={model_files / file}" for option, file in files.items()]


def test_a_model_lives_from_upload_to_delete(tfaas_client: Run, unique_name: str, upload_options: list[str]) -> None:
    uploaded = tfaas_client("upload", f"--name={unique_name}", *upload_options)
    assert (uploaded.returncode, uploaded.stderr) == (0, "")
    assert uploaded.stdout.startswith(f"{unique_name} version 1 is served by ")
    listed = tfaas_client("models").stdout
    assert listed.startswith("name")
    assert unique_name in listed
    assert unique_name in [described["name"] for described in json.loads(tfaas_client("models", "--json").stdout)]
    assert "jet_pt" in tfaas_client("params", unique_name).stdout
    assert tfaas_client("delete", unique_name).stdout == f"{unique_name} is deleted\n"
    assert unique_name not in tfaas_client("models").stdout


def test_a_folder_is_uploaded_as_a_bundle(
    tfaas_client: Run, model_files: Path, unique_name: str, tmp_path: Path
) -> None:
    bundle = tmp_path / unique_name
    bundle.mkdir()
    for file in model_files.iterdir():
        (bundle / file.name).write_bytes(file.read_bytes())
    uploaded = tfaas_client("upload", bundle, "--json")
    assert json.loads(uploaded.stdout)["model"] == unique_name
    assert tfaas_client("delete", unique_name).returncode == 0


@pytest.mark.parametrize("options", [[], ["--proto"]])
def test_predict_prints_the_probabilities(
    tfaas_client: Run, model: str, event_file: Path, expected: Expected, options: list[str]
) -> None:
    answer = tfaas_client("--json", "predict", model, event_file, *options)
    np.testing.assert_allclose(json.loads(answer.stdout), expected(41.5, 80.2, 35.1), atol=1e-6)


def test_predict_shows_labels_to_people(tfaas_client: Run, model: str, event_file: Path) -> None:
    lines = tfaas_client("predict", model, event_file, "--proto").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["signal", "background"]


@pytest.mark.parametrize(
    "content",
    [
        {"jet_pt": [80.2, 35.1], "met": 41.5},
        {"keys": ["jet_pt", "met", "jet_pt"], "values": [80.2, 41.5, 35.1]},
    ],
)
def test_predict_reads_either_form_from_standard_input(
    tfaas_client: Run, model: str, expected: Expected, content: dict[str, Any]
) -> None:
    answer = tfaas_client("predict", model, "-", "--json", input=json.dumps(content))
    np.testing.assert_allclose(json.loads(answer.stdout), expected(41.5, 80.2, 35.1), atol=1e-6)


def test_status_is_shown(tfaas_client: Run) -> None:
    assert json.loads(tfaas_client("status", "--json").stdout)
    assert tfaas_client("status").stdout


def test_flat_options_of_the_original_client_work(
    tfaas_client: Run, model_files: Path, unique_name: str, tmp_path: Path, expected: Expected
) -> None:
    upload = tmp_path / "upload.json"
    paths = {"model": "model.onnx", "labels": "labels.txt", "params": "params.json"}
    upload.write_text(json.dumps({"name": unique_name} | {key: str(model_files / file) for key, file in paths.items()}))
    event = tmp_path / "input.json"
    event.write_text(json.dumps({"keys": ["met", "jet_pt"], "values": [1.0, [2.0]], "model": unique_name}))

    assert json.loads(tfaas_client(f"--upload={upload}").stdout)["version"] == 1
    assert unique_name in [described["name"] for described in json.loads(tfaas_client("--models").stdout)]
    answer = json.loads(tfaas_client(f"--predict={event}").stdout)
    np.testing.assert_allclose(answer, expected(1.0, 2.0), atol=1e-6)
    assert tfaas_client(f"--delete={unique_name}").returncode == 0

    bundle = tmp_path / "bundle.tar.gz"
    with tarfile.open(bundle, "w:gz") as tar:
        tar.add(model_files, arcname=unique_name)
    assert json.loads(tfaas_client(f"--bundle={bundle}").stdout)["model"] == unique_name
    verbose = tfaas_client(f"--predict={event}", f"--model={unique_name}@latest", "--verbose")
    assert json.loads(verbose.stdout) == answer
    assert "/json" in verbose.stderr
    assert tfaas_client("--delete", unique_name).returncode == 0


def test_certificate_options_are_accepted_and_checked(tfaas_client: Run, one_line: OneLine, tmp_path: Path) -> None:
    absent = tmp_path / "absent.pem"
    for options in (["--cert", absent, "--key", absent], ["--capath", absent]):
        secure = tfaas_client("--url=https://localhost:1", "--models", *options)
        assert secure.returncode == 2
        assert "absent.pem" in one_line(secure.stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["predict"],
        ["models", "--speed=3"],
        ["--models", "models"],
        ["--models", "--model=x"],
        ["models", "--timeout=0"],
        ["upload"],
        ["upload", "--name=x"],
        ["upload", "bundle.tar.gz", "--name=x"],
        ["upload", "/absent.tar.gz"],
        ["predict", "x", "/absent.json"],
        ["--upload=/absent.json"],
        ["--models", "--key=k.pem"],
        ["delete", "no_such_model"],
        ["params", "no_such_model"],
        ["delete", ""],
    ],
)
def test_what_the_user_can_mend_exits_2_with_one_line(
    tfaas_client: Run, one_line: OneLine, arguments: list[str]
) -> None:
    refused = tfaas_client(*arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert one_line(refused.stderr).startswith("tfaas-client")


@pytest.mark.parametrize(
    "content",
    ["{", "[1, 2]", '{"keys": ["met"], "values": []}', '{"values": 3}', '{"keys": [], "value": "a"}', "\xff"],
)
def test_a_bad_input_file_exits_2_with_one_line(
    tfaas_client: Run, one_line: OneLine, model: str, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "input.json"
    path.write_text(content, encoding="latin-1")
    refused = tfaas_client("predict", model, path)
    assert refused.returncode == 2
    one_line(refused.stderr)


@pytest.mark.parametrize("arguments", [["predict", "no_such_model", "-"], ["predict", "no_such_model", "-", "--proto"]])
def test_the_error_of_the_server_is_shown(tfaas_client: Run, one_line: OneLine, arguments: list[str]) -> None:
    refused = tfaas_client(*arguments, input='{"met": 1}')
    assert refused.returncode == 2
    assert "no_such_model" in one_line(refused.stderr)


@pytest.mark.parametrize("arguments", [["models"], ["--models"]])
def test_an_unreachable_server_exits_2_with_one_line(
    tfaas_client: Run, one_line: OneLine, closed_url: str, arguments: list[str]
) -> None:
    refused = tfaas_client(f"--url={closed_url}", *arguments)
    assert refused.returncode == 2
    assert closed_url in one_line(refused.stderr)


def test_the_url_comes_from_the_environment(run: Run, closed_url: str) -> None:
    program = Path(sys.executable).parent / "tfaas-client"
    refused = run(program, "models", env=os.environ | {"TFAAS_URL": closed_url})
    assert closed_url in refused.stderr


def test_an_interrupt_exits_130_without_a_word(model: str) -> None:
    program = Path(sys.executable).parent / "tfaas-client"
    with subprocess.Popen(
        [program, "predict", model, "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as waiting:
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(2)
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(10) == 130
        assert waiting.stderr is not None
        assert waiting.stderr.read() == ""
