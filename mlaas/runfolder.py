"""The folder of a training run: what it was asked for, its checkpoint, and what it has given."""

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from mlaas import __version__
from mlaas.dataset import EventData
from mlaas.errors import DataError, MlaasError, ParameterError
from mlaas.options import TrainOptions
from mlaas.wholefile import UNFINISHED, write_whole

RUNS = Path("mlaas-runs")
INPUTS = ("model", "params", "preproc")


class RunFolder:
    """A folder in which a training run keeps everything.

    Attributes:
        path: The folder. options: What the run was asked for.
        checkpoint: File for how far the training has come. bundle, summary: Files of what it has given.
        test: File of the answers to the test part, of a training that is one of several folds.
    """

    def __init__(self, path: Path, options: TrainOptions, name: str) -> None:
        self.path = path
        self.options = options
        self.checkpoint = path / "checkpoint"
        self.bundle = path / f"{name}.tar.gz"
        self.summary = path / "summary.json"
        self.test = path / "test.npz"

    @classmethod
    def create(cls, options: TrainOptions, name: str) -> "RunFolder":
        """Make the folder that is asked for, or `mlaas-runs/<name>-<time>`.

        Raises:
            ParameterError: It is there already, or can't be made.
        """
        path = options.run or _fresh(RUNS / f"{name}-{datetime.now():%Y%m%d-%H%M%S}")
        about = {
            "mlaas": __version__,
            "started_in": str(Path.cwd()),
            "name": name,
            "options": options.to_json(),
            "digests": _digests(options),
        }
        try:
            path.mkdir(parents=True)
        except FileExistsError as error:
            hint = f"; to go on with it: mlaas train --resume {path}" if (path / "run.json").is_file() else ""
            raise ParameterError(f"--run {path} is there already: expected a new folder{hint}") from error
        except OSError as error:
            raise ParameterError(f"--run {path}: {error.strerror}") from error
        run = cls(path, options, name)
        write_whole(path / "run.json", (json.dumps(about, indent=1) + "\n").encode())
        return run

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """The folder of a run that goes on.

        Raises:
            ParameterError: It is no such folder, the run was started elsewhere, or a file that it was asked to use has
                changed since.
        """
        about = _read(path)
        try:
            options, started_in, name = TrainOptions.from_json(about["options"]), about["started_in"], about["name"]
            digests = about["digests"]
        except (KeyError, TypeError) as error:
            raise ParameterError(f"{path}/run.json was not written by mlaas {__version__}: {error}") from error
        if Path.cwd() != Path(started_in):
            raise ParameterError(f"the run was started in {started_in}: go there, since its files are named from there")
        for name_of, digest in _digests(options).items():
            if digests.get(name_of) != digest:
                raise ParameterError(
                    f"--{name_of} {getattr(options, name_of)} has changed since the run was started; expected the same"
                )
        return cls(path, options, name)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep other processes from going on with the run at the same time; raises MlaasError."""
        with (self.path / "run.json").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise MlaasError(f"{self.path}: another process is at work on this run") from error
            for unfinished in self.path.glob(UNFINISHED):  # of a process that was killed
                unfinished.unlink()
            yield

    def require_same_data(self, dataset: EventData) -> None:
        """Note which events the run is about, or check that it goes on with the same; raises DataError."""
        facts = {
            "files": dataset.entries, "columns": dataset.columns, "counts": dict(dataset.counts),
            "shift": dataset.assembler.shift.tolist(), "scale": dataset.assembler.scale.tolist(),
        }  # fmt: skip
        path = self.path / "data.json"
        if not path.exists():
            write_whole(path, json.dumps(facts).encode())
            return
        had = json.loads(path.read_bytes())
        changed = [name for name, value in facts.items() if had.get(name) != value]
        if changed:
            raise DataError(f"{self.path}: the data have changed since the run was started ({', '.join(changed)})")

    def discard_if_empty(self) -> None:
        """Leave no folder behind that holds nothing to go on from."""
        if not self.checkpoint.exists() and not self.bundle.exists():
            shutil.rmtree(self.path)


def _fresh(path: Path) -> Path:
    """A path like this one that is not there yet."""
    candidates = (path if number == 1 else path.with_name(f"{path.name}-{number}") for number in range(1, 1000))
    return next(candidate for candidate in candidates if not candidate.exists())


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads((path / "run.json").read_bytes())
    except OSError as error:
        raise ParameterError(f"{path} is no folder of a run: {error.filename}: {error.strerror}") from error
    except ValueError as error:
        raise ParameterError(f"{path}/run.json is damaged: {error}") from error
    if not isinstance(content, dict):
        raise ParameterError(f"{path}/run.json is damaged: expected an object")
    return content


def _digests(options: TrainOptions) -> dict[str, str]:
    """Of the files that say how to train; a folder that is written to can't be among them."""
    paths = {name: getattr(options, name) for name in INPUTS}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in paths.items()
        if isinstance(path, Path) and path.is_file()
    }
