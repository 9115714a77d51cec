"""Several server processes behind one address."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil

from tests.networks import linear_onnx
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
