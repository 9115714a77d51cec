"""One training of a sweep: a process of its own, in a folder of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mlaas.cluster import open_cluster
from mlaas.wholefile import write_whole

INTERRUPTED = 130


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

    def command(self) -> list[str]:
        """The training, or what is left of it."""
        run = self.folder / "run"
        mlaas = [sys.executable, "-m", "mlaas", "train"]
        if (run / "checkpoint").is_file():
            return [*mlaas, "--resume", str(run)]
        return [*mlaas, *self.arguments, "--params", str(self.folder / "params.json"), "--run", str(run)]


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
        self._running: set[subprocess.Popen[str]] = set()

    def run(self, trials: Sequence[Trial]) -> Generator[Outcome]:
        with ThreadPoolExecutor(self.size) as pool:
            try:
                yield from pool.map(lambda trial: run_trial(trial, self._running), trials)
            except BaseException:
                # They save themselves, to be gone on with.
                pool.shutdown(wait=False, cancel_futures=True)
                for process in list(self._running):
                    process.send_signal(signal.SIGTERM)
                raise


class DaskTrials:
    """Processes of a Dask cluster, whose workers see the same files."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self.size = cluster.workers

    def run(self, trials: Sequence[Trial]) -> Generator[Outcome]:
        yield from self._cluster.map(run_trial, trials)


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
    for name in ("run/summary.json", "failed.json"):
        path = trial.folder / name
        if path.is_file():
            content = json.loads(path.read_bytes())
            return Outcome(content) if name.startswith("run") else Outcome(None, content["reason"])
    return None


def run_trial(trial: Trial, running: set[subprocess.Popen[str]] | None = None) -> Outcome:
    """Train, unless it has been done.

    Args:
        running: where the process is noted while it runs.
    """
    done = finished(trial)
    if done is not None:
        return done
    trial.folder.mkdir(parents=True, exist_ok=True)
    write_whole(trial.folder / "params.json", json.dumps(trial.params, indent=1).encode())
    environment = dict(os.environ)
    if trial.threads:
        names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
        environment |= dict.fromkeys(names, str(trial.threads))
    with (trial.folder / "log").open("a") as log:
        # In a session of its own, so that Ctrl-C comes from here only: a second signal would not let it save.
        process = subprocess.Popen(
            trial.command(),
            cwd=trial.cwd,
            env=environment,
            stdout=log,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        running = set() if running is None else running
        running.add(process)
        _, errors = process.communicate()
        running.discard(process)
        log.write(errors)
    done = finished(trial)
    if done is not None:
        return done
    if process.returncode == INTERRUPTED:
        return Outcome(None, "interrupted", interrupted=True)
    reason = next(reversed(errors.strip().splitlines()), f"exit code {process.returncode}").removeprefix("mlaas: ")
    write_whole(trial.folder / "failed.json", json.dumps({"reason": reason}).encode())
    return Outcome(None, reason)
