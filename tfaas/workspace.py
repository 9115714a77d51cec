"""Temporary files of a server process, which a later one removes when this one was killed."""

import fcntl
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

LOCK = ".lock"


class Workspace:
    """A folder of its own below `parent`, locked as long as the process lives."""

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        with (parent / LOCK).open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)  # a folder that is being made must not look abandoned
            _sweep(parent)
            self.path = Path(tempfile.mkdtemp(dir=parent, prefix="process-"))
            self._lock = (self.path / LOCK).open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def _sweep(parent: Path) -> None:
    """Remove the folders whose processes are gone."""
    for folder in parent.glob("process-*"):
        try:
            with (folder / LOCK).open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except (FileNotFoundError, NotADirectoryError, BlockingIOError):
            continue  # removed or used by another process
