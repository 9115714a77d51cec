"""Scores on their way: a part for each block of events, in a folder that survives the process."""

import fcntl
import json
import logging
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlaas.scoring.errors import ScoringError
from mlaas.scoring.writers import Columns
from mlaas.wholefile import whole_file

STATE, LOCK = "state.json", "lock"

log = logging.getLogger(__name__)


class Parts:
    """The parts of one scoring; used as a context by one process at a time.

    Each part is an Arrow file that is there as a whole or not at all.

    Args:
        folder: Hidden, beside the output.
        job: What makes two scorings the same, as JSON has it.
        resume: Whether to go on with what is there.
        force: Whether to throw away what is there.

    Raises:
        ScoringError: An unfinished scoring is there and neither is asked for, or it is another one, or another
            process is at it.
    """

    def __init__(self, folder: Path, job: Mapping[str, Any], resume: bool, force: bool) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._lock = (folder / LOCK).open("ab")
        try:
            self._take(dict(job), resume, force)
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the folder only where there is something for a later ``--resume``."""
        if self.folder.is_dir() and not self.worth_keeping:
            self.remove()
        self._lock.close()

    @property
    def worth_keeping(self) -> bool:
        """Whether some part or output is complete."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return any(path.suffix in (".arrow", ".finished") for path in found)

    def has(self, part: str) -> bool:
        """Whether a part is complete."""
        return (self.folder / f"{part}.arrow").is_file()

    def write(self, part: str, columns: Columns) -> None:
        """Keep a part; raises OSError."""
        table = pa.table({name: pa.array(values) for name, values in columns.items()})
        with (
            whole_file(self.folder / f"{part}.arrow") as unfinished,
            pa.OSFile(str(unfinished), "wb") as sink,
            pa.ipc.new_file(sink, table.schema) as writer,
        ):
            writer.write_table(table)

    def read(self, part: str) -> dict[str, NDArray[np.generic]]:
        """The columns of a part."""
        path = self.folder / f"{part}.arrow"
        try:
            with pa.OSFile(str(path)) as source:
                table = pa.ipc.open_file(source).read_all()
        except pa.ArrowException as error:
            raise ScoringError(f"{path}: damaged ({error}); remove it and go on with --resume") from error
        return {name: table.column(name).to_numpy() for name in table.column_names}

    def drop(self, parts: Iterable[str]) -> None:
        """Remove parts."""
        for part in parts:
            (self.folder / f"{part}.arrow").unlink(missing_ok=True)

    def finished(self, output: int) -> int | None:
        """How many events an output has; None where it is not complete."""
        note = self.folder / f"{output}.finished"
        return int(note.read_text()) if note.is_file() else None

    def finish(self, output: int, events: int) -> None:
        """Note that an output is complete."""
        with whole_file(self.folder / f"{output}.finished") as unfinished:
            unfinished.write_text(str(events))

    def remove(self) -> None:
        """Remove the folder."""
        self._lock.close()
        shutil.rmtree(self.folder)

    def _take(self, job: dict[str, Any], resume: bool, force: bool) -> None:
        self._be_alone()
        state = self.folder / STATE
        if state.is_file() and not force:
            _check_same(self.folder, _read_state(state), job, resume)
            return
        for path in self.folder.iterdir():
            if path.name != LOCK:
                path.unlink()
        try:
            with whole_file(state) as unfinished:
                unfinished.write_text(json.dumps(job))
        except OSError:
            self.remove()
            raise

    def _be_alone(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ScoringError(f"{self.folder}: another process is scoring into it") from error
        except OSError as error:
            # Some file systems of computing centres have no locks, and are used all the same.
            log.info("%s: no lock: %s", self.folder, error.strerror)


def _read_state(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads(path.read_bytes())
    except ValueError as error:
        raise ScoringError(f"{path}: damaged ({error}); expected --force to begin again") from error
    return state


def _check_same(folder: Path, before: dict[str, Any], job: dict[str, Any], resume: bool) -> None:
    if not resume:
        raise ScoringError(
            f"{folder}: an unfinished scoring is there; expected --resume to go on with it, or --force to begin again"
        )
    for name, value in job.items():
        if before.get(name) != value:
            short = isinstance(value, str | int | None)
            what = f"{name} {before.get(name)}, not {value}" if short else f"other {name}, or {name} that have changed"
            raise ScoringError(
                f"{folder}: the unfinished scoring there has {what}; expected the same, or --force to begin again"
            )
