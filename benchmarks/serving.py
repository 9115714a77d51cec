"""Single events on `/json` and `/proto`, beside a bare echo."""

import csv
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.batches import bare_session
from benchmarks.clients import request
from benchmarks.hey import Load, hey
from benchmarks.network import JSON, WIDTH, onnx_bytes, proto_bytes
from benchmarks.table import Row

LOCUST_SECONDS = 10
USERS = {"/json": "JsonUser", "/proto": "ProtoUser"}


def single_events(url: str, echo: str, quick: bool) -> Iterator[Row]:
    """hey with 100 and 200 clients, with and without keep-alive; the best of interleaved repetitions."""
    requests, repetitions = (4_000, 1) if quick else (20_000, 3)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        bodies = {"/json": Path(folder) / "json", "/proto": Path(folder) / "proto"}
        bodies["/json"].write_bytes(JSON)
        bodies["/proto"].write_bytes(proto_bytes())
        for path, body in bodies.items():
            hey(url + path, body, 100, requests // 4)  # the memory for every batch size is there after that
        best: dict[tuple[str, int, bool], Load] = {}
        for _ in range(repetitions):
            for clients, keep_alive in ((100, True), (200, True), (100, False)):
                for path, target in (("echo", echo), ("/json", url), ("/proto", url)):
                    body = bodies["/json" if path == "echo" else path]
                    address = target + ("/json" if path == "echo" else path)
                    load = hey(address, body, clients, requests if keep_alive else requests // 2, keep_alive)
                    key = (path, clients, keep_alive)
                    if key not in best or load.rate > best[key].rate:
                        best[key] = load
        yield from _rows(best)


def _rows(best: dict[tuple[str, int, bool], Load]) -> Iterator[Row]:
    echo, echo_closing = best["echo", 100, True], best["echo", 100, False]
    for path in ("/json", "/proto"):
        at_100, at_200, closing = best[path, 100, True], best[path, 200, True], best[path, 100, False]
        failures = at_100.failures + at_200.failures + closing.failures
        yield Row(f"`{path}`, 100 clients", _rate(at_100), f"echo {_rate(echo)}", at_100.rate / echo.rate, 0.5)
        yield Row(f"`{path}`, 100 clients, p99", _ms(at_100.p99), f"p50 {_ms(at_100.p50)}", at_100.p99 / at_100.p50, 3,
                  most=True)  # fmt: skip
        yield Row(f"`{path}`, 200 clients", _rate(at_200), f"100 clients {_rate(at_100)}", at_200.rate / at_100.rate,
                  0.9)  # fmt: skip
        yield Row(f"`{path}`, new connection each", _rate(closing), f"echo {_rate(echo_closing)}",
                  closing.rate / echo_closing.rate, 0.5)  # fmt: skip
        yield Row(f"`{path}`, failures", str(failures), "none", float(failures), 0, most=True)


def one_client(url: str, echo: str, quick: bool) -> Iterator[Row]:
    """One connection, one request after the other; the best of three medians."""
    count = 500 if quick else 3000
    medians = {"echo": [1e9], "/json": [1e9], "/proto": [1e9]}
    for _ in range(3):
        medians["echo"].append(_median(echo, request("/json", JSON), count))
        medians["/json"].append(_median(url, request("/json", JSON), count))
        medians["/proto"].append(_median(url, request("/proto", proto_bytes()), count))
    best = {name: min(values) for name, values in medians.items()}
    run = _single_run()
    for path in ("/json", "/proto"):
        measured = f"p50 {_ms(best[path])}"
        yield Row(
            f"`{path}`, one client", measured, f"echo {_ms(best['echo'])}", best[path] / best["echo"], 3, most=True
        )
        both = best["echo"] + run
        beside = f"echo and the network alone {_ms(both)}"
        yield Row(f"`{path}`, one client, with the run", measured, beside, best[path] / both, 3, most=True)


def _median(url: str, content: bytes, count: int) -> float:
    """Milliseconds."""
    seconds = []
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            started = time.perf_counter()
            connection.sendall(content)
            _read_answer(connection)
            seconds.append(time.perf_counter() - started)
    return float(1000 * np.median(seconds))


def _read_answer(connection: socket.socket) -> None:
    head, body, length = b"", b"", -1
    while length < 0 or len(body) < length:
        head += connection.recv(65536)
        start, complete, body = head.partition(b"\r\n\r\n")
        if complete:
            length = int(start.lower().partition(b"content-length:")[2].split()[0])
    if not head.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"expected 200, got {head[:100]!r}")


def _single_run() -> float:
    """Milliseconds that a bare session takes for one event."""
    session = bare_session(onnx_bytes())
    event = {"features": np.zeros((1, WIDTH), np.float32)}
    seconds = []
    for _ in range(500):
        started = time.perf_counter()
        session.run(None, event)
        seconds.append(time.perf_counter() - started)
    return float(1000 * np.median(seconds))


def locust(url: str, quick: bool) -> Iterator[Row]:
    """Locust, which is written in Python and is slower than the server: no failures is what it shows."""
    for path, user in USERS.items():
        for clients in (100, 200):
            with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
                found = _locust(url, user, clients, Path(folder) / "locust", 3 if quick else LOCUST_SECONDS)
            measured = f"{float(found['Requests/s']):,.0f}/s, p50 {found['50%']} ms, p99 {found['99%']} ms"
            failures = int(found["Failure Count"])
            yield Row(f"Locust `{path}`, {clients} users: failures", measured, "none", float(failures), 0, most=True)


def _locust(url: str, user: str, clients: int, prefix: Path, seconds: int) -> dict[str, str]:
    """The totals of one run."""
    root = Path(__file__).parents[1]
    subprocess.run(
        [
            *(Path(sys.executable).with_name("locust"), "-f", Path(__file__).with_name("locustfile.py"), "--headless"),
            *("--only-summary", "--host", url, "-u", str(clients), "-r", str(clients), "-t", f"{seconds}s"),
            *("--csv", str(prefix), user),
        ],
        check=False,  # it fails when a request has failed, which the table shows
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    with Path(f"{prefix}_stats.csv").open() as file:
        return next(row for row in csv.DictReader(file) if row["Name"] == "Aggregated")


def _rate(load: Load) -> str:
    return f"{load.rate:,.0f}/s"


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.2f} ms"
