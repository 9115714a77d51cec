"""Several server processes behind one address."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from tests.networks import linear_onnx, loop_onnx
from tests.servers import Server, free_port, running_server
from tests.tfaas.test_server_process import tfaas

BODY = {"values": [1, 2, 3], "model": "three"}


def upload(server: Server, name: str = "three") -> None:
    httpx.post(
        f"{server.url}/upload",
        data={"name": name},
        files={"model": ("m.onnx", linear_onnx([1.0, 10.0, 100.0]))},
        timeout=60,
    ).raise_for_status()


def workers(server: Server) -> list[psutil.Process]:
    """The processes that serve, and not the one that helps Python's multiprocessing."""
    children = psutil.Process(server.process.pid).children()
    return [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]


def test_a_worker_that_dies_is_replaced_and_loses_only_what_it_was_answering(data_dir: Path) -> None:
    with running_server(data_dir, "--workers", "2") as server:
        upload(server)
        stop = time.monotonic() + 6

        def ask() -> tuple[int, int]:
            answered = lost = 0
            while time.monotonic() < stop:
                try:
                    with httpx.Client(timeout=20) as client:
                        while time.monotonic() < stop:
                            answer = client.post(f"{server.url}/json", json=BODY)
                            assert answer.status_code == 200, answer.text
                            assert answer.json() == [321.0]
                            answered += 1
                except httpx.TransportError:
                    lost += 1
            return answered, lost

        with ThreadPoolExecutor(10) as executor:
            counts = [executor.submit(ask) for _ in range(10)]
            time.sleep(1)
            first = workers(server)
            first[0].send_signal(signal.SIGKILL)
            results = [count.result() for count in counts]
        assert len(first) == 2
        assert len(workers(server)) == 2
        assert first[0].pid not in {worker.pid for worker in workers(server)}
        # A client loses at most the one request that was under way.
        assert all(answered > 0 and lost <= 1 for answered, lost in results), results


def test_preloaded_models_are_there_at_the_first_request_and_must_exist(data_dir: Path) -> None:
    missing = tfaas("serve", "--port", str(free_port()), "--data-dir", str(data_dir), "--preload", "three")
    assert (missing.returncode, missing.stderr) == (2, "tfaas: no model 'three': there is none yet\n")
    with running_server(data_dir) as server:
        upload(server)
        upload(server, "other")
    with running_server(data_dir, "--preload", "three", TFAAS_CACHE_MEMORY=str(1024**2)) as server:
        assert httpx.post(f"{server.url}/json", json=BODY).json() == [321.0]
        assert httpx.post(f"{server.url}/json", json=BODY | {"model": "other"}).json() == [321.0]
        assert httpx.post(f"{server.url}/json", json=BODY).json() == [321.0]


def test_which_runtime_serves_a_model_is_explained(data_dir: Path) -> None:
    with running_server(data_dir) as server:
        upload(server)
    explained = tfaas("models", "--explain", "three", "--data-dir", str(data_dir)).stdout
    assert explained.splitlines()[0] == "three:1"
    assert "served by    onnx: uploaded as ONNX" in explained
    assert "inputs       x float32 (n, 3)" in explained


@pytest.mark.parametrize("number", [1, 2])
def test_a_model_that_ends_its_process_is_quarantined_and_the_others_go_on(data_dir: Path, number: int) -> None:
    """A native runtime that aborts, played by the signal that it would raise, while the model runs."""
    slow = {"values": [1e9] * 64, "model": "loop"}
    quick = {"values": [0.0] * 64, "model": "loop"}
    with running_server(data_dir, "--workers", str(number)) as server:
        upload(server)
        files = {"model": ("m.onnx", loop_onnx())}
        httpx.post(f"{server.url}/upload", data={"name": "loop"}, files=files, timeout=60).raise_for_status()
        for round in (1, 2):
            assert httpx.post(f"{server.url}/json", json=quick, timeout=20).status_code == 200
            with ThreadPoolExecutor(1) as executor:
                lost = executor.submit(httpx.post, f"{server.url}/json", json=slow, timeout=20)
                busy = busy_worker(server)
                busy.send_signal(signal.SIGABRT)
                assert isinstance(lost.exception(), httpx.TransportError)
            wait_for_crashes(server, round)
            assert len(workers(server)) == number
        # The count is in the registry a moment before the other worker hears of it.
        deadline = time.monotonic() + 10
        while httpx.post(f"{server.url}/json", json=quick).status_code == 200:
            assert time.monotonic() < deadline
        time.sleep(1)
        for _ in range(20):
            answer = httpx.post(f"{server.url}/json", json=quick)
            assert answer.status_code == 500
            assert "loop:1 has ended the process that served it 2 times" in answer.json()["error"]
            assert httpx.post(f"{server.url}/json", json=BODY).json() == [321.0]
        # To be killed from outside is nobody's fault.
        workers(server)[0].kill()
        assert tfaas("release", "loop", "--data-dir", str(data_dir)).stdout == "loop:1 is served again\n"
        deadline = time.monotonic() + 10
        while httpx.post(f"{server.url}/json", json=quick).status_code != 200:
            assert time.monotonic() < deadline
        assert httpx.get(f"{server.url}/models/three/versions/1").json()["crashes"] == 0


def busy_worker(server: Server) -> psutil.Process:
    """The worker that computes, however little of the machine it gets."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        before = {worker: cpu_seconds(worker) for worker in workers(server)}
        time.sleep(0.5)
        used = {worker: cpu_seconds(worker) - seconds for worker, seconds in before.items()}
        busiest = max(used, key=lambda worker: used[worker])
        if used[busiest] > 0.05 and used[busiest] > sum(used.values()) / 2:
            return busiest
    raise AssertionError("no worker is busy")


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def wait_for_crashes(server: Server, crashes: int) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(f"{server.url}/models/loop/versions/1", timeout=5)
        except httpx.TransportError:
            continue
        if answer.json()["crashes"] == crashes:
            return
        time.sleep(0.1)
    raise AssertionError(f"{crashes} crashes were not counted")
