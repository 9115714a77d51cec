"""A web server that sends parts of files, as those of grid sites do, and may misbehave."""

import contextlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class RangeServer(ThreadingHTTPServer):
    """Serves the files of ``root`` by ranges.

    Attributes:
        failures: How many of the next requests are answered with 503.
        whole: Whether ranges are ignored.
        headers: Of the last request.
    """

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.failures = 0
        self.whole = False
        self.last_headers: Any = None

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RangeServer

    def do_GET(self) -> None:
        self.server.last_headers = self.headers
        path = self.server.root / self.path.lstrip("/").split("?", 1)[0]
        if self.server.failures:
            self.server.failures -= 1
            self._answer(503, b"")
        elif not path.is_file():
            self._answer(404, b"")
        elif self.server.whole:
            self._answer(200, path.read_bytes())
        else:
            self._part(path.read_bytes())

    def _part(self, content: bytes) -> None:
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
        assert match
        start, stop = int(match[1]), min(int(match[2]) + 1, len(content))
        if start >= len(content):
            self._answer(416, b"")
            return
        self._answer(206, content[start:stop], f"bytes {start}-{stop - 1}/{len(content)}")

    def _answer(self, status: int, content: bytes, content_range: str = "") -> None:
        self.send_response(status)
        if content_range:
            self.send_header("Content-Range", content_range)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing, for the output of tests."""


@contextlib.contextmanager
def run_web_server(root: Path) -> Iterator[RangeServer]:
    with RangeServer(root) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
