"""Real server processes for tests."""

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

TFAAS = Path(sys.executable).with_name("tfaas")
READY_SECONDS = 30


@dataclass
class Server:
    """A `tfaas serve` process."""

    url: str
    process: subprocess.Popen[bytes]
    data_dir: Path
    log: Path

    @property
    def worker(self) -> psutil.Process:
        """The process that answers, of a server that has one; waits for it where it is just made anew."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            alive = [child for child in psutil.Process(self.process.pid).children() if child.status() != "zombie"]
            if alive:
                return alive[0]
            time.sleep(0.01)
        raise AssertionError("the server has no worker")

    def kill(self) -> None:
        """End it as a crash of the machine would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """End it politely; the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(timeout=60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_server(
    data_dir: Path, *options: str, ready: str = "/readyz", authority: Path | None = None, **environment: str
) -> Server:
    """Start `tfaas serve` and wait until it is ready; with TLS where there is an authority for its certificate."""
    port = free_port()
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir.parent / f"{data_dir.name}-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [TFAAS, "serve", "--port", str(port), "--data-dir", str(data_dir), *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
            start_new_session=True,
        )
    verify = True if authority is None else ssl.create_default_context(cafile=authority)
    server = Server(f"http{'' if authority is None else 's'}://127.0.0.1:{port}", process, data_dir, log)
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(server.url + ready, verify=verify).status_code == 200:
                return server
        time.sleep(0.02)
    process.kill()
    raise AssertionError(f"tfaas serve is not ready:\n{log.read_text()}")


@contextlib.contextmanager
def running_server(
    data_dir: Path, *options: str, ready: str = "/readyz", authority: Path | None = None, **environment: str
) -> Iterator[Server]:
    server = start_server(data_dir, *options, ready=ready, authority=authority, **environment)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()
