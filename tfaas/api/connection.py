"""One HTTP/1.1 connection: uvicorn's protocol with limits of its own and a short way for predictions.

A request for one of the prediction endpoints is handed over as soon as its body is complete, and answered with one
write: no scope, no task, no messages. All others go through ASGI as uvicorn does it.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import httptools
import orjson
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.protocols.utils import get_local_addr, get_remote_addr

from tfaas.api.http_errors import error_response
from tfaas.api.watch import Stage, Watch
from tfaas.errors import MethodNotAllowed
from tfaas.observability.metrics import Metrics
from tfaas.security.certificate import HostCertificate
from tfaas.settings import Settings

MAX_URL = 8 * 1024
# Requests in a row that are read while one is answered. Were none read, nobody would notice that the client has gone;
# were all read, a client that sends and never listens would fill the memory.
MAX_WAITING = 16
DISCARDED_BYTES = 64 * 1024**2
JSON_HEADER = b"content-type: application/json\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

Header = tuple[bytes, bytes]


class Endpoint(Protocol):
    """What answers a request whose whole body is there."""

    max_body: int

    def handle(self, request: "DirectRequest") -> None:
        """Call `request.reply` once, now or later, in the event loop."""
        ...


class Application:
    """What a worker serves: `endpoints` by their path on the short way, the framework for everything else."""

    def __init__(
        self,
        framework: ASGIApp,
        endpoints: Mapping[bytes, Endpoint],
        settings: Settings,
        watch: Watch,
        metrics: Metrics,
        certificate: HostCertificate | None = None,
    ) -> None:
        self.certificate = certificate
        self.endpoints = endpoints
        self.settings = settings
        self.watch = watch
        self._framework = framework
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._metrics.requests[scope["method"]] += 1
            if scope["raw_path"] in self.endpoints:
                await _answer_method_not_allowed(scope, send)
                return
        try:
            await self._framework(scope, receive, send)
        except Exception:
            # The framework has logged and answered it; raised again it would cut a connection that others may use.
            if scope["type"] != "http":
                raise
            self._metrics.unexpected += 1


async def _answer_method_not_allowed(scope: Scope, send: Send) -> None:
    error = MethodNotAllowed(f"{scope['method']} is not allowed on {scope['path']}: expected POST")
    status, named, body = error_response(error)
    named |= {"allow": "POST", "content-length": str(len(body))}
    headers = [(name.encode(), value.encode()) for name, value in named.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class DirectRequest:
    """A request on the short way, from its headers to its answer."""

    __slots__ = (
        "_connection", "_endpoint", "_expects", "_parts", "_size", "_turn", "body", "complete",
        "headers", "keep_alive", "on_gone", "query", "response_complete",
    )  # fmt: skip

    def __init__(
        self,
        connection: "Connection",
        endpoint: Endpoint,
        query: bytes,
        headers: list[Header],
        keep_alive: bool,
        expects: bool,
    ) -> None:
        self._expects = expects
        self._connection = connection
        self._endpoint = endpoint
        self._parts: list[bytes] = []
        self._size = 0
        self._turn = False
        self.body = b""
        self.complete = False
        self.headers = headers
        self.keep_alive = keep_alive
        self.on_gone: Callable[[], object] | None = None
        self.query = query
        self.response_complete = False

    def start(self) -> None:
        """Its turn has come: what was asked before on this connection is answered."""
        self._turn = True
        if self.complete:
            self._handle()
        elif self._expects:
            self._connection.transport.write(CONTINUE)

    def receive(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= self._endpoint.max_body:
            self._parts.append(data)
            return
        # A client that is still sending would see a reset connection instead of the answer: it may go on for a while.
        self._parts.clear()
        if self._size > self._endpoint.max_body + DISCARDED_BYTES:
            self._connection.refuse(413, self._too_large())

    def finish(self) -> None:
        """The body is complete."""
        self.complete = True
        self.body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        if self._turn and not self.response_complete:
            self._handle()

    def abandon(self) -> None:
        """The connection is gone."""
        self.response_complete = True
        if self.on_gone is not None:
            self.on_gone()

    def reply(self, status: int, headers: bytes, body: bytes) -> None:
        """Answer; `headers` are lines that end in CRLF, without the content's length."""
        if self.response_complete:
            return
        self.response_complete = True
        connection = self._connection
        parts = [STATUS_LINE[status], connection.default_headers(), headers]
        parts.append(b"content-length: %d\r\n\r\n" % len(body))
        if not self.keep_alive:
            parts.insert(1, b"connection: close\r\n")
        parts.append(body)
        connection.transport.write(b"".join(parts))
        if not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()

    def _handle(self) -> None:
        if self._size <= self._endpoint.max_body:
            self._endpoint.handle(self)
        else:
            self.keep_alive = False
            self.reply(413, JSON_HEADER, orjson.dumps({"error": self._too_large()}))

    def _too_large(self) -> str:
        return f"the body has more than {self._endpoint.max_body} bytes, which is the limit here"


