"""`make soak`: mixed clients on mixed models for minutes, while models come and go and workers are killed.

Every answer must be that of a version that was current at some time during the request. A request may be lost only
where it was under way in a worker when that was killed, and is then answered when it is sent again. Exit code 1 where
anything else was seen.
"""

import argparse
import itertools
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil

from benchmarks.connection import Connection, Lost
from benchmarks.large import large_bundle
from benchmarks.models import cycles
from benchmarks.network import saved_model_bundle
from benchmarks.questions import KEYS, Question, network_question, sum_onnx, sum_question
from benchmarks.servers import BIN, ends_as_interrupted, running_tfaas
from benchmarks.table import HEAD, machine, show

CLIENTS = 24
MODELS = ("a", "b", "c")
NETWORK_SHARE = 0.1
KILL_SECONDS = 20.0
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


class Kills:
    """Which connections each killed worker had, and when it ended."""

    def __init__(self, server: psutil.Process) -> None:
        self._server = server
        self._kills: list[tuple[float, set[int]]] = []

    def kill(self, turn: int) -> bool:
        """Kill a worker, unless none is up at the moment."""
        workers = [child for child in self._server.children() if "resource_tracker" not in " ".join(child.cmdline())]
        if not workers:
            return False
        worker = workers[turn % len(workers)]
        worker.send_signal(signal.SIGSTOP)  # what it has accepted by now is all that it will ever accept
        ports = {connection.raddr.port for connection in worker.net_connections("tcp") if connection.raddr}
        # Known before the first client can notice.
        self._kills.append((float("inf"), ports))
        worker.kill()
        worker.wait()
        self._kills[-1] = (time.monotonic(), ports)
        return True

    def explain(self, lost: Lost) -> bool:
        """Whether the request was under way in a worker when that was killed."""
        return any(lost.port in ports and lost.started <= ended for ended, ports in self._kills)


class Soak:
    """The state that all threads share."""

    def __init__(self, url: str, kills: Kills) -> None:
        self.url = url
        self.versions = Versions()
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.stopping = threading.Event()
        self._kills = kills

    def kill_workers(self) -> None:
        for turn in itertools.count():
            if self.stopping.wait(KILL_SECONDS):
                return
            self.counts["killed workers"] += self._kills.kill(turn)

    def upload_versions(self) -> None:
        connection = Connection(self.url)
        for model in itertools.cycle(MODELS):
            if self.stopping.wait(0.5):
                return
            with self._noting("upload"):
                self.upload(connection, model)
                self.counts["uploads"] += 1

    def upload_and_delete(self) -> None:
        """A model that comes and goes; a client that asks for it sees it or a 404."""
        connection = Connection(self.url)
        while not self.stopping.wait(0.3):
            with self._noting("passing model"):
                self._pass_by(connection)
                self.counts["passing models"] += 1

    def ask(self, number: int) -> None:
        connection = Connection(self.url)
        for turn in itertools.count():
            if self.stopping.is_set():
                return
            with self._noting("question"):
                self._ask(connection, [number, turn])
                self.counts["answers"] += 1

    def upload(self, connection: Connection, model: str) -> None:
        number = self.versions.begin(model)
        self._expect_200(self._send(connection, "POST", "/upload", *_form(model, sum_onnx(number))))
        self.versions.done(model, number)

    def _ask(self, connection: Connection, seed: list[int]) -> None:
        generator = np.random.default_rng(seed)
        if generator.random() < NETWORK_SHARE:
            question = network_question(seed)
            answer = self._answer(connection, question)
            self._expect(np.allclose(answer, question.expected, atol=1e-5), f"network: {answer}")
            return
        question = sum_question(str(generator.choice(MODELS)), seed)
        oldest = self.versions.oldest(question.model)
        ratios = self._answer(connection, question) / question.expected
        newest = self.versions.newest(question.model)
        # One request is answered by one version, and that was current.
        version = round(float(ratios[0]))
        self._expect(
            np.allclose(ratios, version, rtol=1e-4) and oldest <= version <= newest,
            f"{question.path} {question.model}: versions {ratios[:3]} of {oldest} to {newest}",
        )

    def _answer(self, connection: Connection, question: Question) -> np.ndarray:
        answer = self._send(connection, "POST", question.path, question.body, question.headers)
        self._expect_200(answer)
        numbers = question.read(answer[1])
        self._expect(numbers.shape == question.expected.shape, f"{question.path}: {numbers.shape}")
        return numbers

    def _pass_by(self, connection: Connection) -> None:
        question = json.dumps({"model": "passing", "values": [1, 2, 3]}).encode()
        self._expect_200(self._send(connection, "POST", "/upload", *_form("passing", sum_onnx(7))))
        status, body = self._send(connection, "POST", "/json", question, {})
        self._expect(status == 200 and json.loads(body) == [42.0], f"passing: {status} {body[:200]!r}")
        lost = self.counts["lost to kills"]
        status, body = self._send(connection, "DELETE", "/delete/passing", b"", {})
        done_before = status == 404 and self.counts["lost to kills"] > lost
        self._expect(status == 200 or done_before, f"deleted: {status} {body[:200]!r}")
        status, body = self._send(connection, "POST", "/json", question, {})
        self._expect(status == 404, f"deleted, and yet {body[:200]!r}")

    def _send(
        self, connection: Connection, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        """The answer, however often its worker is killed meanwhile."""
        while True:
            try:
                return connection.send(method, path, body, headers)
            except Lost as lost:
                self._expect(self._kills.explain(lost), f"{method} {path} was lost without a kill: {lost}")
                self.counts["lost to kills"] += 1

    def _expect_200(self, answer: tuple[int, bytes]) -> None:
        self._expect(answer[0] == 200, f"{answer[0]} {answer[1][:200]!r}")

    def _expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise Wrong(otherwise)

    def _noting(self, what: str) -> "_Noting":
        return _Noting(self.wrong, what)


class Wrong(Exception):
    """An answer that must not be."""


class _Noting:
    """Writes down what is found, and lets the thread go on."""

    def __init__(self, wrong: list[str], what: str) -> None:
        self._wrong = wrong
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, Exception):
            self._wrong.append(f"{self._what}: {error if isinstance(error, Wrong) else repr(error)}"[:400])
        return isinstance(error, Exception)


