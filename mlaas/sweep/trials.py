"""One training of a sweep: a process of its own, in a folder of its own."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mlaas.cluster import open_cluster
from mlaas.interrupts import INTERRUPTED
from mlaas.wholefile import write_whole

# Ends of a process that say nothing about the training.
STOPPED = (INTERRUPTED, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP)
LOCK_SECONDS, STOP_SECONDS = 0.1, 1.0
STOP = "stop"


@dataclass(frozen=True)
class Trial:
    """What one training is asked for.

    Attributes:
        number: From 0.
        values: Of the parameters that vary.
        folder: For all of it. arguments: of `mlaas train`, less those that the trial has of its own.
        params: Fields of its params.json. cwd: where files are named from. threads: that it may use; 0 for all cores.
    """

    number: int
    values: Mapping[str, Any]
    folder: Path
    arguments: Sequence[str]
    params: Mapping[str, Any]
    cwd: Path
    threads: int

    @property
    def run(self) -> Path:
        """The folder of the training itself."""
        return self.folder / "run"

    @property
    def stop_file(self) -> Path:
        """While it is there, all trials of the sweep are to stop: also those of another machine."""
        return self.folder.parent / STOP

    def command(self) -> list[str]:
        """The training, or what is left of it."""
        train = [sys.executable, "-m", "mlaas.sweep.child", str(os.getpid()), "train"]
        if (self.run / "run.json").is_file():
            return [*train, "--resume", str(self.run)]
        return [*train, *self.arguments, "--params", str(self.folder / "params.json"), "--run", str(self.run)]

    def environment(self) -> dict[str, str]:
        """That of this process, with the threads that it may use."""
        names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
        return dict(os.environ) | (dict.fromkeys(names, str(self.threads)) if self.threads else {})


@dataclass(frozen=True)
class Outcome:
    """The summary of a training, or why there is none; what was interrupted can be gone on with."""

    summary: Mapping[str, Any] | None
    reason: str = ""
    interrupted: bool = False


class Trials(Protocol):
    """Runs trainings, several at a time."""

    size: int

    def run(self, trials: Sequence[Trial]) -> Generator[Outcome]:
        """In the order of ``trials``."""
        ...


class LocalTrials:
    """Processes of this machine."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._processes = Processes()

    def run(self, trials: Sequence[Trial]) -> Generator[Outcome]:
        with ThreadPoolExecutor(self.size) as pool:
            try:
                yield from pool.map(lambda trial: run_trial(trial, self._processes), trials)
            except BaseException:
                # They save themselves, to be gone on with; whoever asks again does not want to wait for that.
                try:
                    self._processes.stop()
                    pool.shutdown(cancel_futures=True)
                except KeyboardInterrupt:
                    self._processes.kill()
                raise


class DaskTrials:
    """Processes of a Dask cluster, whose workers see the same files."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self.size = cluster.workers

    def run(self, trials: Sequence[Trial]) -> Generator[Outcome]:
        try:
            yield from self._cluster.map(run_trial, trials)
        except BaseException:
            trials[0].stop_file.touch()  # a task that has begun can't be cancelled
            raise


class Processes:
    """Trainings that run, and none that starts once they are asked to stop."""

    def __init__(self) -> None:
        self.stopped = False
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()

    @contextmanager
    def started(self, trial: Trial, log: Any) -> Iterator[subprocess.Popen[str] | None]:
        """The process of a trial; None where they are to stop."""
        with self._lock:
            # In a session of its own, so that Ctrl-C comes from here only: a second signal would not let it save.
            process = None if self.stopped else subprocess.Popen(
                trial.command(), cwd=trial.cwd, env=trial.environment(), stdout=log, stderr=subprocess.PIPE,
                text=True, start_new_session=True,
            )  # fmt: skip
            if process is not None:
                self._running.add(process)
        try:
            yield process
        finally:
            if process is not None:
                self._running.discard(process)

    def stop(self) -> None:
        """Ask them to save themselves and end."""
        with self._lock:
            self.stopped = True
            for process in list(self._running):
                process.terminate()

    def kill(self) -> None:
        """End them now; waited for here, since a thread that was joined by an interrupted caller isn't joined again."""
        self.stopped = True
        running = list(self._running)
        for process in running:
            process.kill()
        for process in running:
            process.wait()


@contextmanager
def open_trials(dask: str | None, processes: int) -> Iterator[Trials]:
    """Where to run trainings; raises ParameterError where there is no cluster at ``dask``."""
    if dask is None:
        yield LocalTrials(processes)
        return
    with open_cluster(dask, None) as cluster:
        yield DaskTrials(cluster)


def finished(trial: Trial) -> Outcome | None:
    """The outcome of a trial that has ended, in this sweep or before it was resumed."""
    for path in (trial.run / "summary.json", trial.folder / "failed.json"):
        if path.is_file():
            content = json.loads(path.read_bytes())
            return Outcome(content) if path.parent == trial.run else Outcome(None, content["reason"])
    return None


def run_trial(trial: Trial, processes: Processes | None = None) -> Outcome:
    """Train, unless it has been done.

    Args:
        processes: where its process is noted while it runs.
    """
    processes = processes or Processes()
    _wait_until_free(trial.run, processes)
    done = finished(trial)
    if done is not None:
        return done
    trial.folder.mkdir(parents=True, exist_ok=True)
    if not (trial.run / "run.json").is_file():
        shutil.rmtree(trial.run, ignore_errors=True)
        write_whole(trial.folder / "params.json", json.dumps(trial.params, indent=1).encode())
    with (trial.folder / "log").open("a") as log, processes.started(trial, log) as process:
        if process is None:
            return Outcome(None, "interrupted", interrupted=True)
        errors = _errors(process, trial.stop_file)
        log.write(errors)
    done = finished(trial)
    if done is not None:
        return done
    if process.returncode in STOPPED or processes.stopped:
        return Outcome(None, "interrupted", interrupted=True)
    reason = next(reversed(errors.strip().splitlines()), _end(process.returncode)).removeprefix("mlaas: ")
    write_whole(trial.folder / "failed.json", json.dumps({"reason": reason}).encode())
    return Outcome(None, reason)


def _errors(process: subprocess.Popen[str], stop: Path) -> str:
    """Wait for a training, and ask it once to stop where the file ``stop`` appears: what it says about errors."""
    asked = False
    while True:
        try:
            return process.communicate(timeout=STOP_SECONDS)[1]
        except subprocess.TimeoutExpired:
            if stop.exists() and not asked:
                process.terminate()
                asked = True


def _wait_until_free(run: Path, processes: Processes) -> None:
    """Wait for the process of a sweep that was killed, which is about to save itself."""
    with contextlib.suppress(FileNotFoundError), (run / "run.json").open() as file:
        while not processes.stopped:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(LOCK_SECONDS)
            else:
                return


def _end(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
