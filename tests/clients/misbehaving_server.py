"""A server process that does not do what it should.

Run as `python misbehaving_server.py HABIT [TIMES]`: prints its port, then the request line of each request that it
reads. With TIMES, later requests are answered well: an empty JSON list.
"""

import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"
DRIP_SECONDS = 0.05
RESET = struct.pack("ii", 1, 0)


def silent(connection: socket.socket) -> None:
    """Answers nothing and keeps the connection."""
    while connection.recv(4096):
        pass


def slow_head(connection: socket.socket) -> None:
    _drip(connection, b"HTTP/1.1 200 OK\r\nX-Padding: " + b"x" * 50_000)


def slow_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n")
    _drip(connection, b" " * 50_000)


def garbage(connection: socket.socket) -> None:
    connection.sendall(bytes(range(256)) * 16)


def nonsense(connection: socket.socket) -> None:
    """Good HTTP that means nothing."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>")


def deep(connection: socket.socket) -> None:
    """Nothing but brackets that open."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"[" * 200_000)


def packed(connection: socket.socket) -> None:
    """Some kilobytes that would become a thousand times as many."""
    packer = zlib.compressobj(wbits=31)
    content = packer.compress(bytes(1 << 24)) + packer.flush()
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(content)}\r\n\r\n"
    connection.sendall(head.encode() + content)


def large_head(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n" + b"X-Padding: xxxxxxxx\r\n" * 500_000 + b"\r\n")


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    block = b" " * (1 << 20)
    while True:
        connection.sendall(block)


def half(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[[0.5")


def closing(connection: socket.socket) -> None:
    """Answers nothing and closes."""


def resetting(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def status(code: int) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 {code} No\r\nContent-Length: 15\r\n\r\n".encode() + b'{"error": "no"}')

    return answer


HABITS: dict[str, Callable[[socket.socket], None]] = {
    "silent": silent,
    "slow_head": slow_head,
    "slow_body": slow_body,
    "garbage": garbage,
    "nonsense": nonsense,
    "deep": deep,
    "packed": packed,
    "large_head": large_head,
    "endless": endless,
    "half": half,
    "closing": closing,
    "resetting": resetting,
    **{str(code): status(code) for code in (400, 404, 429, 500, 502, 503, 504)},
}


def _drip(connection: socket.socket, content: bytes) -> None:
    for byte in content:
        connection.sendall(bytes([byte]))
        time.sleep(DRIP_SECONDS)


class _Server:
    def __init__(self, habit: Callable[[socket.socket], None], times: float) -> None:
        self._habit = habit
        self._left = times
        self._lock = threading.Lock()

    def serve(self, listening: socket.socket) -> None:
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=self._answer, args=[connection], daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._read(connection)
                with self._lock:
                    self._left -= 1
                    well = self._left < 0
                if well:
                    connection.sendall(GOOD)
                else:
                    self._habit(connection)
        except OSError:
            return  # the client has had enough

    def _read(self, connection: socket.socket) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(1 << 16) or b"\r\n\r\n"
        head, _, body = received.partition(b"\r\n\r\n")
        print(head.decode("latin-1").splitlines()[0], flush=True)
        for line in head.lower().split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name == b"content-length":
                left = int(value) - len(body)
                while left > 0:
                    left -= len(connection.recv(1 << 16)) or left


@dataclass
class Misbehaving:
    """The process; `requests` ends it and returns the request lines that it has read."""

    url: str
    process: "subprocess.Popen[str]"

    def requests(self) -> list[str]:
        self.process.kill()
        assert self.process.stdout is not None
        return self.process.stdout.read().splitlines()


@contextmanager
def misbehaving_server(habit: str, times: int | None = None) -> Iterator[Misbehaving]:
    command = [sys.executable, __file__, habit, *([] if times is None else [str(times)])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Misbehaving(f"http://127.0.0.1:{int(process.stdout.readline())}", process)
        finally:
            process.kill()


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        times = float(sys.argv[2]) if len(sys.argv) > 2 else float("inf")
        _Server(HABITS[sys.argv[1]], times).serve(listening)


if __name__ == "__main__":
    main()
