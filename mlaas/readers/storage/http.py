"""Files of web servers, by requests for ranges of bytes."""

import os
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from mlaas.readers.storage.waiting import CONNECTION_TIMEOUT, request_timeout

_TOTAL = re.compile(r"bytes .*/(\d+)")


class HttpStorage:
    """See :class:`mlaas.readers.storage.base.Storage`.

    A bearer token and an X.509 proxy are taken from the environment as other grid clients do: ``BEARER_TOKEN``,
    ``BEARER_TOKEN_FILE``, ``X509_USER_PROXY``, ``X509_CERT_DIR``. They are sent over https only.
    """

    def __init__(self, url: str) -> None:
        secure = url.lower().startswith("https:")
        headers = {"Accept-Encoding": "identity"}
        if secure and (token := _bearer_token()):
            headers["Authorization"] = f"Bearer {token}"
        self._url = url
        self._client = httpx.Client(
            headers=headers,
            follow_redirects=True,
            timeout=httpx.Timeout(request_timeout(), connect=CONNECTION_TIMEOUT),
            verify=_tls_context() if secure else True,
        )
        try:
            answer = self._get(0, 1)
            total = _TOTAL.fullmatch(answer.headers.get("content-range", ""))
            if total is None:
                raise FileNotFoundError("the server does not tell the size of the file")
            self.size = int(total[1])
        except OSError:
            self.close()
            raise

    def read(self, start: int, stop: int) -> bytes:
        """See :class:`mlaas.readers.storage.base.Storage`."""
        data = self._get(start, stop).content
        if len(data) != stop - start:
            raise OSError(f"expected {stop - start} bytes at {start}, the server sent {len(data)}")
        return data

    def close(self) -> None:
        self._client.close()

    def _get(self, start: int, stop: int) -> httpx.Response:
        with (
            _translated(),
            self._client.stream("GET", self._url, headers={"Range": f"bytes={start}-{stop - 1}"}) as answer,
        ):
            status = answer.status_code
            if status == httpx.codes.OK:
                raise FileNotFoundError("the server sends files as a whole only; expected one that knows ranges")
            if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise FileNotFoundError(f"the file has no byte {start}")
            if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
                raise PermissionError(f"the server refuses: {status} {answer.reason_phrase}")
            if answer.is_client_error and status != httpx.codes.TOO_MANY_REQUESTS:
                raise FileNotFoundError(f"the server refuses: {status} {answer.reason_phrase}")
            if status != httpx.codes.PARTIAL_CONTENT:
                raise OSError(f"the server answers {status} {answer.reason_phrase}")
            answer.read()
            return answer


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException as error:
        raise TimeoutError(f"no answer in {request_timeout()} s") from error
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.TooManyRedirects) as error:
        raise FileNotFoundError(str(error)) from error
    except httpx.TransportError as error:
        raise OSError(str(error) or type(error).__name__) from error


def _bearer_token() -> str:
    """The token of the environment; empty where there is none."""
    if token := os.environ.get("BEARER_TOKEN", "").strip():
        return token
    file = os.environ.get("BEARER_TOKEN_FILE")
    return Path(file).read_text("utf-8").strip() if file else ""


def _tls_context() -> ssl.SSLContext:
    """With the certificates of the grid, and the proxy of the user, where the environment names them."""
    context = ssl.create_default_context()
    if folder := os.environ.get("X509_CERT_DIR"):
        context.load_verify_locations(capath=folder)
    if proxy := os.environ.get("X509_USER_PROXY"):
        context.load_cert_chain(proxy)
    return context
