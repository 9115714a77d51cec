"""Many models, models that are uploaded again under load, and models that come and go."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import numpy as np

from benchmarks.clients import clients, request
from benchmarks.network import JSON, KEYS, MODEL, VALUES, onnx_bytes, saved_model_bundle
from benchmarks.table import Row

SMALL = 64
MODELS = 50
UPLOADS = 20
WARM_UP = 20
COMPARED = 20
UPLOAD_SECONDS = 60


def upload_onnx(url: str, name: str, content: bytes) -> float:
    """Seconds until the model is served."""
    params = json.dumps({"name": name, "features": KEYS})
    files = {"model": ("model.onnx", content), "params": ("params.json", params)}
    started = time.perf_counter()
    httpx.post(f"{url}/upload", data={"name": name}, files=files, timeout=UPLOAD_SECONDS).raise_for_status()
    return time.perf_counter() - started


def uploads(url: str, quick: bool) -> Iterator[Row]:
    """How long an upload takes until the model is served, with nothing else going on."""
    bundle = saved_model_bundle()
    started = time.perf_counter()
    httpx.post(f"{url}/upload", content=bundle, timeout=UPLOAD_SECONDS).raise_for_status()
    seconds = time.perf_counter() - started
    yield Row("SavedModel is served", f"{seconds:.1f} s", "10 s", seconds / 10, 1, most=True)
    seconds = upload_onnx(url, "another", onnx_bytes())
    yield Row("ONNX is served", f"{seconds:.1f} s", "2 s", seconds / 2, 1, most=True)


def many_models(url: str, quick: bool) -> Iterator[Row]:
    """Small models in turn, beside one of them alone; the best of three."""
    for number in range(MODELS):
        upload_onnx(url, f"small_{number}", onnx_bytes(hidden=SMALL))
    bodies = [{"keys": KEYS, "values": VALUES, "model": f"small_{number}"} for number in range(MODELS)]
    requests = [request("/json", json.dumps(body).encode()) for body in bodies]
    seconds = 2 if quick else 5
    rates = {"alone": 0.0, "in turn": 0.0}
    failures = 0
    with TemporaryDirectory(prefix="benchmark-") as folder:
        for repetition in range(3):
            for name, used in (("alone", requests[:1]), ("in turn", requests)):
                with clients(url, 100, used, Path(folder) / f"{name}-{repetition}") as running:
                    time.sleep(seconds)
                rates[name] = max(rates[name], running.result.rate)
                failures += running.result.failures
    yield Row(f"{MODELS} models in turn, 100 clients", f"{rates['in turn']:,.0f}/s", f"one {rates['alone']:,.0f}/s",
              rates["in turn"] / rates["alone"], 0.7)  # fmt: skip
    yield Row(f"{MODELS} models in turn, failures", str(failures), "none", float(failures), 0, most=True)


def uploads_under_load(url: str, quick: bool) -> Iterator[Row]:
    """The same load with the model uploaded again and again, and without."""
    count, requests = (3 if quick else UPLOADS), [request("/json", JSON)]
    content = onnx_bytes()
    with TemporaryDirectory(prefix="benchmark-") as folder:
        with clients(url, 100, requests, Path(folder) / "with") as loaded:
            started = time.perf_counter()
            for _ in range(count):
                upload_onnx(url, MODEL, content)
            seconds = time.perf_counter() - started
        with clients(url, 100, requests, Path(folder) / "without") as alone:
            time.sleep(min(seconds, 20))
    first, second = loaded.result, alone.result
    yield Row(f"{count} uploads under load, p99", f"{first.p99:.1f} ms", f"without {second.p99:.1f} ms",
              first.p99 / second.p99, 3, most=True)  # fmt: skip
    yield Row(f"{count} uploads under load, failures", str(first.failures), "none", float(first.failures), 0, most=True)
    yield Row(f"{count} uploads under load, requests", f"{first.rate:,.0f}/s", f"without {second.rate:,.0f}/s",
              first.rate / second.rate, 0.5)  # fmt: skip


def cycles(url: str, quick: bool, count: int = 200) -> Iterator[Row]:
    """Upload, predict, delete: what stays in memory, and whether it gets slower."""
    count = 60 if quick else count
    content = onnx_bytes(hidden=SMALL)
    seconds, resident = [], []
    with httpx.Client(base_url=url, timeout=UPLOAD_SECONDS) as client:
        for number in range(count):
            started = time.perf_counter()
            upload_onnx(url, "passing", content)
            body = {"keys": KEYS, "values": VALUES, "model": "passing"}
            client.post("/json", json=body).raise_for_status()
            client.delete("/delete/passing").raise_for_status()
            seconds.append(time.perf_counter() - started)
            if number >= WARM_UP - 1:
                resident.append(client.get("/status").json()["process"]["resident"])
    # The median of a few: a single reading depends on what the allocator has just given back.
    before, after = np.median(resident[:COMPARED]), np.median(resident[-COMPARED:])
    yield Row(f"{count} upload cycles, memory", f"{after / 1e6:.0f} MB", f"after {WARM_UP} {before / 1e6:.0f} MB",
              after / before, 1.05, most=True)  # fmt: skip
    early, late = np.median(seconds[WARM_UP : WARM_UP + COMPARED]), np.median(seconds[-COMPARED:])
    yield Row(f"{count} upload cycles, the last {COMPARED}", f"{1000 * late:.0f} ms", f"first {1000 * early:.0f} ms",
              late / early, 1.15, most=True)  # fmt: skip
