"""Temporary files of a server process, which a later one removes when this one was killed."""

import fcntl
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

from tfaas.engine.running import culprits

LOCK = ".lock"


class Workspace:
    """A folder of its own below `parent`, locked as long as the process lives.

    Attributes:
        culprits: ids of the versions that ran when an earlier process crashed.
    """

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        with (parent / LOCK).open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)  # a folder that is being made must not look abandoned
            self.culprits = _sweep(parent)
            self.path = Path(tempfile.mkdtemp(dir=parent, prefix="process-"))
            self._lock = (self.path / LOCK).open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __enter__(self) -> "Workspace":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def _sweep(parent: Path) -> list[int]:
    """Remove the folders whose processes are gone; the versions that ran when one of them crashed."""
    found: list[int] = []
    for folder in parent.glob("process-*"):
        try:
            with (folder / LOCK).open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found += culprits(folder)
                shutil.rmtree(folder, ignore_errors=True)
        except (FileNotFoundError, NotADirectoryError, BlockingIOError):
            continue  # removed or used by another process
    return found
