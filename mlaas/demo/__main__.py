"""Makes the sample, trains, publishes, serves, asks for predictions in three ways, and compares."""

import argparse
import contextlib
import json
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tfaas_client import Client, TransportError

from mlaas.demo.sample import write_sample

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
EVENTS = 4000
ASKED = 20
TOLERANCE = 1e-5
READY_SECONDS = 30.0

Row = dict[str, float | list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--cpp", type=Path, required=True, help="build folder of the C++ client")
    parser.add_argument("--folder", type=Path, default=Path("build/demo"), help="where the files go")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    data_dir, bundle = options.folder / "data", options.folder / "demo.tar.gz"
    data_dir.mkdir(exist_ok=True)
    database = f"sqlite:///{(data_dir / 'registry.db').resolve()}"

    _headline("A sample of two processes, in ROOT files with flat and jagged branches")
    files = {"signal": 1, "background": 0}
    for seed, name in enumerate(files):
        path = options.folder / f"{name}.root"
        write_sample(path, EVENTS, name == "signal", seed)
        print(f"{path}: {EVENTS} events, {path.stat().st_size // 1024} KiB")

    _headline("Train and publish")
    summary_path = options.folder / "summary.json"
    _run(
        *(str(BIN / "mlaas"), "train", "--name", "demo", "--model", str(HERE / "model.py")),
        *("--files", ",".join(str(options.folder / f"{name}.root") for name in files)),
        *("--labels", ",".join(str(label) for label in files.values())),
        *("--params", str(HERE / "params.json"), "--seed", "7", "--summary", str(summary_path)),
        *("--fout", str(bundle), "--publish", database),
        *("--run", str(options.folder / "run")),
    )
    summary = json.loads(summary_path.read_text())

    _headline("Serve, and ask for the same events over JSON, ProtoBuffer and from C++")
    with _server(data_dir) as url:
        worst = _compare(url, f"demo:{summary['version']}", options.cpp / "tfaas-cpp", bundle)
    print(f"\nAUC on {summary['events_by_part']['test']} events that no epoch has seen: {summary['test_auc']:.4f}")
    if worst > TOLERANCE:
        sys.exit(f"the answers differ by {worst:.2g} from the model in the training process: expected {TOLERANCE}")
    print(f"all three ways agree with the model in the training process to {worst:.1g}")
    _headline("What to try next")
    print(f"{BIN}/tfaas serve --data-dir {data_dir}        # the same registry, on http://localhost:8083")
    print(f"{BIN}/tfaas-client models                      # what is served there")
    print("your own files: see 'Train on your own files' in README.md")


def _compare(url: str, model: str, cpp: Path, bundle: Path) -> float:
    """Print predictions of the bundle's reference events; the largest difference from the training process."""
    rows, expected = _reference(bundle)
    with Client(url) as client:
        by_json = [float(client.predict(model, row)[0]) for row in rows]
        by_proto = [float(client.predict(model, row, wire="proto")[0]) for row in rows]
    by_cpp = [_ask_cpp(cpp, url, model, row) for row in rows]
    print(f"{'event':>5} {'trained':>11} {'JSON':>11} {'ProtoBuffer':>11} {'C++':>11}")
    for index in range(0, len(rows), 4):
        answers = (expected[index], by_json[index], by_proto[index], by_cpp[index])
        print(f"{index:>5} " + " ".join(f"{answer:>11.7f}" for answer in answers))
    return max(float(np.abs(np.array(answers) - expected).max()) for answers in (by_json, by_proto, by_cpp))


def _reference(bundle: Path) -> tuple[list[Row], np.ndarray[Any, Any]]:
    """Events of the bundle with their raw values by branch name, and what the training process answered."""
    with tarfile.open(bundle) as archive:
        params, reference = (_member(archive, name) for name in ("demo/params.json", "demo/reference.json"))
    rows: list[Row] = []
    chosen = slice(None, None, max(1, len(reference["inputs"]) // ASKED))
    for values in reference["inputs"][chosen]:
        row, start = Row(), 0
        for feature in params["features"]:
            numbers = values[start : start + feature["dim"]]
            if feature["kind"] == "jagged":
                row[feature["name"]] = [number for number in numbers if number is not None]
            else:
                row[feature["name"]] = float("nan") if numbers[0] is None else numbers[0]
            start += feature["dim"]
        rows.append(row)
    return rows, np.array(reference["outputs"][chosen])[:, 0]


def _member(archive: tarfile.TarFile, name: str) -> Any:
    file = archive.extractfile(name)
    if file is None:
        raise FileNotFoundError(name)
    return json.load(file)


def _ask_cpp(program: Path, url: str, model: str, row: Mapping[str, float | list[float]]) -> float:
    pairs = []
    for key, value in row.items():
        numbers = value if isinstance(value, list) else [value]
        pairs += [f"{key}={number!r}" for number in numbers or [float("nan")]]
    done = subprocess.run(
        [program, "--url", url, "--model", model, "--json", *pairs], stdout=subprocess.PIPE, text=True, check=True
    )
    return float(json.loads(done.stdout)[0])


@contextlib.contextmanager
def _server(data_dir: Path) -> Iterator[str]:
    """A server on a free port; it is gone when the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [str(BIN / "tfaas"), "serve", "--port", str(port), "--data-dir", str(data_dir), "--log-level", "warning"]
    print("$", *command)
    process = subprocess.Popen(command)
    try:
        _wait_until_ready(url, process)
        yield url
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    started = time.monotonic()
    with Client(url) as client:
        while time.monotonic() - started < READY_SECONDS and process.poll() is None:
            with contextlib.suppress(TransportError):
                client.models()
                print(f"ready after {time.monotonic() - started:.1f} s")
                return
            time.sleep(0.05)
    sys.exit("the server did not become ready")


def _run(*command: str) -> None:
    print("$", *command)
    done = subprocess.run(command)
    if done.returncode:
        sys.exit(done.returncode)


def _headline(text: str) -> None:
    print(f"\n=== {text}", flush=True)


if __name__ == "__main__":
    main()
