"""What is acknowledged survives, what is not never shows, whatever happens to the process."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from tests.networks import linear_onnx
from tests.servers import TFAAS, Server, running_server, start_server


def upload(server: Server, name: str, weight: float) -> httpx.Response:
    files = {"model": ("m.onnx", linear_onnx([weight]))}
    return httpx.post(f"{server.url}/upload", data={"name": name}, files=files, timeout=60)


def ask(server: Server, name: str) -> object:
    return httpx.post(f"{server.url}/json", json={"values": [1], "model": name}, timeout=30).json()


@pytest.mark.parametrize("after", [0.05, 0.3, 0.6, 0.9, 1.2])
def test_sigkill_in_the_middle_of_an_upload(data_dir: Path, after: float) -> None:
    server = start_server(data_dir)
    try:
        assert upload(server, "kept", 3.0).status_code == 200
        answers: list[int] = []

        def replace() -> None:
            try:
                answers.append(upload(server, "kept", 4.0).status_code)
            except httpx.TransportError:
                answers.append(0)

        client = threading.Thread(target=replace)
        client.start()
        time.sleep(after)
    finally:
        server.kill()
    client.join()
    with running_server(data_dir) as restarted:
        (row,) = httpx.get(f"{restarted.url}/models").json()
        acknowledged = answers == [200]
        # A kill between the commit and the answer may leave the new version, but never a part of one.
        assert row["version"] == 2 if acknowledged else row["version"] in (1, 2)
        assert ask(restarted, "kept") == [3.0 if row["version"] == 1 else 4.0]
        (own,) = (data_dir / "tmp").glob("process-*")
        assert {path.name for path in own.iterdir()} == {".lock", "running", "crashed"}
        assert not list((data_dir / "cache").glob(".partial-*"))
    check = [TFAAS, "db", "check", "--data-dir", str(data_dir)]
    assert subprocess.check_output(check, text=True) == "the registry is consistent\n"


def test_sigterm_answers_what_is_under_way_and_exits_with_0(data_dir: Path) -> None:
    server = start_server(data_dir)
    answers: list[httpx.Response] = []
    client = threading.Thread(target=lambda: answers.append(upload(server, "late", 5.0)))
    client.start()
    time.sleep(0.3)  # the upload is being proven now
    assert server.stop() == 0
    client.join()
    assert answers[0].status_code == 200
    with running_server(data_dir) as restarted:
        assert ask(restarted, "late") == [5.0]
    assert list((data_dir / "tmp").glob("process-*")) == []


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigint_exits_with_130_and_ends_all_processes(data_dir: Path, workers: str) -> None:
    server = start_server(data_dir, "--workers", workers)
    children = psutil.Process(server.process.pid).children(recursive=True)
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(timeout=30) == 130
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_killed_server_leaves_no_process_that_keeps_its_port(data_dir: Path, workers: str) -> None:
    server = start_server(data_dir, "--workers", workers)
    children = psutil.Process(server.process.pid).children(recursive=True)
    server.process.kill()
    server.process.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)


def test_a_crashed_server_is_started_again_while_clients_wait(data_dir: Path) -> None:
    with running_server(data_dir) as server:
        assert upload(server, "m", 2.0).status_code == 200
        first = server.worker
        first.send_signal(signal.SIGSEGV)
        psutil.wait_procs([first], timeout=10)
        assert ask(server, "m") == [2.0]
        assert server.worker.pid != first.pid
        assert "ended by SIGSEGV and is started again" in server.log.read_text()
        assert server.stop() == 0


def test_a_server_that_crashes_again_and_again_is_given_up(data_dir: Path) -> None:
    with running_server(data_dir) as server:
        deadline = time.monotonic() + 30
        while server.process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(psutil.NoSuchProcess):
                for worker in psutil.Process(server.process.pid).children():
                    worker.send_signal(signal.SIGABRT)
            time.sleep(0.05)
        assert server.process.wait(timeout=10) == 1
        assert "ended by SIGABRT as soon as it was started, 5 times in a row" in server.log.read_text()


def test_an_upload_whose_client_goes_away_leaves_nothing(data_dir: Path) -> None:
    with running_server(data_dir) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            head = "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n"
            connection.sendall(head.encode() + b"\x1f\x8b" + bytes(1_000_000))
            until(lambda: list((data_dir / "tmp").glob("*/upload-*")) != [])
        until(lambda: list((data_dir / "tmp").glob("*/upload-*")) == [])
        assert httpx.get(f"{server.url}/models").json() == []
        assert "Traceback" not in server.log.read_text()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_damaged_cache_file_of_a_crash_is_never_served(data_dir: Path) -> None:
    with running_server(data_dir) as server:
        assert upload(server, "m", 2.0).status_code == 200
    for path in (data_dir / "cache").iterdir():
        path.unlink()
    (data_dir / "cache" / ".partial-crashed").write_bytes(b"half")
    with running_server(data_dir) as server:
        assert ask(server, "m") == [2.0]


def test_the_registry_answers_errors_as_json_when_it_is_damaged(data_dir: Path) -> None:
    with running_server(data_dir) as server:
        assert upload(server, "m", 2.0).status_code == 200
        assert ask(server, "m") == [2.0]
        (data_dir / "registry.db").rename(data_dir / "moved.db")
        for suffix in ("-wal", "-shm"):
            (data_dir / f"registry.db{suffix}").unlink(missing_ok=True)
        assert ask(server, "m") == [2.0]  # a loaded model goes on answering
        answer = httpx.get(f"{server.url}/readyz")
        assert answer.status_code in (200, 503)
        json.loads(answer.text)


def test_a_process_killed_at_any_statement_leaves_all_or_nothing(database_url: str, tmp_path: Path) -> None:
    """Of a migration, an upload, a promotion, a rollback, a deletion and its taking back."""
    script = Path(__file__).with_name("killed_operations.py")
    done = subprocess.run([sys.executable, script, database_url, tmp_path], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    operations = [line.split()[0] for line in done.stdout.splitlines()]
    assert operations == ["migration", "upload", "promotion", "rollback", "deletion", "restoration"]
