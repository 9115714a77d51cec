"""Many events in a request, beside a bare session in a loop."""

import http.client
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks.network import MODEL, WIDTH, onnx_bytes
from benchmarks.table import Row

REPETITIONS = 3


def batches(url: str, quick: bool) -> Iterator[Row]:
    """1,000 and 10,000 rows of raw float32 a request, one request after the other."""
    seconds = 1.0 if quick else 4.0
    session = bare_session(onnx_bytes())
    connection = http.client.HTTPConnection("127.0.0.1", int(url.rpartition(":")[2]))
    for rows in (1000, 10_000):
        events = np.random.default_rng(3).normal(size=(rows, WIDTH)).astype(np.float32)
        alone, asked = partial(session.run, None, {"features": events}), partial(_ask, connection, events)
        measured = beside = 0.0
        for _ in range(REPETITIONS):
            beside = max(beside, rows * _rate(alone, seconds))
            measured = max(measured, rows * _rate(asked, seconds))
        yield Row(f"{rows:,} rows a request", f"{measured:,.0f} events/s", f"session {beside:,.0f} events/s",
                  measured / beside, 0.85)  # fmt: skip
    connection.close()


def bare_session(model: bytes) -> Any:
    """One thread, as the server has it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _ask(connection: http.client.HTTPConnection, events: np.ndarray) -> None:
    rows = len(events)
    headers = {"content-type": "application/octet-stream"}
    connection.request("POST", f"/predict/batch?model={MODEL}&shape={rows},{WIDTH}", events.tobytes(), headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200 or len(content) != 4 * rows:
        raise RuntimeError(f"expected {rows} floats, got {answer.status} {content[:200]!r}")


def _rate(work: Callable[[], object], seconds: float) -> float:
    """How often it can be done in a second."""
    work()
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        work()
        count += 1
    return count / (time.perf_counter() - started)
