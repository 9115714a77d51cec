"""Tells at once, without asking the database, whether the registry has changed."""

import mmap
import os
from pathlib import Path

COUNTER_BYTES = 8


class Freshness:
    """A counter in a file that all workers of a server map into memory.

    A worker raises it after each change that it has committed, before it answers. A lost update when two
    workers raise it together does no harm: the value still differs from what any reader has seen.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if os.fstat(handle).st_size < COUNTER_BYTES:
                os.ftruncate(handle, COUNTER_BYTES)
            self._map = mmap.mmap(handle, COUNTER_BYTES)
            self._counter = memoryview(self._map).cast("Q")
        finally:
            os.close(handle)

    @property
    def value(self) -> int:
        return self._counter[0]

    def changed(self) -> None:
        self._counter[0] = (self.value + 1) % 2**64

    def close(self) -> None:
        self._counter.release()
        self._map.close()
