"""Looks after all connections of a worker once a second: no timer for each of them, and none for each request."""

import asyncio
import math
import time
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfaas.api.connection import Connection

SWEEP_SECONDS = 1.0
COMING_SECONDS = 0.01
# A body may take longer than the timeout as long as it comes in at this rate, in bytes a second.
LEAST_RATE = 1024


class Stage(Enum):
    """Which part of a request a connection receives; IDLE between two of them."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"


class Watch:
    """Closes connections that have been idle, or whose request has been on its way, for too long.

    Args:
        keep_alive: seconds that a connection may stay open without a request.
        receive: seconds that the head of a request may take, and its body beyond what `LEAST_RATE` explains.
    """

    def __init__(self, keep_alive: float, receive: float) -> None:
        self.connections: set[Connection] = set()
        self._newest = -math.inf
        self._keep_alive = keep_alive
        self._receive = receive
        self._headers: Sequence[tuple[bytes, bytes]] | None = None
        self._rendered = b""

    def add(self, connection: "Connection") -> None:
        self.connections.add(connection)
        self._newest = connection.since

    def count(self) -> float:
        """How many clients there are; any number of them while new ones come, since each turn lets in only one."""
        return math.inf if time.monotonic() - self._newest < COMING_SECONDS else len(self.connections)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep(loop.time())

    def sweep(self, now: float) -> None:
        for connection in list(self.connections):
            self._look_at(connection, now)

    def _look_at(self, connection: "Connection", now: float) -> None:
        waited = now - connection.since
        if connection.flow.write_paused:
            if waited > self._receive:
                connection.transport.abort()  # its client reads no answers
        elif connection.transport.is_closing():
            connection.finish_closing()
        elif connection.stage is Stage.BODY:
            if connection.flow.read_paused:
                connection.since = now  # it is we who are slow
                connection.received = 0
            elif waited > self._receive + connection.received / LEAST_RATE:
                connection.refuse(408, f"only {connection.received} bytes of the body came in {waited:.0f} s")
        elif connection.is_answering:
            pass  # a prediction has a deadline of its own
        elif connection.stage is Stage.HEAD:
            if waited > self._receive:
                connection.refuse(408, f"the headers were not complete after {self._receive:g} s")
        elif waited > self._keep_alive:
            connection.transport.close()

    def render_headers(self, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
        """Lines that end in CRLF; the server replaces its list each second."""
        if headers is not self._headers:
            self._headers = headers
            self._rendered = b"".join(b"%b: %b\r\n" % header for header in headers)
        return self._rendered
