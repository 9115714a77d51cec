"""Files of S3, HDFS and whatever else fsspec knows."""

from collections.abc import Iterator
from contextlib import contextmanager

from mlaas.errors import DataError
from mlaas.readers.locations import scheme


class FileSystemStorage:
    """See :class:`mlaas.readers.storage.base.Storage`."""

    def __init__(self, url: str) -> None:
        import fsspec

        try:
            filesystem, self._path = fsspec.url_to_fs(url)
        except ImportError as error:
            raise DataError(f"{url}: {scheme(url)}:// needs another package: {error}") from error
        except ValueError as error:
            raise DataError(f"{url}: expected a local path, or a URL with root, http, https, s3, hdfs, …") from error
        self._filesystem = filesystem
        with _translated():
            self.size = int(filesystem.size(self._path))

    def read(self, start: int, stop: int) -> bytes:
        """See :class:`mlaas.readers.storage.base.Storage`."""
        with _translated():
            data: bytes = self._filesystem.cat_file(self._path, start=start, end=stop)
        if len(data) != stop - start:
            raise OSError(f"expected {stop - start} bytes at {start}, the server sent {len(data)}")
        return data

    def close(self) -> None:
        """Nothing is open between two reads."""


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
