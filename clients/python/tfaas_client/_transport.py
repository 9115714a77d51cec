"""Sends requests: repeats them where that may help, at the next server, until the deadline."""

import asyncio
import builtins
import os
import random
import socket
import ssl
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import IO, TypeVar
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
from ._requests import Request, bearer_headers, blocks
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


class Transport(ABC):
    """Asks servers that answer alike; `AsyncTransport` and `BlockingTransport` know how."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._urls = deque(connection.url)  # the one to be asked comes first

    async def send(self, request: Request) -> httpx.Response:
        """Returns the answer of the first server that gives one.

        All servers are asked in turn, starting with the one that answered last, and after a pause again. While there
        are others to ask, a server has its share of the time that is left.

        Raises:
            TFaaSError: what the last server did, when none gave an answer.
        """
        deadline = time.monotonic() + (self._connection.timeout or (UPLOAD_SECONDS if request.slow else ANSWER_SECONDS))
        for repetition in range(self._connection.retries + 1):
            for others in reversed(range(len(self._urls))):
                asked = self._urls[0]
                try:
                    return await self._ask(asked, request, (deadline - time.monotonic()) / (others + 1))
                except TFaaSError as error:
                    failure = error
                if not may_be_repeated(request, failure):
                    raise failure
                if self._urls[0] == asked:
                    self._urls.rotate(-1)
            pause = pause_after(repetition, failure)
            if repetition == self._connection.retries or time.monotonic() + pause >= deadline:
                break
            await self._pause(pause)
        raise failure

    async def _ask(self, base: str, request: Request, seconds: float) -> httpx.Response:
        with _translated(base + request.path):
            response = await self._exchange(base, request, seconds)
        raise_for_status(response)
        return response

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def _exchange(self, base: str, request: Request, seconds: float) -> httpx.Response:
        """Returns an answer of whatever status; raises what httpx does, or, when late, the built-in TimeoutError."""

    @abstractmethod
    async def _pause(self, seconds: float) -> None: ...


class AsyncTransport(Transport):
    """One connection pool; belongs to one event loop."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._http = open_http(httpx.AsyncClient, connection, connection.tls_context())

    async def close(self) -> None:
        await self._http.aclose()

    async def _exchange(self, base: str, request: Request, seconds: float) -> httpx.Response:
        async with (
            asyncio.timeout(seconds),
            self._http.stream(request.method, base + request.path, **request.options(_async_blocks)) as stream,
        ):
            content = Content(stream)
            async for block in stream.aiter_raw():
                content.add(block)
        return content.response()

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def _async_blocks(file: IO[bytes]) -> AsyncIterator[bytes]:
    for block in blocks(file):
        yield block


Http = TypeVar("Http", httpx.AsyncClient, httpx.Client)


def open_http(kind: type[Http], connection: Connection, context: ssl.SSLContext) -> Http:
    """Raises InputError where the proxies of the environment cannot be used."""
    try:
        return kind(
            # The deadline of a request is kept by `Transport`, as one for all of its parts.
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
            # A few bytes that are compressed can become more than the memory holds.
            headers={**bearer_headers(connection.token), "Accept-Encoding": "identity"},
            verify=context,
            limits=httpx.Limits(max_connections=None, keepalive_expiry=IDLE_SECONDS),
        )
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise InputError(f"the proxies that the environment names cannot be used: {error}") from error


class Content:
    """What comes in of an answer."""

    def __init__(self, stream: httpx.Response) -> None:
        self._stream = stream
        self._content = bytearray()

    def add(self, block: bytes) -> None:
        """Raises MalformedResponseError where it does not end."""
        self._content += block
        if len(self._content) > MAX_ANSWER_BYTES:
            url = self._stream.url
            raise MalformedResponseError(f"{url} answered more than {MAX_ANSWER_BYTES} bytes: expected fewer")

    def response(self) -> httpx.Response:
        headers = self._stream.headers.copy()
        headers.pop("Content-Encoding", None)  # a server that packs it all the same is not unpacked
        return httpx.Response(
            self._stream.status_code, headers=headers, content=bytes(self._content), request=self._stream.request
        )


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
