"""The server under test, and the echo that it is compared with, as processes."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[1]
READY_SECONDS = 30.0


@contextlib.contextmanager
def running_tfaas(*options: str, scheme: str = "http") -> Iterator[str]:
    """`tfaas serve` on a free port with a data folder of its own; its URL."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        port = free_port()
        command = [BIN / "tfaas", "serve", "--port", str(port), "--data-dir", folder, "--log-level", "error", *options]
        with _running(command, f"{scheme}://127.0.0.1:{port}", "/readyz") as url:
            yield url


@contextlib.contextmanager
def running_secure_tfaas() -> Iterator[str]:
    """The same over TLS, with a certificate that this process and those it starts trust meanwhile."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder, contextlib.ExitStack() as undone:
        pem = str(Path(folder) / "host.pem")
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", pem, "-out", pem]
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run([*make, *names], check=True, capture_output=True)
        undone.callback(os.environ.update, os.environ.copy())
        os.environ |= {"SSL_CERT_FILE": pem, "X509_CERT_DIR": pem}
        yield undone.enter_context(running_tfaas("--tls-certificate", pem, scheme="https"))


@contextlib.contextmanager
def running_echo() -> Iterator[str]:
    """The bare ASGI application under one uvicorn process, as fast as uvicorn is; its URL."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "uvicorn", "benchmarks.echo:app", "--port", str(port), "--loop", "uvloop"),
        *("--http", "httptools", "--ws", "none", "--no-access-log", "--log-level", "error"),
    ]
    with _running(command, f"http://127.0.0.1:{port}", "/") as url:
        yield url


def ends_as_interrupted(main: Callable[[], None]) -> None:
    """Run a program that ends its servers on Ctrl-C, and on SIGTERM as well."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _running(command: list[str | Path], url: str, ready: str) -> Iterator[str]:
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        _wait(process, url + ready)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url).is_success:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{url} does not become ready")
