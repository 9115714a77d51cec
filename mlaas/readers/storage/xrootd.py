"""Files of an XRootD server, through its own client."""

import os
import sys
from typing import Any

from mlaas.errors import DataError
from mlaas.readers.storage.waiting import CONNECTION_TIMEOUT, request_timeout

# Codes of XrdCl/XrdClStatus.hh: an address that is none, no such file, and a refusal by the server.
_FINAL_CODES = (101, 304, 400)
_EXPIRED = 206


class XRootDStorage:
    """See :class:`mlaas.readers.storage.base.Storage`."""

    def __init__(self, url: str) -> None:
        client = xrootd_client()
        self._file = client.File()
        self._checked(self._file.open(url, timeout=request_timeout()))
        try:
            self.size = int(self._checked(self._file.stat(timeout=request_timeout())).size)
        except OSError:
            self.close()
            raise

    def read(self, start: int, stop: int) -> bytes:
        """See :class:`mlaas.readers.storage.base.Storage`."""
        data: bytes = self._checked(self._file.read(start, stop - start, timeout=request_timeout()))
        if len(data) != stop - start:
            raise OSError(f"expected {stop - start} bytes at {start}, the server sent {len(data)}")
        return data

    def close(self) -> None:
        self._file.close(timeout=request_timeout())

    @staticmethod
    def _checked(answer: tuple[Any, Any]) -> Any:
        """What the server sent; raises OSError where it has not."""
        status, content = answer
        if status.ok:
            return content
        if status.code in _FINAL_CODES:
            raise FileNotFoundError(status.message.strip())
        raise (TimeoutError if status.code == _EXPIRED else OSError)(status.message.strip())


def xrootd_client() -> Any:
    """The module ``XRootD.client``, with a bound on how long it waits; XRD_… set in the environment has precedence.

    By default the client tries an unreachable server for ten minutes and a broken stream for half an hour.

    Raises:
        DataError: The client is not installed.
    """
    flags = sys.getdlopenflags()
    # TensorFlow offers everybody its own copies of libraries that the client needs, with which it crashes.
    sys.setdlopenflags(os.RTLD_NOW | os.RTLD_DEEPBIND)
    try:
        from XRootD import client
    except ImportError as error:
        raise DataError("root:// URLs need the XRootD client: pip install xrootd") from error
    finally:
        sys.setdlopenflags(flags)
    for name, value in {
        "ConnectionWindow": CONNECTION_TIMEOUT,
        "ConnectionRetry": 1,
        "RequestTimeout": request_timeout(),
        "StreamTimeout": request_timeout(),
        "StreamErrorWindow": CONNECTION_TIMEOUT,
        "TimeoutResolution": 1,
    }.items():
        client.EnvPutInt(name, value)
    return client
