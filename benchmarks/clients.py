"""Load by connections that each send one prepared request after the other, in a process of their own.

Run as `python -m benchmarks.clients PORT CLIENTS FOLDER` until standard input ends; FOLDER holds a file with the bytes
of each request, which the clients send in turn. Prints what was measured as JSON.
"""

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.hey import Load


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, requests: "itertools.cycle[bytes]", latencies: list[float], failures: list[bytes]) -> None:
        self._requests = requests
        self._latencies = latencies
        self._failures = failures
        self._sent = 0.0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._latencies.append(time.perf_counter() - self._sent)
        # An answer is small and comes in one piece; one that does not is told here, and not counted twice.
        if not data.startswith(b"HTTP/1.1 200 "):
            self._failures.append(data)
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        # Whoever it is that closes: a server that is measured keeps its connections.
        self._failures.append(str(error).encode())

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(next(self._requests))


def request(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Running:
    """Clients at work; `result` is there once the block has ended."""

    result: Load


@contextlib.contextmanager
def clients(url: str, count: int, requests: list[bytes], folder: Path) -> Iterator[Running]:
    """Load for as long as the block lasts."""
    folder.mkdir()
    for number, content in enumerate(requests):
        (folder / f"{number:06}").write_bytes(content)
    command = [sys.executable, "-m", "benchmarks.clients", url.rpartition(":")[2], str(count), str(folder)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    )
    running = Running()
    try:
        yield running
        printed, _ = process.communicate("")
        running.result = Load(**json.loads(printed))
    finally:
        process.kill()
        process.wait()


def main() -> None:
    import uvloop

    port, count, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    requests = [path.read_bytes() for path in sorted(folder.iterdir())]
    print(json.dumps(uvloop.run(_load(port, count, requests))))


async def _load(port: int, count: int, requests: list[bytes]) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    failures: list[bytes] = []
    turns = itertools.cycle(requests)
    started = time.perf_counter()
    for _ in range(count):
        await loop.create_connection(lambda: Client(turns, latencies, failures), "127.0.0.1", port)
    await asyncio.to_thread(sys.stdin.read)
    seconds = time.perf_counter() - started
    p50, p99 = 1000 * np.percentile(latencies, [50, 99])
    return {"rate": len(latencies) / seconds, "p50": p50, "p99": p99, "failures": len(failures)}


if __name__ == "__main__":
    main()
