"""The process that tries an upload reaches nothing that is not its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.networks import linear_onnx
from tests.servers import running_server

ATTEMPTS = """
import json, os, socket, subprocess, sys, threading
from pathlib import Path
from tfaas.sandbox import confine

parent, outside = os.getppid(), Path(sys.argv[3])
confine(Path(sys.argv[1]), Path(sys.argv[2]))

def attempt(action):
    try:
        action()
        return "done"
    except PermissionError:
        return "refused"

def thread():
    started = threading.Thread(target=len, args=("",))
    started.start()
    started.join()

print(json.dumps({name: attempt(action) for name, action in {
    "read the archive": lambda: Path(sys.argv[2]).read_bytes(),
    "write below the working folder": lambda: Path(sys.argv[1], "new").write_bytes(b""),
    "start a thread": thread,
    "import numpy": lambda: __import__("numpy"),
    "abort itself": lambda: os.kill(os.getpid(), 0),
    "read a file": lambda: (outside / "canary").read_bytes(),
    "write a file": lambda: (outside / "new").write_bytes(b""),
    "remove a file": lambda: (outside / "canary").unlink(),
    "list a folder": lambda: os.listdir(outside),
    "write the archive": lambda: Path(sys.argv[2]).write_bytes(b""),
    "read the accounts": lambda: Path("/etc/passwd").read_bytes(),
    "read the parent's environment": lambda: Path(f"/proc/{parent}/environ").read_bytes(),
    "list the parent's files": lambda: os.listdir(f"/proc/{parent}/fd"),
    "open a TCP socket": lambda: socket.socket(),
    "open a UDP socket": lambda: socket.socket(type=socket.SOCK_DGRAM),
    "open a local socket": lambda: socket.socket(socket.AF_UNIX),
    "start a process": os.fork,
    "run a program": lambda: subprocess.run(["/bin/true"]),
    "signal the parent": lambda: os.kill(parent, 0),
}.items()}))
"""
ALLOWED = {"read the archive", "write below the working folder", "start a thread", "import numpy", "abort itself"}


def test_it_reads_the_archive_and_writes_its_folder_and_does_nothing_else(tmp_path: Path) -> None:
    work, outside, archive = tmp_path / "work", tmp_path / "outside", tmp_path / "archive"
    work.mkdir()
    outside.mkdir()
    archive.write_bytes(b"x")
    (outside / "canary").write_bytes(b"x")
    done = subprocess.run(
        [sys.executable, "-c", ATTEMPTS, work, archive, outside], capture_output=True, text=True, timeout=60
    )
    if "the kernel" in done.stderr:
        pytest.skip(f"nothing to test: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert {name for name, result in results.items() if result == "done"} == ALLOWED
    assert [path.name for path in outside.iterdir()] == ["canary"]


def test_secrets_of_the_server_do_not_reach_it(data_dir: Path, tmp_path: Path) -> None:
    """Its environment is its own, and so are its open files."""
    script = "import json, os; print(json.dumps([dict(os.environ), sorted(os.listdir('/proc/self/fd'))]))"
    from tfaas.bundles.prove import _environment

    os.environ["AWS_SECRET_ACCESS_KEY"] = "hunter2"
    try:
        environment = _environment(tmp_path)
    finally:
        del os.environ["AWS_SECRET_ACCESS_KEY"]
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, env=environment)
    assert "hunter2" not in done.stdout
    assert environment["HOME"] == str(tmp_path)


def test_a_site_may_insist_on_it(data_dir: Path) -> None:
    with running_server(data_dir, TFAAS_REQUIRE_SANDBOX="true") as server:
        answer = httpx.post(
            f"{server.url}/upload", data={"name": "m"}, files={"model": ("m.onnx", linear_onnx([2.0]))}, timeout=60
        )
        if answer.status_code == 400:
            assert "uploads can't be tried safely here" in answer.json()["error"]
        else:
            assert httpx.post(f"{server.url}/json", json={"values": [4]}).json() == [8.0]
