"""The transport of callers without an event loop: their own threads send and wait."""

import builtins
import copy
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Self, TypeVar

import httpx

from ._addresses import Connection
from ._requests import Request, blocks
from ._transport import CONNECT_SECONDS, Content, Transport, open_http

Result = TypeVar("Result")

# How late a request may be ended whose server sends a little now and then.
TICK_SECONDS = 0.25


def returned(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Returns what a coroutine does that never waits for an event loop, as those over a `BlockingTransport`."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        result: Result = finished.value
        return result
    coroutine.close()
    raise RuntimeError("the coroutine waits for an event loop: expected one that does not")


class BlockingTransport(Transport):
    """May be shared by threads; its coroutines block the thread that runs them."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._lines = Lines(connection)
        self._ended = threading.Event()

    async def close(self) -> None:
        self._lines.close()

    @contextmanager
    def job(self) -> Iterator[Self]:
        """A transport over the same connections; what other threads still ask through it is cut off at the end."""
        job = copy.copy(self)
        job._ended = threading.Event()
        try:
            yield job
        finally:
            job._ended.set()
            self._lines.cut(job)

    async def _exchange(self, base: str, request: Request, seconds: float) -> httpx.Response:
        with self._lines.taken(base, seconds, self) as line:
            if self._ended.is_set():
                raise builtins.TimeoutError
            return line.ask(request.method, base + request.path, request.options(blocks))

    async def _pause(self, seconds: float) -> None:
        self._ended.wait(seconds)


class Line:
    """One connection to one server, kept open; used by one thread at a time, while another may cut it."""

    def __init__(self, http: httpx.Client) -> None:
        self.deadline = 0.0
        self.user: object = None
        self._http = http
        self._socket: socket.socket | None = None
        self.is_cut = False

    def ask(self, method: str, url: str, options: Mapping[str, Any]) -> httpx.Response:
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise builtins.TimeoutError
        timeout = httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
        try:
            with self._http.stream(
                method, url, timeout=timeout, extensions={"trace": self._follow}, **options
            ) as stream:
                content = Content(stream)
                for block in stream.iter_raw():
                    content.add(block)
        except httpx.HTTPError as error:
            if self.is_cut:
                raise builtins.TimeoutError from error
            raise
        return content.response()

    def cut(self) -> None:
        """Makes the thread that uses it end with the built-in TimeoutError."""
        self.is_cut = True
        if self._socket is not None:
            with suppress(OSError):  # it is closed
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        self._http.close()

    def _follow(self, event: str, info: Mapping[str, Any]) -> None:
        """Is told by httpx what it does: remembers the socket of a new connection."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._socket = info["return_value"].get_extra_info("socket")
            if self.is_cut:
                self._socket.close()  # nobody else would
                raise builtins.TimeoutError


class Lines:
    """The connections of one process, and a thread that cuts those whose time is over.

    httpx limits how long each piece of a request takes, and not all of them together.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._context = connection.tls_context()
        self._idle: dict[str, list[Line]] = defaultdict(list)
        self._idle[connection.url[0]].append(self._open())  # tells whether the proxies can be used
        self._used: set[Line] = set()
        self._changed = threading.Condition()
        self._watch: threading.Thread | None = None
        self._asleep = self._closed = False

    @contextmanager
    def taken(self, base: str, seconds: float, user: object) -> Iterator[Line]:
        """A connection to `base` for so long; it is cut then, or with all others of its user."""
        line = self._take(base, time.monotonic() + seconds, user)
        whole = False
        try:
            yield line
            whole = True
        finally:
            with self._changed:
                self._used.discard(line)
                whole = whole and not (line.is_cut or self._closed)
                if whole:
                    self._idle[base].append(line)
            if not whole:
                line.close()  # nobody knows what is still under way

    def cut(self, user: object) -> None:
        """Ends what `user` asks."""
        with self._changed:
            for line in self._used:
                if line.user is user:
                    line.cut()

    def close(self) -> None:
        """Ends everything; waits for the thread, except where that collects garbage."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            for line in self._used:
                line.cut()
            for lines in self._idle.values():
                while lines:
                    lines.pop().close()
        if self._watch is not None and self._watch is not threading.current_thread():
            self._watch.join()

    def _take(self, base: str, deadline: float, user: object) -> Line:
        with self._changed:
            if self._closed:
                raise RuntimeError("the client is closed")
            line = self._idle[base].pop() if self._idle[base] else self._open()
            line.deadline, line.user = deadline, user
            self._used.add(line)
            if self._watch is None:
                self._watch = threading.Thread(target=self._cut_in_time, name="tfaas-client", daemon=True)
                self._watch.start()
            elif self._asleep:
                self._changed.notify()
            return line

    def _open(self) -> Line:
        return Line(open_http(httpx.Client, self._connection, self._context))

    def _cut_in_time(self) -> None:
        with self._changed:
            while not self._closed:
                for line in self._used:
                    if line.deadline <= time.monotonic():
                        line.cut()
                self._asleep = not self._used
                self._changed.wait(None if self._asleep else TICK_SECONDS)
