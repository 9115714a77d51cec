"""`python -m benchmarks.clients_cpp`: what the C++ client does, each figure beside what it is compared with."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.models import SMALL, upload_onnx
from benchmarks.network import HIDDEN, WIDTH, onnx_bytes
from benchmarks.servers import ROOT, running_tfaas
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
    with running_tfaas() as url, tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        upload_onnx(url, MODEL, onnx_bytes(hidden=SMALL))
        upload_onnx(url, LARGE, onnx_bytes(hidden=HIDDEN))
        rows = figures(url, Path(folder), repetitions)
        show(rows)
    return 0 if all(row.met for row in rows) else 1


def figures(url: str, folder: Path, repetitions: int) -> list[Row]:
    """The best of some short runs each, taken in turn: other work on the machine hits both sides."""
    body = folder / "events.f32"
    np.random.default_rng(3).normal(size=(EVENTS, WIDTH)).astype("<f4").tofile(body)
    batches = uploads = events = megabytes = 0.0
    single = [connections(url, model, repetitions) for model in (MODEL, LARGE)]
    for _ in range(repetitions):
        batches = max(batches, *measure("batches", url, BATCHES))
        uploads = max(uploads, curl(url, body))
    for _ in range(3):
        rate, memory = measure("million", url, 1)
        events, megabytes = max(events, rate), max(megabytes, memory)
    size = 4 * MILLION * WIDTH / 1e6
    return [
        *single,
        Row(f"batches of {EVENTS:,} × {WIDTH}", f"{batches:,.0f} events/s", f"curl {uploads:,.0f} events/s",
            batches / uploads, 0.8),
        Row("1,000,000 events one by one", f"{events:,.0f} events/s", f"curl {uploads:,.0f} events/s",
            events / uploads, 0.5),
        Row("1,000,000 events one by one, memory", f"{megabytes:.0f} MB", f"the events {size:.0f} MB", megabytes / size,
            1, most=True),
    ]  # fmt: skip


def connections(url: str, model: str, repetitions: int) -> Row:
    """Single events of one thread."""
    kept = each = 0.0
    for _ in range(repetitions):
        kept = max(kept, *measure("kept", url, REQUESTS, model))
        each = max(each, *measure("each", url, REQUESTS, model))
    told = f"one thread, {model} network, connection kept"
    return Row(told, f"{kept:,.0f}/s", f"connection each {each:,.0f}/s", kept / each, 3)


def measure(figure: str, url: str, count: int, model: str = MODEL) -> list[float]:
    """What the program prints."""
    command = [BUILD / PROGRAM, figure, url, model, str(count)]
    return [float(number) for number in subprocess.check_output(command, text=True).split()]


def curl(url: str, body: Path) -> float:
    """Events/s of curl that uploads the same bytes again and again over one connection, the time to start it apart."""
    one = ["-o", "/dev/null", f"{url}/predict/batch?model={MODEL}&shape={EVENTS},{WIDTH}"]
    command = ["curl", "-sf", "-w", "%{time_total}\n", "-H", "Content-Type: application/octet-stream", "-H", "Expect:"]
    times = subprocess.check_output([*command, "--data-binary", f"@{body}", *one * BATCHES], text=True).split()
    return EVENTS * BATCHES / sum(map(float, times))


if __name__ == "__main__":
    sys.exit(main())
