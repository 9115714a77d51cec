"""Sends requests: repeats them where that may help, at the next server, until the deadline."""

import asyncio
import builtins
import os
import random
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.request import getproxies

import httpx

from ._addresses import Connection
from ._exceptions import (
    ConnectionError,
    InputError,
    MalformedResponseError,
    OverloadedError,
    ServerError,
    TFaaSError,
    TimeoutError,
    TransportError,
)
from ._requests import Request, bearer_headers
from ._responses import raise_for_status

ANSWER_SECONDS = 30.0
# The server converts, checks and loads a model before it answers an upload.
UPLOAD_SECONDS = 600.0
CONNECT_SECONDS = 5.0
# Shorter than the five seconds after which uvicorn closes an idle connection.
IDLE_SECONDS = 4.0
# Many times what a batch of the default size is answered with.
MAX_ANSWER_BYTES = 256 * 2**20

REPEATED_STATUSES = frozenset({502, 503, 504})
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0


class Transport:
    """One connection pool to servers that answer alike; belongs to one event loop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._preferred = 0
        self._http = _http_client(bearer_headers(connection.token), connection.tls_context())

    async def close(self) -> None:
        await self._http.aclose()

    async def send(self, request: Request) -> httpx.Response:
        """Returns the answer of the first server that gives one.

        All servers are asked in turn, starting with the one that answered last, and after a pause again. While there
        are others to ask, a server has its share of the time that is left.

        Raises:
            TFaaSError: what the last server did, when none gave an answer.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self._connection.timeout or (UPLOAD_SECONDS if request.slow else ANSWER_SECONDS))
        servers = len(self._connection.url)
        for repetition in range(self._connection.retries + 1):
            for others in reversed(range(servers)):
                asked = self._preferred
                try:
                    return await self._ask(asked, request, (deadline - loop.time()) / (others + 1))
                except TFaaSError as error:
                    failure = error
                if not may_be_repeated(request, failure):
                    raise failure
                if self._preferred == asked:
                    self._preferred = (asked + 1) % servers
            pause = pause_after(repetition, failure)
            if repetition == self._connection.retries or loop.time() + pause >= deadline:
                break
            await asyncio.sleep(pause)
        raise failure

    async def _ask(self, server: int, request: Request, seconds: float) -> httpx.Response:
        url = self._connection.url[server] + request.path
        with _translated(url):
            async with (
                asyncio.timeout(seconds),
                self._http.stream(request.method, url, **request.options()) as stream,
            ):
                response = await _read(stream)
        raise_for_status(response)
        return response


def _http_client(headers: Mapping[str, str], context: ssl.SSLContext) -> httpx.AsyncClient:
    try:
        return httpx.AsyncClient(
            # The deadline of a request is kept by `Transport`, as one for all of its parts.
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
            # A few bytes that are compressed can become more than the memory holds.
            headers={**headers, "Accept-Encoding": "identity"},
            verify=context,
            limits=httpx.Limits(max_connections=None, keepalive_expiry=IDLE_SECONDS),
        )
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise InputError(f"the proxies that the environment names cannot be used: {error}") from error


async def _read(stream: httpx.Response) -> httpx.Response:
    """Returns an answer with its content; raises MalformedResponseError where that does not end."""
    content = bytearray()
    async for block in stream.aiter_raw():
        content += block
        if len(content) > MAX_ANSWER_BYTES:
            raise MalformedResponseError(f"{stream.url} answered more than {MAX_ANSWER_BYTES} bytes: expected fewer")
    headers = stream.headers.copy()
    headers.pop("Content-Encoding", None)  # a server that packs it all the same is not unpacked
    return httpx.Response(stream.status_code, headers=headers, content=bytes(content), request=stream.request)


def may_be_repeated(request: Request, failure: TFaaSError) -> bool:
    """Whether another attempt may succeed, and does not do twice what was done already."""
    if not request.repeatable:
        return isinstance(failure, ConnectionError | OverloadedError)
    if isinstance(failure, ServerError):
        return failure.status in REPEATED_STATUSES
    return isinstance(failure, TransportError)


def pause_after(repetition: int, failure: TFaaSError) -> float:
    """Seconds to wait: at random and longer each time, and no less than the server asks for."""
    pause = min(FIRST_PAUSE * 2.0**repetition, LONGEST_PAUSE)
    asked = failure.retry_after or 0.0 if isinstance(failure, OverloadedError) else 0.0
    # Not all clients that were sent away at once come back at once.
    return max(pause * random.uniform(0.5, 1.0), asked * random.uniform(1.0, 1.2))


def _reason(error: BaseException) -> str:
    """Returns what the operating system or TLS has said, which is below several layers."""
    below = error.__cause__ or error.__context__
    if isinstance(error, BaseExceptionGroup):
        below = error.exceptions[-1]
    if below is not None:
        return _reason(below)
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError | socket.gaierror) and error.errno:
        return os.strerror(error.errno)
    return (error.strerror if isinstance(error, OSError) else "") or str(error) or "no connection in time"


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """Foreign errors become ours; ConnectionError says that nothing was sent."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        through = " (perhaps the proxy that the environment names)" if getproxies().keys() - {"no"} else ""
        raise ConnectionError(f"{url} cannot be reached: {_reason(error)}{through}") from error
    except (httpx.TimeoutException, builtins.TimeoutError) as error:
        raise TimeoutError(f"{url} did not answer in time") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise TransportError(f"{url}: {str(error) or f'the connection was lost ({type(error).__name__})'}") from error
