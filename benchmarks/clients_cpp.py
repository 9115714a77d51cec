"""`python -m benchmarks.clients_cpp`: what the C++ client does, each figure beside what it is compared with."""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.models import SMALL, upload_onnx
from benchmarks.network import HIDDEN, WIDTH, onnx_bytes
from benchmarks.servers import ROOT, running_secure_tfaas, running_tfaas
from benchmarks.table import HEAD, Row, machine, show

BUILD = ROOT / "build" / "cpp"
PROGRAM = "tfaas_benchmark"
MODEL, LARGE = "small", "large"
EVENTS = 10_000
REQUESTS, BATCHES = 2000, 50
MILLION = 1_000_000


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks.clients_cpp", description=__doc__)
    options.add_argument("--repetitions", type=int, default=10)
    repetitions = options.parse_args().repetitions
    configure = ["cmake", "-S", ROOT / "clients" / "cpp", "-B", BUILD, "-Wno-dev"]
    for command in (configure, ["cmake", "--build", BUILD, "--target", PROGRAM]):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    print(f"{machine()}\n\n{HEAD}")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        for server, where in ((running_tfaas, "HTTP"), (running_secure_tfaas, "TLS")):
            with server() as url:
                for found in figures(url, where, Path(folder), repetitions):
                    show([found])
                    rows.append(found)
    return 0 if all(row.met for row in rows) else 1


def figures(url: str, where: str, folder: Path, repetitions: int) -> Iterator[Row]:
    upload_onnx(url, MODEL, onnx_bytes(hidden=SMALL))
    upload_onnx(url, LARGE, onnx_bytes(hidden=HIDDEN))
    for model in (MODEL, LARGE):
        yield from single(url, where, model, repetitions)
    yield from batches(url, where, folder, repetitions)


def single(url: str, where: str, model: str, repetitions: int) -> Iterator[Row]:
    """One thread; the best of some short runs each, taken in turn, since other work on the machine hits all of them."""
    rates: dict[str, float] = {"kept": 0, "ahead": 0, "each": 0}
    for _ in range(repetitions):
        for figure in rates:
            rates[figure] = max(rates[figure], *measure(figure, url, REQUESTS, model))
    beside = f"connection each {rates['each']:,.0f}/s"
    for figure, told in (("kept", "connection kept"), ("ahead", "eight asked ahead")):
        what = f"{where}, one thread, {model} network, {told}"
        yield Row(what, f"{rates[figure]:,.0f}/s", beside, rates[figure] / rates["each"], 3)


def batches(url: str, where: str, folder: Path, repetitions: int) -> Iterator[Row]:
    body = folder / "events.f32"
    np.random.default_rng(3).normal(size=(EVENTS, WIDTH)).astype("<f4").tofile(body)
    asked = uploads = events = megabytes = 0.0
    for _ in range(repetitions):
        asked = max(asked, *measure("batches", url, BATCHES))
        uploads = max(uploads, curl(url, body))
    for _ in range(3):
        rate, memory = measure("million", url, 1)
        events, megabytes = max(events, rate), max(megabytes, memory)
    size = 4 * MILLION * WIDTH / 1e6
    beside = f"curl {uploads:,.0f} events/s"
    yield Row(f"{where}, batches of {EVENTS:,} × {WIDTH}", f"{asked:,.0f} events/s", beside, asked / uploads, 0.8)
    yield Row(f"{where}, 1,000,000 events one by one", f"{events:,.0f} events/s", beside, events / uploads, 0.5)
    yield Row(f"{where}, 1,000,000 events one by one, memory", f"{megabytes:.0f} MB", f"the events {size:.0f} MB",
              megabytes / size, 1, most=True)  # fmt: skip


def measure(figure: str, url: str, count: int, model: str = MODEL) -> list[float]:
    """What the program prints."""
    command = [BUILD / PROGRAM, figure, url, model, str(count)]
    return [float(number) for number in subprocess.check_output(command, text=True).split()]


def curl(url: str, body: Path) -> float:
    """Events/s of curl that uploads the same bytes again and again over one connection, the time to start it apart."""
    one = ["-o", "/dev/null", f"{url}/predict/batch?model={MODEL}&shape={EVENTS},{WIDTH}"]
    command = ["curl", "-sf", "-w", "%{time_total}\n", "-H", "Content-Type: application/octet-stream", "-H", "Expect:"]
    if url.startswith("https"):
        command += ["--cacert", os.environ["X509_CERT_DIR"]]
    times = subprocess.check_output([*command, "--data-binary", f"@{body}", *one * BATCHES], text=True).split()
    return EVENTS * BATCHES / sum(map(float, times))


if __name__ == "__main__":
    sys.exit(main())
