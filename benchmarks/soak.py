"""`make soak`: mixed clients on mixed models for minutes, while models come and go and workers are killed.

Every answer must be that of a version that was current at some time during the request; requests may be lost only where
a worker has just been killed. Exit code 1 where anything else was seen.
"""

import argparse
import itertools
import json
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import psutil
from onnx import TensorProto, helper, numpy_helper
from tfaas_client.tfaas_pb2 import DataFrame, Outputs, Predictions, Row

from benchmarks.models import cycles
from benchmarks.network import KEYS as NETWORK_KEYS
from benchmarks.network import MODEL as NETWORK
from benchmarks.network import VALUES as NETWORK_VALUES
from benchmarks.network import saved_model_bundle
from benchmarks.servers import running_tfaas
from benchmarks.table import HEAD, machine, show

CLIENTS = 24
MODELS = ("a", "b", "c")
KEYS = ["x", "y", "z"]
KILL_SECONDS = 20.0
AFTER_A_KILL = 1.5
CYCLES = 1000


class Versions:
    """What each model may answer: version n multiplies the sum of its inputs by n."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = dict.fromkeys(MODELS, 0)
        self._served = dict.fromkeys(MODELS, 0)

    def begin(self, model: str) -> int:
        """The number of an upload that is about to be made."""
        with self._lock:
            self._begun[model] += 1
            return self._begun[model]

    def done(self, model: str, number: int) -> None:
        with self._lock:
            self._served[model] = max(self._served[model], number)

    def oldest(self, model: str) -> int:
        with self._lock:
            return self._served[model]

    def newest(self, model: str) -> int:
        with self._lock:
            return self._begun[model]


class Soak:
    """The state that all threads share."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.versions = Versions()
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.killed = -1e9
        self.stopping = threading.Event()
        self._pid = pid

    def kill_workers(self) -> None:
        turns = itertools.count()
        while not self.stopping.wait(KILL_SECONDS):
            workers = [
                child
                for child in psutil.Process(self._pid).children()
                if "resource_tracker" not in " ".join(child.cmdline())
            ]
            self.killed = time.monotonic()
            workers[next(turns) % len(workers)].send_signal(signal.SIGKILL)
            self.counts["killed workers"] += 1

    def upload_versions(self) -> None:
        for model in itertools.cycle(MODELS):
            if self.stopping.wait(0.5):
                return
            self._retried("uploads", lambda model=model: self._upload(model))  # type: ignore[misc]

    def upload_and_delete(self) -> None:
        """A model that comes and goes; a client that asks for it sees it or a 404."""
        while not self.stopping.wait(0.3):
            self._retried("passing models", self._pass_by)

    def ask(self, number: int) -> None:
        generator = np.random.default_rng(number)
        kinds: list[Callable[[httpx.Client, np.random.Generator], None]] = [
            self._by_json, self._by_position, self._by_proto, self._by_batch, self._by_raw, self._by_frame,
            self._network,
        ]  # fmt: skip
        client = httpx.Client(base_url=self.url, timeout=60)
        while not self.stopping.is_set():
            kind = kinds[generator.integers(len(kinds))]
            started = time.monotonic()
            try:
                kind(client, generator)
                self.counts["answers"] += 1
            except httpx.TransportError as error:
                # The connection may have been open to the worker that was killed, however long ago it last answered.
                if not (self.killed >= started - AFTER_A_KILL or self._was_idle(error)):
                    self.wrong.append(f"lost without a kill: {error!r}")
                self.counts["lost to kills"] += 1
                client.close()
                client = httpx.Client(base_url=self.url, timeout=60)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is found
                self.wrong.append(repr(error)[:300])

    def _was_idle(self, error: httpx.TransportError) -> bool:
        return isinstance(error, httpx.RemoteProtocolError) and time.monotonic() - self.killed < 2 * KILL_SECONDS

    def _retried(self, what: str, work: Callable[[], None]) -> None:
        try:
            work()
            self.counts[what] += 1
        except httpx.TransportError:
            if time.monotonic() - self.killed > 30:
                self.wrong.append(f"{what}: lost without a kill")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is found
            self.wrong.append(f"{what}: {error!r}"[:300])

    def _upload(self, model: str) -> None:
        number = self.versions.begin(model)
        files = {"model": ("m.onnx", sum_onnx(number)), "params": ("p.json", json.dumps({"features": KEYS}))}
        httpx.post(f"{self.url}/upload", data={"name": model}, files=files, timeout=60).raise_for_status()
        self.versions.done(model, number)

    def _pass_by(self) -> None:
        files = {"model": ("m.onnx", sum_onnx(7))}
        httpx.post(f"{self.url}/upload", data={"name": "passing"}, files=files, timeout=60).raise_for_status()
        answer = httpx.post(f"{self.url}/json", json={"model": "passing", "values": [1, 2, 3]}, timeout=60)
        self._expect(answer.json() == [42.0], f"passing: {answer.text}")
        httpx.delete(f"{self.url}/delete/passing", timeout=60).raise_for_status()
        answer = httpx.post(f"{self.url}/json", json={"model": "passing", "values": [1, 2, 3]}, timeout=60)
        self._expect(answer.status_code == 404, f"deleted, and yet {answer.text}")

    def _check(self, model: str, ask: Callable[[], httpx.Response], events: np.ndarray,
               read: Callable[[bytes], np.ndarray]) -> None:  # fmt: skip
        oldest = self.versions.oldest(model)
        answer = ask()
        newest = self.versions.newest(model)
        if answer.status_code != 200:
            self.wrong.append(f"{model}: {answer.status_code} {answer.text[:200]}")
            return
        got = read(answer.content).ravel()
        numbers = got / events.sum(axis=1)
        # One request is answered by one version, and that was current.
        same = np.allclose(numbers, numbers[0], 1e-4) and abs(numbers[0] - round(numbers[0])) < 1e-3
        self._expect(same and oldest <= round(numbers[0]) <= newest, f"{model}: {numbers[:3]} not in {oldest}-{newest}")

    def _expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.wrong.append(otherwise)

    def _by_json(self, client: httpx.Client, generator: np.random.Generator) -> None:
        model, events = _any(generator, 1)
        body = {"model": model, "keys": KEYS[::-1], "values": events[0, ::-1].tolist()}
        self._check(model, lambda: client.post("/json", json=body), events, _from_json)

    def _by_position(self, client: httpx.Client, generator: np.random.Generator) -> None:
        model, events = _any(generator, 1)
        body = {"model": model, "values": events[0].tolist()}
        self._check(model, lambda: client.post("/predict/json", json=body), events, _from_json)

    def _by_proto(self, client: httpx.Client, generator: np.random.Generator) -> None:
        model, events = _any(generator, 1)
        row = Row(key=KEYS, value=events[0], model=model).SerializeToString()
        self._check(model, lambda: client.post("/proto", content=row), events,
                    lambda body: np.array([Predictions.FromString(body).prediction[0].probability]))  # fmt: skip

    def _by_batch(self, client: httpx.Client, generator: np.random.Generator) -> None:
        model, events = _any(generator, 50)
        body = {"model": model, "columns": {key: events[:, at].tolist() for at, key in enumerate(KEYS)}}
        self._check(model, lambda: client.post("/json", json=body), events, _from_json)

    def _by_raw(self, client: httpx.Client, generator: np.random.Generator) -> None:
        model, events = _any(generator, 3000)
        path = f"/predict/batch?model={model}&shape=3000,3"
        headers, content = {"content-type": "application/octet-stream"}, events.tobytes()
        self._check(model, lambda: client.post(path, content=content, headers=headers), events,
                    lambda body: np.frombuffer(body, "<f4"))  # fmt: skip

    def _by_frame(self, client: httpx.Client, generator: np.random.Generator) -> None:
        model, events = _any(generator, 20)
        frame = DataFrame(row=[Row(key=KEYS, value=event, model=model) for event in events]).SerializeToString()
        headers = {"content-type": "application/x-protobuf"}
        self._check(model, lambda: client.post("/predict/batch", content=frame, headers=headers), events,
                    lambda body: np.array(Outputs.FromString(body).output[0].value))  # fmt: skip

    def _network(self, client: httpx.Client, generator: np.random.Generator) -> None:
        body = {"model": NETWORK, "keys": NETWORK_KEYS, "values": NETWORK_VALUES}
        answer = client.post("/json", json=body)
        self._expect(answer.status_code == 200 and 0 <= answer.json()[0] <= 1, f"network: {answer.text[:200]}")


