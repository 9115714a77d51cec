"""`tfaas` as a process: start, memory, options, and the operator's commands."""

import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import httpx
import pytest

from tests.networks import Network, linear_onnx
from tests.servers import TFAAS, free_port, running_server, start_server
from tfaas.bundles import pack


def tfaas(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TFAAS, *arguments], capture_output=True, text=True, timeout=60, env=os.environ | environment, check=False
    )


def test_it_is_ready_soon_small_when_idle_and_without_tensorflow(data_dir: Path) -> None:
    started = time.monotonic()
    server = start_server(data_dir)
    try:
        ready = time.monotonic() - started
        process = server.worker
        assert process.memory_info().rss < 200 * 1024**2
        loaded = Path(f"/proc/{process.pid}/maps").read_text()
        assert "tensorflow" not in loaded
    finally:
        server.stop()
    assert ready < 30  # the target is 3 s; the machine of a test may be busy


def test_importing_the_server_does_not_import_frameworks() -> None:
    code = (
        "import sys, tfaas.app, tfaas.cli, mlaas.cli, mlaas;"
        "print(sorted({'tensorflow', 'keras', 'onnxruntime', 'tf2onnx', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_a_port_in_use_is_told_in_one_line(data_dir: Path) -> None:
    with running_server(data_dir) as server:
        port = server.url.rpartition(":")[2]
        done = tfaas("serve", "--port", port, "--data-dir", str(data_dir))
    assert done.returncode == 2
    assert done.stderr == f"tfaas: can't listen on 127.0.0.1:{port}: Address already in use\n"


def test_a_data_folder_that_can_not_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'r.db'}"
    done = tfaas("serve", "--port", str(free_port()), "--data-dir", "/proc", "--database", database)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith("tfaas: data folder /proc can't be written to: ")


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"TFAAS_PROT": "1"}, "environment variable TFAAS_PROT is no setting"),
        ({"TFAAS_WORKERS": "0"}, "setting workers: Input should be greater than or equal to 1, not '0'"),
        ({"TFAAS_LOG_LEVEL": "loud"}, "setting log_level: expected debug, info, warning or error, not 'loud'"),
        ({"TFAAS_DATABASE": "mysql://h/d"}, "is not supported: expected sqlite or postgresql"),
        ({"TFAAS_DATABASE": "postgresql://u:secret@127.0.0.1:1/d"}, "registry postgresql://u:***@127.0.0.1:1/d can't"),
    ],
)
def test_wrong_settings_are_refused_at_start(data_dir: Path, environment: dict[str, str], reason: str) -> None:
    done = tfaas("serve", "--port", str(free_port()), "--data-dir", str(data_dir), **environment)
    assert done.returncode == 2
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr


def test_a_data_folder_that_can_not_be_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = tfaas("serve", "--port", str(free_port()), "--data-dir", str(tmp_path / "file" / "data"))
    assert done.returncode == 2
    assert "data folder" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_base_path_prefixes_every_address(data_dir: Path) -> None:
    with running_server(data_dir, "--base-path", "/tfaas/", ready="/tfaas/readyz") as server:
        files = {"model": ("m.onnx", linear_onnx([2.0]))}
        httpx.post(f"{server.url}/tfaas/upload", data={"name": "m"}, files=files, timeout=60).raise_for_status()
        assert httpx.post(f"{server.url}/tfaas/json", json={"values": [1]}).json() == [2.0]
        assert httpx.post(f"{server.url}/json", json={"values": [1]}).status_code == 404
        assert "/tfaas/predict/json" in httpx.get(f"{server.url}/tfaas/openapi.json").json()["paths"]


def test_operator_commands_publish_list_promote_and_delete(tmp_path: Path) -> None:
    registry = ("--database", f"sqlite:///{tmp_path / 'r.db'}", "--data-dir", str(tmp_path))
    pack("m", {"m.onnx": linear_onnx([1.0])}, tmp_path / "m.tar.gz")
    assert tfaas("db", "upgrade", *registry).stdout == "the registry is up to date\n"
    for number in (1, 2):
        done = tfaas("upload", str(tmp_path / "m.tar.gz"), *registry)
        assert done.stdout.startswith(f"m:{number} is served by onnx: uploaded as ONNX\n"), done.stderr
    assert tfaas("promote", "m:1", "production", *registry).stdout == "m@production is m:1\n"
    (row,) = json.loads(tfaas("models", "--json", *registry).stdout)
    assert (row["name"], row["version"]) == ("m", 2)
    assert tfaas("models", *registry).stdout.startswith("m:2\tonnx\tonnx\t")
    assert "m@production is version 1" in tfaas("delete", "m", *registry).stderr
    assert tfaas("delete", "m", "--force", *registry).stdout == "m is deleted\n"
    again = tfaas("delete", "m", *registry)
    assert (again.returncode, again.stderr) == (2, "tfaas: no model 'm': there is none yet\n")


def test_a_misspelt_data_folder_is_told_and_not_made(tmp_path: Path) -> None:
    done = tfaas("models", "--data-dir", str(tmp_path / "typo"))
    assert done.returncode == 2
    assert (
        done.stderr == f"tfaas: there is no registry {tmp_path}/typo/registry.db: expected the --data-dir of a server\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_is_refused_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "m.tar.gz").write_bytes(b"hello")
    done = tfaas("upload", str(tmp_path / "m.tar.gz"), "--data-dir", str(tmp_path))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "can't be read" in done.stderr


def test_tensorflow_serves_what_onnx_can_not_express(data_dir: Path, tmp_path: Path) -> None:
    script = tmp_path / "save.py"
    script.write_text(
        "import sys, tensorflow as tf\n"
        "class M(tf.Module):\n"
        "    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name='x')])\n"
        "    def __call__(self, x):\n"
        "        return {'y': tf.math.digamma(tf.abs(x) + 1.0)}\n"
        "m = M()\n"
        "tf.saved_model.save(m, sys.argv[1], signatures={'serving_default': m.__call__})\n"
    )
    subprocess.run([sys.executable, script, tmp_path / "digamma"], check=True, stderr=subprocess.DEVNULL)
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "digamma", "digamma")
    with running_server(data_dir) as server:
        answer = httpx.post(f"{server.url}/upload", content=(tmp_path / "b.tar.gz").read_bytes(), timeout=120)
        assert answer.status_code == 200, answer.text
        assert answer.json()["runtime"] == "tensorflow"
        assert "tf2onnx can't convert it" in answer.json()["reason"]
        body = {"values": [0.0, 1.0], "model": "digamma"}
        got = httpx.post(f"{server.url}/json", json=body, timeout=60).json()
        assert got == pytest.approx([-0.5772157, 0.4227843], abs=1e-5)
        (row,) = httpx.get(f"{server.url}/models").json()
        assert row["runtime"] == "tensorflow"


def test_the_network_of_the_original_benchmark_is_served_as_onnx(data_dir: Path, network: Network) -> None:
    with running_server(data_dir) as server:
        content = (network.folder / "model.tar.gz").read_bytes()
        answer = httpx.post(f"{server.url}/upload", content=content, timeout=120)
        assert answer.json()["runtime"] == "onnx"
        assert "tensorflow" not in Path(f"/proc/{server.worker.pid}/maps").read_text()
