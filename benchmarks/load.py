"""`make bench`: starts a server, uploads the network, and prints what Locust measures."""

import contextlib
import csv
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from benchmarks.locustfile import KEYS, MODEL
from benchmarks.network import onnx_bytes

BIN = Path(sys.executable).parent
HERE = Path(__file__).parent
SECONDS = 15
CLIENTS = (100, 200)
USERS = {"/json": "JsonUser", "/proto": "ProtoUser"}


def main() -> None:
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print("network 27 -> 1024 -> 1024 -> 1; server and clients share the cores\n")
    print("| endpoint | clients | requests/s | p50 ms | p99 ms | requests | failures |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, _server(Path(folder)) as url:
        _upload(url)
        for endpoint, user in USERS.items():
            for clients in CLIENTS:
                row = _locust(url, user, clients, Path(folder) / f"{user}-{clients}")
                print(
                    f"| {endpoint} | {clients} | {float(row['Requests/s']):.0f} | {row['50%']} | {row['99%']}"
                    f" | {row['Request Count']} | {row['Failure Count']} |",
                    flush=True,
                )


def _locust(url: str, user: str, clients: int, prefix: Path) -> dict[str, str]:
    """The totals of one run."""
    subprocess.run(
        [
            *(BIN / "locust", "-f", HERE / "locustfile.py", "--headless", "--only-summary", "--host", url),
            *("-u", str(clients), "-r", str(clients), "-t", f"{SECONDS}s", "--csv", str(prefix), user),
        ],
        check=False,  # it fails when a request has failed, which the table shows
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=HERE.parent,
        env=os.environ | {"PYTHONPATH": str(HERE.parent)},
    )
    with Path(f"{prefix}_stats.csv").open() as file:
        return next(row for row in csv.DictReader(file) if row["Name"] == "Aggregated")


def _upload(url: str) -> None:
    params = json.dumps({"name": MODEL, "features": KEYS})
    files = {"model": ("model.onnx", onnx_bytes()), "params": ("params.json", params)}
    httpx.post(f"{url}/upload", data={"name": MODEL}, files=files, timeout=60).raise_for_status()


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [BIN / "tfaas", "serve", "--port", str(port), "--data-dir", folder / "data", "--log-level", "warning"]
    )
    try:
        for _ in range(300):
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{url}/readyz").is_success:
                    break
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