def _form(name: str, model: bytes) -> tuple[bytes, dict[str, str]]:
    """Body and headers of an upload."""
    files = {"model": ("m.onnx", model), "params": ("p.json", json.dumps({"features": KEYS}))}
    request = httpx.Request("POST", "http://server/upload", data={"name": name}, files=files)
    return request.read(), {"content-type": request.headers["content-type"]}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of mixed load")
    parser.add_argument("--cycles", type=int, default=CYCLES, help="of upload, predict, delete afterwards")
    parser.add_argument("--megabytes", type=int, default=1024, help="of the large bundle at the end")
    options = parser.parse_args()
    print(machine(), flush=True)
    wrong = _mixed(options.minutes * 60)
    print(f"\n{HEAD}", flush=True)
    with running_tfaas() as url:
        rows = list(cycles(url, False, options.cycles))
        show(rows)
    large = list(large_bundle(options.megabytes))
    show(large)
    wrong += [row.what for row in [*rows, *large] if not row.met]
    if wrong:
        sys.exit("\n".join(["the soak has found:", *wrong[:20]]))


def _mixed(seconds: float) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        with running_tfaas("--workers", "2", "--data-dir", folder) as url:
            soak = Soak(url, Kills(_process_of(url)))
            httpx.post(f"{url}/upload", content=saved_model_bundle(), timeout=120).raise_for_status()
            for model in MODELS:
                soak.upload(Connection(url), model)
            work: list[Callable[[], None]] = [soak.kill_workers, soak.upload_versions, soak.upload_and_delete]
            with ThreadPoolExecutor(CLIENTS + len(work)) as executor:
                running = [executor.submit(one) for one in work]
                running += [executor.submit(soak.ask, number) for number in range(CLIENTS)]
                try:
                    soak.stopping.wait(seconds)
                finally:
                    soak.stopping.set()
                for one in running:
                    one.result()
        soak.wrong += _left_behind(Path(folder))
    for what, count in sorted(soak.counts.items()):
        print(f"{what}: {count:,}")
    print(f"wrong: {len(soak.wrong)}")
    return soak.wrong


def _left_behind(folder: Path) -> list[str]:
    """What the server should not have left: an inconsistent registry, temporary files."""
    check = subprocess.run([BIN / "tfaas", "db", "check", "--data-dir", folder], capture_output=True, text=True)
    found = [] if check.returncode == 0 else [f"tfaas db check: {check.stdout} {check.stderr}"]
    return found + [f"left behind: {path.relative_to(folder)}" for path in (folder / "tmp").glob("[!.]*")]


def _process_of(url: str) -> psutil.Process:
    """The process that `running_tfaas` has started."""
    port = url.rpartition(":")[2]
    return next(child for child in psutil.Process().children() if port in child.cmdline())


if __name__ == "__main__":
    ends_as_interrupted(main)