class Connection(HttpToolsProtocol):
    """A client's connection; `app` is the application that `create_app` makes."""

    app: Any
    cycle: Any
    pipeline: Any

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        application: Application = self.app
        self._endpoints = application.endpoints
        self._settings = application.settings
        self._watch = application.watch
        self._answering: Any = None
        self._header_bytes = 0
        self._unfinished = 0
        self._refused = False
        self._upgrading = False
        self._starting = False
        # For the watch: what the connection is at, since when, and how much has come in since.
        self.stage = Stage.IDLE
        self.since = self.loop.time()
        self.received = 0

    @property
    def is_answering(self) -> bool:
        return self._answering is not None and not self._answering.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As uvicorn does it, but the addresses, which are four system calls, are asked for where they are needed."""
        self.connections.add(self)
        self.transport = transport
        self.flow = FlowControl(transport)
        self.scheme = "http"
        self.since = self.loop.time()
        self._watch.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch.connections.discard(self)
        self.pipeline.clear()
        for request in (self.cycle, self._answering):
            if isinstance(request, DirectRequest) and not request.response_complete:
                request.abandon()
        # Of requests in a row, it is the one being answered that uvicorn has to tell.
        self.cycle = None if isinstance(self._answering, DirectRequest) else self._answering
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self.received += len(data)
        if self.stage is Stage.HEAD:
            self._unfinished += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, httptools.HttpParserInvalidURLError):
                self.refuse(400, "the URL can't be read: expected a path, or a whole http:// URL")
            elif not isinstance(error.__context__, _Refused):
                raise
        except httptools.HttpParserError as error:
            self.refuse(400, f"this is no HTTP/1.1 request: {error}")
        if self.stage is Stage.HEAD and self._unfinished > self._settings.max_header_bytes:
            self.refuse(431, self._too_many_bytes())

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Read a request that offers another protocol once more, without the offer: HTTP/1.1 is what is spoken here."""
        if self.parser.get_method() == b"CONNECT":
            self.refuse(400, "this is no proxy: expected a request for a path")
            return
        offer = {b"upgrade", b"connection", b"http2-settings"}
        lines = [b"%b: %b\r\n" % header for header in self.headers if header[0] not in offer]
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (self.parser.get_method(), self.url, b"".join(lines))
        self._upgrading = False
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(head + rest)

    def refuse(self, status: int, message: str) -> None:
        """Answer with an error and close: what comes next on this connection can't be told from garbage."""
        self._refused = True
        earlier = self.is_answering and not (self._answering is self.cycle and self.stage is Stage.BODY)
        if earlier:
            # The answer to an earlier request is on its way. It is the last one.
            self._answering.keep_alive = False
            self.pipeline.clear()
            self.flow.pause_reading()
            return
        if not (self.is_answering and getattr(self._answering, "response_started", False)):
            lines = [STATUS_LINE[status], self.default_headers(), JSON_HEADER, b"connection: close\r\n"]
            body = orjson.dumps({"error": message})
            self.transport.write(b"".join([*lines, b"content-length: %d\r\n\r\n" % len(body), body]))
        if isinstance(self.cycle, DirectRequest):
            self.cycle.response_complete = True
        self.transport.close()

    def finish_closing(self) -> None:
        """Called by the watch for a connection that is closing: TCP does so by itself."""

    def default_headers(self) -> bytes:
        """The date, as lines that end in CRLF; made once for each second."""
        return self._watch.render_headers(self.server_state.default_headers)

    # Callbacks of the parser, in the order in which they come.

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._header_bytes = self._unfinished = 0
        self.stage = Stage.HEAD
        self.since = self.loop.time()
        self.received = 0

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > MAX_URL:
            self._refuse_in_parser(414, f"the URL has more than {MAX_URL} bytes, which is the limit")

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self.headers.append((name, value))
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > self._settings.max_header_bytes:
            self._refuse_in_parser(431, self._too_many_bytes())
        if len(self.headers) > self._settings.max_headers:
            limit = self._settings.max_headers
            self._refuse_in_parser(431, f"the request has more than {limit} headers, which is the limit")

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            self._upgrading = True
            return
        if self.parser.get_method() == b"POST":
            path, _, query = self.url.partition(b"?")
            if not path.startswith(b"/"):
                path = httptools.parse_url(self.url).path or b"/"  # proxies are sent the whole URL
            endpoint = self._endpoints.get(path)
            if endpoint is not None:
                self._begin(endpoint, query)
                return
        if self.server is None:
            self.server, self.client = get_local_addr(self.transport), get_remote_addr(self.transport)
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        self.stage = Stage.BODY
        super().on_headers_complete()

    def _begin(self, endpoint: Endpoint, query: bytes) -> None:
        self.stage = Stage.BODY
        keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        before = self.cycle
        self.cycle = DirectRequest(self, endpoint, query, self.headers, keep_alive, self.expect_100_continue)
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, None)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, None))

    def on_body(self, body: bytes) -> None:
        if isinstance(self.cycle, DirectRequest):
            self.cycle.receive(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._upgrading:
            return
        self.stage = Stage.IDLE
        if isinstance(self.cycle, DirectRequest):
            self.cycle.finish()
        else:
            super().on_message_complete()

    # The answer.

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._answering = cycle
        if isinstance(cycle, DirectRequest):
            cycle.start()
        else:
            super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if not self.flow.write_paused and len(self.pipeline) <= MAX_WAITING:
            self.flow.resume_reading()
        self.since = self.loop.time()
        if not self._starting:
            self._start_waiting()

    def _start_waiting(self) -> None:
        """Start what waits for its turn, one after the other: an answer that is known at once leads here again."""
        self._starting = True
        try:
            while self.pipeline and not self.is_answering and not self.transport.is_closing():
                cycle, app = self.pipeline.pop()
                self._start_asgi_task(cycle, app)
        finally:
            self._starting = False

    def pause_writing(self) -> None:
        """A client that does not read its answers gets no more of them."""
        super().pause_writing()
        self.flow.pause_reading()
        self.since = self.loop.time()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.pipeline:
            self.flow.resume_reading()

    def _too_many_bytes(self) -> str:
        return f"the headers have more than {self._settings.max_header_bytes} bytes, which is the limit"

    def _refuse_in_parser(self, status: int, message: str) -> None:
        self.refuse(status, message)
        raise _Refused


class _Refused(Exception):
    """Ends the parser's work on a connection that has been refused."""
