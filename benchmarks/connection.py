"""A client's connection that knows its own port, so that it can be told which worker it led to."""

import http.client
import select
import time
from urllib.parse import urlsplit


class Lost(Exception):
    """A request without an answer; `port` is the client's end of its connection, `started` when it was sent."""

    def __init__(self, port: int, started: float, reason: Exception) -> None:
        super().__init__(f"{type(reason).__name__}: {reason}")
        self.port = port
        self.started = started


class Connection:
    """Kept alive, and made anew where the server has closed it."""

    def __init__(self, url: str, timeout: float = 120) -> None:
        self._address = urlsplit(url).netloc
        self._timeout = timeout
        self._http: http.client.HTTPConnection | None = None

    def send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Status and body of the answer; raises Lost where there is none."""
        connection = self._connected()
        port = connection.sock.getsockname()[1]
        started = time.monotonic()
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Lost(port, started, error) from error

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None

    def _connected(self) -> http.client.HTTPConnection:
        if self._http is not None and (self._http.sock is None or _is_readable(self._http)):
            self.close()
        if self._http is None:
            self._http = http.client.HTTPConnection(self._address, timeout=self._timeout)
            self._http.connect()
        return self._http


def _is_readable(connection: http.client.HTTPConnection) -> bool:
    """Whether the server has closed it: nothing else can come where nothing was asked."""
    readable, _, _ = select.select([connection.sock], [], [], 0)
    return bool(readable)
