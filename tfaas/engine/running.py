"""Which versions run at the moment, kept where it can be read after this process has ended."""

import faulthandler
import mmap
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

SLOTS = 256
RUNNING, CRASHED = "running", "crashed"


class Running:
    """A file of numbers that the operating system keeps when the process dies, and a note of why it died.

    Native libraries end a process without a word to Python. Python's fault handler then writes to the second file,
    but not when the process is killed from outside.
    """

    def __init__(self, folder: Path) -> None:
        with (folder / RUNNING).open("wb+") as file:
            file.truncate(8 * SLOTS)
            self._map = mmap.mmap(file.fileno(), 8 * SLOTS)
        self._slots = memoryview(self._map).cast("Q")
        self._free = deque(range(SLOTS))
        self._crashed = (folder / CRASHED).open("w")
        faulthandler.enable(self._crashed, all_threads=False)

    def call(self, version: int, function: Callable[..., Result], *arguments: object) -> Result:
        """Call a function, and note that a version runs meanwhile, in whichever thread."""
        slot = self._free.pop()
        self._slots[slot] = version
        try:
            return function(*arguments)
        finally:
            self._slots[slot] = 0
            self._free.append(slot)

    def close(self) -> None:
        faulthandler.disable()
        self._crashed.close()
        self._slots.release()
        self._map.close()


def culprits(folder: Path) -> list[int]:
    """The versions that ran when the process crashed which this folder belonged to; empty where it did not crash."""
    try:
        if not (folder / CRASHED).stat().st_size:
            return []
        numbers = memoryview((folder / RUNNING).read_bytes()).cast("Q")
    except (FileNotFoundError, TypeError):
        return []
    return sorted({number for number in numbers if number})