def sum_onnx(factor: int) -> bytes:
    """Answers `factor` times the sum of three numbers."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "sum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(np.full((3, 1), factor, np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _any(generator: np.random.Generator, events: int) -> tuple[str, np.ndarray]:
    return str(generator.choice(MODELS)), generator.uniform(1, 2, (events, 3)).astype(np.float32)


def _from_json(body: bytes) -> np.ndarray:
    return np.array(json.loads(body), np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of mixed load")
    parser.add_argument("--cycles", type=int, default=CYCLES, help="of upload, predict, delete afterwards")
    options = parser.parse_args()
    print(machine())
    wrong = _mixed(options.minutes * 60)
    print(f"\n{HEAD}")
    with running_tfaas() as url:
        rows = list(cycles(url, False, options.cycles))
        show(rows)
    if wrong or not all(row.met for row in rows):
        sys.exit("\n".join(["the soak has found:", *wrong[:20], *(row.what for row in rows if not row.met)]))


def _mixed(seconds: float) -> list[str]:
    with running_tfaas("--workers", "2") as url:
        soak = Soak(url, _process_of(url))
        httpx.post(f"{url}/upload", content=saved_model_bundle(), timeout=120).raise_for_status()
        for model in MODELS:
            soak._upload(model)
        work: list[Callable[[], None]] = [soak.kill_workers, soak.upload_versions, soak.upload_and_delete]
        with ThreadPoolExecutor(CLIENTS + len(work)) as executor:
            running = [executor.submit(one) for one in work]
            running += [executor.submit(soak.ask, number) for number in range(CLIENTS)]
            soak.stopping.wait(seconds)
            soak.stopping.set()
            for one in running:
                one.result()
    for what, count in sorted(soak.counts.items()):
        print(f"{what}: {count:,}")
    print(f"wrong: {len(soak.wrong)}")
    return soak.wrong


def _process_of(url: str) -> int:
    """The process that `running_tfaas` has started."""
    port = url.rpartition(":")[2]
    return next(child.pid for child in psutil.Process().children() if port in child.cmdline())


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
