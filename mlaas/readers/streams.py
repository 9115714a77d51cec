"""Files as streams of bytes, whatever holds them and however they are compressed."""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

from mlaas.errors import DataError
from mlaas.readers.locations import is_remote, local_path
from mlaas.readers.storage import StorageStream, open_storage

_BUFFER = 1 << 20
_REMOTE_BUFFER = 4 << 20


class _Zstandard(io.RawIOBase):
    """Decompresses Zstandard; going back starts from the beginning."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._restart()

    def _restart(self) -> None:
        import pyarrow as pa

        self._raw.seek(0)
        # A wrapper of its own, since Arrow closes what it is given.
        self._stream = pa.CompressedInputStream(pa.PythonFile(_Lent(self._raw), mode="r"), "zstd")
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_CUR:
            offset += self._position
        elif whence != io.SEEK_SET:
            raise io.UnsupportedOperation("the size of compressed data is not known")
        if offset < self._position:
            self._restart()
        while self._position < offset and self.read(min(_BUFFER, offset - self._position)):
            pass
        return self._position

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self._stream.read(len(view))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


class _Lent(io.RawIOBase):
    """Reads from a stream that stays open when this is closed."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self._raw.read(len(view))
        view[: len(data)] = data
        return len(data)


class _Owner(io.BufferedReader):
    """Closes the file below the decompression with itself."""

    def __init__(self, decompressed: io.RawIOBase, raw: BinaryIO) -> None:
        super().__init__(decompressed, _BUFFER)
        self._file = raw

    def close(self) -> None:
        super().close()
        self._file.close()


# First bytes of the compressed files → how they are read.
COMPRESSIONS: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": lambda raw: gzip.GzipFile(fileobj=raw),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": _Zstandard,
}


def open_stream(path: str) -> BinaryIO:
    """Open a file for reading at any position, as it is stored.

    Raises:
        DataError: There is no such file, or it is empty.
        OSError: It cannot be read.
    """
    if is_remote(path):
        stream = StorageStream(open_storage(path))
        return cast(BinaryIO, io.BufferedReader(stream, _REMOTE_BUFFER))
    check_local(path)
    return open(local_path(path), "rb", _BUFFER)


def open_decompressed(path: str) -> BinaryIO:
    """Open a file and decompress it, where its first bytes are those of gzip, bzip2, xz or Zstandard."""
    raw = open_stream(path)
    head = raw.read(max(map(len, COMPRESSIONS)))
    raw.seek(0)
    for magic, decompress in COMPRESSIONS.items():
        if head.startswith(magic):
            return cast(BinaryIO, _Owner(decompress(raw), raw))
    return raw


def check_local(path: str) -> None:
    """Check that there is a file that holds something.

    Raises:
        DataError: There is none, or it is a folder, or empty.
    """
    local = Path(local_path(path))
    if not local.exists():
        raise DataError(f"{path}: no such file")
    if not local.is_file():
        raise DataError(f"{path}: not a file")
    if not local.stat().st_size:
        raise DataError(f"{path}: the file is empty (0 bytes)")
