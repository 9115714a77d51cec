"""Single events and a million of them through the Python client, beside bare requests with prepared bytes.

Run as `python -m benchmarks.clients_python [--events N] [--hidden N]`. The client is a process of its own; what its
peak memory grows by while it scores is told, scores included (4 bytes each). The events are there before.
"""

import argparse
import asyncio
import http.client
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.models import upload_onnx
from benchmarks.network import HIDDEN, JSON, KEYS, MODEL, VALUES, WIDTH, onnx_bytes
from benchmarks.servers import running_tfaas
from benchmarks.table import HEAD, Row, machine, show

EVENTS = 1_000_000
BATCH = 10_000
CONCURRENCY = 4
STEP = 100_000
SINGLE = 1_000
TARGET = 0.8


def compare(url: str, events: int) -> Iterator[Row]:
    """Both twice in turn, and the better of each: other processes share the machine."""
    bare = max(_bare(url, events) for _ in range(2))
    for what in ("columns", "array", "steps"):
        measured = [_in_a_process(url, what, events) for _ in range(2)]
        best = max(measured, key=lambda figures: figures["rate"])
        bare = max(bare, _bare(url, events))
        told = f"{what}, {max(figures['added'] for figures in measured):.0f} MB more at the peak"
        rate = best["rate"]
        yield Row(told, f"{rate:,.0f} events/s", f"bare {bare:,.0f} events/s", rate / bare, TARGET)


def compare_single(url: str) -> Iterator[Row]:
    """One event after the other, the best of three in turn."""
    rates: dict[str, float] = {"client": 0, "asynchronous client": 0, "bare": 0}
    for _ in range(3):
        for name, measure in (("client", _single), ("asynchronous client", _single_async), ("bare", _bare_single)):
            rates[name] = max(rates[name], measure(url))
    for name in ("client", "asynchronous client"):
        rate, bare = rates[name], rates["bare"]
        yield Row(f"one event after the other, {name}", f"{rate:,.0f}/s", f"bare {bare:,.0f}/s", rate / bare)


def _single(url: str) -> float:
    from tfaas_client import Client

    event = dict(zip(KEYS, VALUES, strict=True))
    with Client(url) as client:
        client.predict(MODEL, event)
        started = time.perf_counter()
        for _ in range(SINGLE):
            client.predict(MODEL, event)
        return SINGLE / (time.perf_counter() - started)


def _single_async(url: str) -> float:
    from tfaas_client import AsyncClient

    event = dict(zip(KEYS, VALUES, strict=True))

    async def ask() -> float:
        async with AsyncClient(url) as client:
            await client.predict(MODEL, event)
            started = time.perf_counter()
            for _ in range(SINGLE):
                await client.predict(MODEL, event)
            return SINGLE / (time.perf_counter() - started)

    return asyncio.run(ask())


def _bare_single(url: str) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", int(url.rpartition(":")[2]))
    started = time.perf_counter()
    for _ in range(SINGLE):
        connection.request("POST", "/json", JSON, {"content-type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"expected predictions, got {content[:200]!r}")
    connection.close()
    return SINGLE / (time.perf_counter() - started)


def _bare(url: str, events: int) -> float:
    """Events a second when threads send the same bytes again and again."""
    body = _matrix(BATCH).tobytes()
    requests = iter(range(events // BATCH))
    lock = threading.Lock()
    failures: list[bytes] = []

    def send() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", int(url.rpartition(":")[2]))
        headers = {"content-type": "application/octet-stream"}
        while True:
            with lock:
                if next(requests, None) is None:
                    break
            connection.request("POST", f"/predict/batch?model={MODEL}&shape={BATCH},{WIDTH}", body, headers)
            answer = connection.getresponse()
            content = answer.read()
            if len(content) != 4 * BATCH:
                failures.append(content)
        connection.close()

    started = time.perf_counter()
    threads = [threading.Thread(target=send) for _ in range(CONCURRENCY)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(f"expected {BATCH} floats, got {failures[0][:200]!r}")
    return events / (time.perf_counter() - started)


def _in_a_process(url: str, what: str, events: int) -> dict[str, float]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.clients_python",
        "--url",
        url,
        "--score",
        what,
        "--events",
        str(events),
    ]
    finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    figures: dict[str, float] = json.loads(finished.stdout)
    return figures


def _columns(matrix: np.ndarray) -> list[Any]:
    return [{key: matrix[:, index] for index, key in enumerate(KEYS)}]


def _array(matrix: np.ndarray) -> list[Any]:
    return [matrix]


def _steps(matrix: np.ndarray) -> list[Any]:
    """As from files: one call for each step."""
    return [matrix[start : start + STEP] for start in range(0, len(matrix), STEP)]


WAYS: dict[str, Callable[[np.ndarray], list[Any]]] = {"columns": _columns, "array": _array, "steps": _steps}


def _score(url: str, what: str, events: int) -> dict[str, float]:
    from tfaas_client import Client

    calls = WAYS[what](_matrix(events))
    with Client(url, retries=20, timeout=120) as client:
        model = client.model(MODEL)
        model.predict(_matrix(BATCH))
        before, started = _peak(), time.perf_counter()
        done = sum(len(model.predict(call)["output"]) for call in calls)
        seconds = time.perf_counter() - started
    if done != events:
        raise RuntimeError(f"{done} scores: expected {events}")
    return {"rate": events / seconds, "added": _peak() - before}


def _matrix(events: int) -> np.ndarray:
    return np.random.default_rng(3).random((events, WIDTH), np.float32)


def _peak() -> float:
    """Megabytes that the process has had at most; getrusage begins with what the process had that started this one."""
    told = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if told is None:
        raise RuntimeError("the system does not tell how much memory was taken")
    return int(told[1]) * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=EVENTS, help=f"a multiple of {STEP}")
    parser.add_argument("--hidden", type=int, default=HIDDEN, help="nodes of the network's two hidden layers")
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--score", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.score:
        print(json.dumps(_score(arguments.url, arguments.score, arguments.events)))
        return
    network = "-".join(map(str, (WIDTH, arguments.hidden, arguments.hidden, 1)))
    print(f"{machine()}; network {network},")
    print(f"{arguments.events:,} events in batches of {BATCH:,}, {CONCURRENCY} at a time\n\n{HEAD}")
    with running_tfaas() as url:
        upload_onnx(url, MODEL, onnx_bytes(hidden=arguments.hidden))
        show(compare_single(url))
        show(compare(url, arguments.events))


if __name__ == "__main__":
    main()
