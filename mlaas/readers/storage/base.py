"""What every protocol offers: the bytes of a file at any place."""

import io
from typing import Protocol


class Storage(Protocol):
    """An open file on another machine; may be used by several threads at a time.

    Attributes:
        size: In bytes.
    """

    size: int

    def __init__(self, url: str) -> None: ...

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from ``start`` to ``stop``, all of which exist.

        Raises:
            FileNotFoundError, PermissionError: Another attempt would end the same way.
            OSError: The file is out of reach; TimeoutError, where an answer took too long.
        """
        ...

    def close(self) -> None: ...


class StorageStream(io.RawIOBase):
    """A file on another machine as a stream of bytes."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._storage.size}[whence]
        self._position = max(0, begin + offset)
        return self._position

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        stop = min(self._position + len(view), self._storage.size)
        if stop <= self._position:
            return 0
        data = self._storage.read(self._position, stop)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._storage.close()
        super().close()
