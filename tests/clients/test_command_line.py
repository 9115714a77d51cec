"""The `tfaas-client` command, its own commands and the flat options of the original."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image
from tfaas_client import Client

from tests.clients.misbehaving_server import misbehaving_server

Run = Callable[..., subprocess.CompletedProcess[str]]
OneLine = Callable[[str], str]
Expected = Callable[..., NDArray[np.float32]]


def brightness_model() -> onnx.ModelProto:
    """The graph [N, 4, 4, 3] -> [N, 2]: the brightest value and what is missing to 255."""
    nodes = [
        helper.make_node("ReduceMax", ["image"], ["bright"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Constant", [], ["white"], value_float=255.0),
        helper.make_node("Constant", [], ["axes"], value_ints=[1]),
        helper.make_node("Sub", ["white", "bright"], ["dark"]),
        helper.make_node("Unsqueeze", ["bright", "axes"], ["first"]),
        helper.make_node("Unsqueeze", ["dark", "axes"], ["second"]),
        helper.make_node("Concat", ["first", "second"], ["scores"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 4, 4, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 2])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


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


@pytest.mark.parametrize("content", [[41.5, 80.2, 35.1], {"values": [41.5, 80.2, 35.1]}])
def test_predict_reads_a_plain_list_of_values(
    tfaas_client: Run, flat_model: str, expected: Expected, content: object
) -> None:
    answer = tfaas_client("predict", flat_model, "-", "--json", input=json.dumps(content))
    np.testing.assert_allclose(json.loads(answer.stdout), expected(41.5, 80.2, 35.1), atol=1e-6)


@pytest.mark.parametrize(
    "content",
    [
        {"met": [41.5, 10.0], "jet_pt": [[80.2, 35.1], []]},
        {"columns": {"met": [41.5, 10.0], "jet_pt": [[80.2, 35.1], []]}},
        [[41.5, 80.2, 35.1], [10.0, None, None]],
    ],
)
def test_predict_scores_many_events(tfaas_client: Run, model: str, expected: Expected, content: object) -> None:
    answer = tfaas_client("predict", model, "-", "--json", input=json.dumps(content))
    wanted = [expected(41.5, 80.2, 35.1), expected(10.0)]
    np.testing.assert_allclose(json.loads(answer.stdout)["probabilities"], wanted, atol=1e-6)
    head, *lines = tfaas_client("predict", model, "-", input=json.dumps(content)).stdout.splitlines()
    assert head.split() == ["probabilities_0", "probabilities_1"]
    np.testing.assert_allclose([list(map(float, line.split())) for line in lines], wanted, atol=1e-6)


def test_promote_moves_an_alias(tfaas_client: Run, model: str, one_line: OneLine) -> None:
    promoted = tfaas_client("promote", f"{model}@latest", "production")
    assert promoted.stdout == f"{model}@production is {model}:1\n"
    again = tfaas_client("promote", f"{model}:1", "production", "--json")
    assert json.loads(again.stdout) == {"model": model, "version": 1, "alias": "production"}
    absent = tfaas_client("promote", f"{model}:99", "production")
    assert absent.returncode == 2
    assert "99" in one_line(absent.stderr)


def test_a_version_is_deleted_although_an_alias_points_at_it_only_by_force(
    tfaas_client: Run, unique_name: str, upload_options: list[str], one_line: OneLine
) -> None:
    for _ in range(2):
        assert tfaas_client("upload", f"--name={unique_name}", *upload_options).returncode == 0
    assert tfaas_client("promote", f"{unique_name}:1", "production").returncode == 0
    refused = tfaas_client("delete", f"{unique_name}:1")
    assert refused.returncode == 2
    assert "production" in one_line(refused.stderr)
    assert tfaas_client("delete", f"{unique_name}:1", "--force").returncode == 0
    assert tfaas_client("promote", f"{unique_name}:1", "production").returncode == 2
    assert unique_name in tfaas_client("models").stdout


def test_the_next_server_answers(tfaas_client: Run, server: Any, closed_url: str, model: str) -> None:
    listed = tfaas_client("models", f"--url={closed_url},{server.url}")
    assert listed.returncode == 0
    assert model in listed.stdout


def test_the_image_option_of_the_original_works(
    tfaas_client: Run, client: Client, unique_name: str, tmp_path: Path, one_line: OneLine
) -> None:
    onnx.save(brightness_model(), tmp_path / "model.onnx")
    (tmp_path / "labels.txt").write_text("bright\ndark\n")
    picture = tmp_path / "image.png"
    Image.new("RGB", (4, 4), (255, 255, 255)).save(picture)
    client.upload(unique_name, tmp_path / "model.onnx", {"model": "model.onnx"})
    bare = tfaas_client(f"--image={picture}", f"--model={unique_name}")
    np.testing.assert_allclose(json.loads(bare.stdout), [255, 0])
    client.upload(unique_name, tmp_path / "model.onnx", {"labels": "labels.txt"}, tmp_path / "labels.txt")
    labelled = tfaas_client(f"--image={picture}", f"--model={unique_name}")
    assert json.loads(labelled.stdout)[0] == {"label": "bright", "probability": 255.0}
    assert "absent.png" in one_line(tfaas_client("--image=/absent.png", f"--model={unique_name}").stderr)


def test_the_shell_completes_commands_options_and_models(tfaas_client: Run, run: Run, server: Any, model: str) -> None:
    script = tfaas_client("--completion", "bash").stdout

    def complete(*words: str) -> list[str]:
        command = f"{script}\nCOMP_WORDS=({' '.join(map(repr, words))}); COMP_CWORD={len(words) - 1}"
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "TFAAS_URL": server.url}
        completed = run("bash", "-c", f'{command}; _tfaas_client; printf "%s\n" "${{COMPREPLY[@]}}"', env=environment)
        assert completed.stderr == ""
        return completed.stdout.split()

    assert complete("tfaas-client", "pr") == ["predict", "promote"]
    assert complete("tfaas-client", "score", "--o") == ["--output", "--outputs"]
    assert model in complete("tfaas-client", "predict", "")
    assert complete("tfaas-client", "predict", model[:-1]) == [model]
    assert complete("tfaas-client", "predict", model, "") == []
    zsh = tfaas_client("--completion", "zsh").stdout
    assert zsh.endswith(script)


def test_status_is_shown(tfaas_client: Run) -> None:
    assert json.loads(tfaas_client("status", "--json").stdout)["process"]["resident"]
    assert "\nprocess.resident " in tfaas_client("status").stdout


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
        ["predict", "x", "/"],
        ["promote", "x"],
        ["promote", "x:y", "production"],
        ["promote", "x:1", ""],
        ["score", "absent.root"],
        ["score", "absent.root", "--model=x", "--step=0"],
        ["models", "--url="],
        ["models", "--url=localhost"],
        ["models", "--retries=-1"],
        ["--completion=tcsh"],
        ["--image=/absent.png"],
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
    [
        "{",
        "3",
        "[[1], [1, 2, 3]]",
        '{"keys": ["met"], "values": []}',
        '{"values": 3}',
        '{"keys": [], "value": "a"}',
        "\xff",
    ],
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
    assert "Connection refused" in refused.stderr


def test_the_url_comes_from_the_environment(run: Run, closed_url: str) -> None:
    program = Path(sys.executable).parent / "tfaas-client"
    refused = run(program, "models", env=os.environ | {"TFAAS_URL": closed_url})
    assert closed_url in refused.stderr


# Tells when the command begins to import.
TELLING = """
import sys
import tfaas_client_command

class Telling:
    def find_spec(self, name, path, target=None):
        if name == "tfaas_client":
            print(flush=True)

sys.meta_path.insert(0, Telling())
raise SystemExit(tfaas_client_command.main())
"""


@pytest.mark.parametrize("delay", [0.0, 0.2, 0.5, 1.5])
@pytest.mark.parametrize("arguments", [["predict", "x", "-"], ["models"], ["score", "x.root", "--model=x"]])
def test_an_interrupt_exits_130_without_a_word(delay: float, arguments: list[str]) -> None:
    """While it is imported, while it reads, and while it waits for a server that says nothing."""
    with misbehaving_server("silent") as server:
        command = [sys.executable, "-c", TELLING, f"--url={server.url}", *arguments]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as waiting:
            assert waiting.stdout is not None
            assert waiting.stderr is not None
            waiting.stdout.readline()
            time.sleep(delay)
            waiting.send_signal(signal.SIGINT)
            assert (waiting.wait(10), waiting.stderr.read()) == (130, "")
