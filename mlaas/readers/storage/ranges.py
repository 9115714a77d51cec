"""Any storage as a source of uproot."""

import queue
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from uproot.source.chunk import Chunk, Source
from uproot.source.coalesce import CoalesceConfig, coalesce_requests
from uproot.source.futures import TrivialFuture

from mlaas.readers.storage import open_storage

# Requests that are under way at a time.
_CONNECTIONS = 8
_MERGING = CoalesceConfig(max_request_ranges=1)


class RangeSource(Source):  # type: ignore[misc]
    """Reads a file in few requests, each for baskets that are near each other.

    Args:
        file_path: URL.
        options: Of ``uproot.open``; none of them matters.
    """

    def __init__(self, file_path: str, **options: Any) -> None:
        super().__init__()
        self._file_path = file_path
        self._storage = open_storage(file_path)
        self._num_bytes = self._storage.size
        self._executor = ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="mlaas-ranges")
        self._closed = False

    def chunk(self, start: int, stop: int) -> Chunk:
        """The bytes from ``start`` to ``stop``."""
        self._count([(start, stop)])
        return Chunk(self, start, stop, TrivialFuture(self._read(start, stop)))

    def chunks(self, ranges: list[tuple[int, int]], notifications: "queue.Queue[Chunk]") -> list[Chunk]:
        """The bytes of all ``ranges``; each chunk goes to ``notifications`` when it is there."""
        self._count(ranges)
        return coalesce_requests(ranges, self._submit, self, notifications, _MERGING)  # type: ignore[no-any-return]

    @property
    def num_bytes(self) -> int:
        return self._num_bytes

    @property
    def closed(self) -> bool:
        return self._closed

    def __enter__(self) -> "RangeSource":
        return self

    def __exit__(self, *error: object) -> None:
        if not self._closed:
            self._closed = True
            self._executor.shutdown()
            self._storage.close()

    def _submit(self, ranges: list[tuple[int, int]]) -> "Future[list[bytes]]":
        return self._executor.submit(lambda: [self._read(start, stop) for start, stop in ranges])

    def _read(self, start: int, stop: int) -> bytes:
        # uproot asks for more than there is where it guesses the size of what it is after.
        return self._storage.read(start, min(stop, self._num_bytes)) if start < self._num_bytes else b""

    def _count(self, ranges: list[tuple[int, int]]) -> None:
        self._num_requests += 1
        self._num_requested_chunks += len(ranges)
        self._num_requested_bytes += sum(stop - start for start, stop in ranges)
