"""Tells at once, without asking the database, whether the registry has changed."""

import mmap
import os
import struct
from pathlib import Path

COUNTER = struct.Struct("=Q")


class Freshness:
    """A counter in a file that all workers of a server map into memory.

    A worker raises it after each change that it has committed, before it answers. A lost update when two
    workers raise it together does no harm: the value still differs from what any reader has seen.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if os.fstat(handle).st_size < COUNTER.size:
                os.ftruncate(handle, COUNTER.size)
            self._map = mmap.mmap(handle, COUNTER.size)
        finally:
            os.close(handle)

    @property
    def value(self) -> int:
        return int(COUNTER.unpack_from(self._map)[0])

    def changed(self) -> None:
        COUNTER.pack_into(self._map, 0, (self.value + 1) % 2**64)

    def close(self) -> None:
        self._map.close()
