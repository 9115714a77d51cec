"""What a connection may do: limits on headers and time, requests in a row, and lengths that contradict each other."""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.networks import linear_onnx, loop_onnx, model_bytes
from tests.servers import Server, running_server

BODY = b'{"values": [1, 2, 3], "model": "three"}'
PREDICT = b"POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
RECEIVE_SECONDS = 2.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is impatient."""
    settings = {
        "TFAAS_RECEIVE_TIMEOUT": str(RECEIVE_SECONDS), "TFAAS_KEEP_ALIVE": "3", "TFAAS_MAX_HEADER_BYTES": "8192",
        "TFAAS_MAX_BODY": "2048",
    }  # fmt: skip
    with running_server(tmp_path_factory.mktemp("impatient") / "data", **settings) as server:
        answer = httpx.post(
            f"{server.url}/upload",
            data={"name": "three"},
            files={"model": ("m.onnx", linear_onnx([1.0, 10.0, 100.0]))},
            timeout=60,
        )
        answer.raise_for_status()
        yield server
        assert httpx.post(f"{server.url}/json", content=BODY).json() == [321.0]


def connect(server: Server) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    connection.settimeout(20)
    return connection


def exchange(server: Server, *blocks: bytes, pause: float = 0.0) -> bytes:
    """All that comes back until the server closes."""
    with connect(server) as connection:
        for block in blocks:
            connection.sendall(block)
            time.sleep(pause)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    received = b""
    try:
        while block := connection.recv(65536):
            received += block
    except ConnectionResetError:
        pass
    return received


def read_answers(connection: socket.socket, count: int) -> bytes:
    received = b""
    while received.count(b"HTTP/1.1 ") < count or not received.endswith(b"]"):
        block = connection.recv(65536)
        assert block, received
        received += block
    return received


def test_requests_in_a_row_are_answered_in_their_order(server: Server) -> None:
    other = BODY.replace(b"1, 2, 3", b"4, 5, 6")
    mixed = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(server) as connection:
        connection.sendall(PREDICT + mixed + PREDICT.replace(BODY, other) + PREDICT)
        received = read_answers(connection, 4)
    answers = [part.rpartition(b"\r\n\r\n")[2] for part in received.split(b"HTTP/1.1 ")[1:]]
    assert answers == [b"[321.0]", b'{"status":"ok"}', b"[654.0]", b"[321.0]"]


def test_a_request_may_come_in_pieces(server: Server) -> None:
    with connect(server) as connection:
        for position in range(0, len(PREDICT), 20):
            connection.sendall(PREDICT[position : position + 20])
            time.sleep(0.01)
        assert read_answers(connection, 1).endswith(b"[321.0]")


def test_a_client_may_ask_before_it_sends_and_may_close_after(server: Server) -> None:
    head, _, body = PREDICT.partition(b"\r\n\r\n")
    with connect(server) as connection:
        connection.sendall(head + b"\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        answer = read_all(connection)
    assert answer.endswith(b"[321.0]")
    assert b"connection: close" in answer


def test_chunked_bodies_whole_urls_and_old_protocols(server: Server) -> None:
    chunked = b"POST /json HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    blocks = [b"%x\r\n%b\r\n" % (len(BODY[at : at + 9]), BODY[at : at + 9]) for at in range(0, len(BODY), 9)]
    assert exchange(server, chunked, *blocks, b"0\r\n\r\n").endswith(b"[321.0]")
    whole = PREDICT.replace(b"POST /json", b"POST http://x/json?a=b").replace(
        b"Host: x", b"Host: x\r\nConnection: close"
    )
    assert exchange(server, whole).endswith(b"[321.0]")
    assert exchange(server, PREDICT.replace(b"HTTP/1.1", b"HTTP/1.0")).endswith(b"[321.0]")


@pytest.mark.parametrize(
    "request_text",
    [
        b"POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n" + PREDICT,
        b"POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + PREDICT,
        b"POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n" + PREDICT,
        b"POST /json HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n" + PREDICT,
        b"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n" + PREDICT,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 50,
        b"hello\r\n\r\n" + PREDICT,
    ],
)
def test_what_contradicts_itself_is_refused_and_never_read_as_a_second_request(
    server: Server, request_text: bytes
) -> None:
    answer = exchange(server, request_text)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"content-length") == 1
    assert "this is no HTTP/1.1 request" in json.loads(answer.rpartition(b"\r\n\r\n")[2])["error"]


def test_an_offer_of_another_protocol_is_passed_over(server: Server) -> None:
    offer = b"Host: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    head, _, body = PREDICT.replace(b"Host: x\r\n", offer).partition(b"\r\n\r\n")
    with connect(server) as connection:
        connection.sendall(head + b"\r\n\r\n" + body[:10])
        time.sleep(0.05)
        connection.sendall(body[10:])
        assert read_answers(connection, 1).endswith(b"[321.0]")
        connection.sendall(PREDICT)
        assert read_answers(connection, 1).endswith(b"[321.0]")


@pytest.mark.parametrize("target", [b"GET foo://", b"POST http://", b"POST http://h:99999/json", b"CONNECT a:80"])
def test_a_target_that_can_not_be_read_is_told(server: Server, target: bytes) -> None:
    answer = exchange(server, target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 "))


def test_more_body_than_announced_ends_the_connection_after_the_answer(server: Server) -> None:
    answer = exchange(server, PREDICT + b"more than was announced\r\n\r\n" + PREDICT)
    assert answer.count(b"[321.0]") == 1
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_headers_have_limits(server: Server) -> None:
    many = b"".join(b"X-%d: 1\r\n" % number for number in range(200))
    assert b"431" in exchange(server, PREDICT.replace(b"\r\n\r\n", b"\r\n" + many + b"\r\n", 1))[:20]
    large = b"X: " + b"a" * 9000 + b"\r\n"
    assert b"431" in exchange(server, PREDICT.replace(b"\r\n\r\n", b"\r\n" + large + b"\r\n", 1))[:20]
    assert b"414" in exchange(server, b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")[:20]


def test_a_header_without_end_is_cut_off(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        endless = b"a" * 1_000_000_000
        with pytest.raises(ConnectionError):  # reset, or a broken pipe
            connection.sendall(endless)


def test_a_body_over_the_limit_is_told_and_a_client_that_goes_on_sees_it(server: Server) -> None:
    head = b"POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    answer = exchange(server, head, *[b"x" * 100_000] * 10)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"more than 2048 bytes" in answer


def test_who_trickles_is_told_and_closed_and_nobody_else_notices(server: Server) -> None:
    def trickle(head: bytes) -> tuple[float, bytes]:
        started = time.monotonic()
        with connect(server) as connection:
            connection.sendall(head)
            connection.settimeout(0.2)
            for _ in range(100):
                try:
                    connection.sendall(b"a")
                    received = connection.recv(1000)
                    return time.monotonic() - started, received
                except TimeoutError:
                    continue
        raise AssertionError("the server waits for ever")

    heads = [b"GET / HTTP/1.1\r\nX: ", b"POST /json HTTP/1.1\r\nContent-Length: 2000\r\n\r\n"]
    heads.append(b"POST /upload HTTP/1.1\r\nContent-Length: 2000\r\n\r\n")
    with ThreadPoolExecutor(100) as executor:
        slow = [executor.submit(trickle, heads[number % 3]) for number in range(100)]
        latencies = []
        with httpx.Client() as client:
            for _ in range(100):
                started = time.monotonic()
                assert client.post(f"{server.url}/json", content=BODY).json() == [321.0]
                latencies.append(time.monotonic() - started)
        results = [one.result() for one in slow]
    assert all(RECEIVE_SECONDS < seconds < 4 * RECEIVE_SECONDS for seconds, _ in results)
    assert all(received.startswith(b"HTTP/1.1 408 ") for _, received in results)
    assert sorted(latencies)[50] < 0.5


def test_idle_connections_are_closed_and_used_ones_are_not(server: Server) -> None:
    with connect(server) as idle, connect(server) as used:
        for _ in range(5):
            used.sendall(PREDICT)
            assert read_answers(used, 1).endswith(b"[321.0]")
            time.sleep(1)
        started = time.monotonic()
        assert idle.recv(10) == b""
        assert time.monotonic() - started < 2
        used.sendall(PREDICT)
        assert read_answers(used, 1).endswith(b"[321.0]")


def test_a_client_that_reads_no_answers_gets_no_more_of_them(server: Server) -> None:
    with connect(server) as connection:
        connection.settimeout(15)
        endless = PREDICT * 1_000_000
        with pytest.raises((TimeoutError, ConnectionError)):
            connection.sendall(endless)


def test_any_number_of_bad_requests_behind_a_good_one_is_answered(server: Server) -> None:
    bad = b"POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n{"
    with connect(server) as connection:
        connection.sendall(PREDICT + bad * 2000 + PREDICT)
        answers = read_answers(connection, 2002)
    assert answers.count(b"HTTP/1.1 400 ") == 2000
    assert answers.count(b"[321.0]") == 2
    assert "Traceback" not in server.log.read_text()


def test_a_slow_model_holds_up_no_other(server: Server) -> None:
    graph = loop_onnx()
    httpx.post(
        f"{server.url}/upload", data={"name": "loop"}, files={"model": ("m.onnx", graph)}, timeout=60
    ).raise_for_status()

    def ask(turns: float) -> httpx.Response:
        return httpx.post(f"{server.url}/json", json={"model": "loop", "values": [turns] * 64}, timeout=60)

    for _ in range(10):
        assert ask(1).status_code == 200
    with ThreadPoolExecutor(1) as executor:
        slow = executor.submit(ask, 2_000_000)
        time.sleep(0.2)
        latencies = []
        while not slow.done() and len(latencies) < 50:
            started = time.monotonic()
            assert httpx.post(f"{server.url}/json", content=BODY).json() == [321.0]
            latencies.append(time.monotonic() - started)
        assert slow.result().status_code == 200
    assert len(latencies) > 10, "the model was not slow"
    assert sorted(latencies)[len(latencies) // 2] < 0.25


def test_a_model_whose_size_depends_on_its_data_never_runs_in_the_event_loop(server: Server) -> None:
    graph = model_bytes(
        [
            helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
            helper.make_node("Range", ["zero", "most", "one"], ["numbers"]),
            helper.make_node("ReduceSum", ["numbers"], ["sum"], keepdims=0),
            helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
            helper.make_node("Add", ["x", "nothing"], ["y"]),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])],
        zero=np.float32(0),
        one=np.float32(1),
    )
    httpx.post(
        f"{server.url}/upload", data={"name": "range"}, files={"model": ("m.onnx", graph)}, timeout=60
    ).raise_for_status()

    def ask(value: float) -> httpx.Response:
        return httpx.post(f"{server.url}/json", json={"model": "range", "values": [value]}, timeout=60)

    for _ in range(5):
        assert ask(1).status_code == 200
    with ThreadPoolExecutor(1) as executor:
        slow = executor.submit(ask, 1e8)
        latencies = []
        while not slow.done() and len(latencies) < 20:
            started = time.monotonic()
            assert httpx.post(f"{server.url}/json", content=BODY).json() == [321.0]
            latencies.append(time.monotonic() - started)
        slow.result()
    assert len(latencies) > 5
    assert sorted(latencies)[len(latencies) // 2] < 0.25


def test_requests_in_a_row_whose_client_goes_away_are_dropped(server: Server) -> None:
    """A queued one, and the one that is being answered."""
    httpx.post(
        f"{server.url}/upload", data={"name": "dropped"}, files={"model": ("m.onnx", loop_onnx())}, timeout=60
    ).raise_for_status()
    slow = json.dumps({"model": "dropped", "values": [3e5] * 64}).encode()
    head = b"POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(slow)
    for _ in range(5):
        with connect(server) as connection:
            connection.sendall(head + slow + head + slow)
            time.sleep(0.05)
    with connect(server) as connection:
        connection.sendall(head + slow + PREDICT.split(b"\r\n\r\n")[0] + b"\r\nExpect: 100-continue\r\n\r\n")
        received = b""
        while b"100 Continue" not in received:
            block = connection.recv(65536)
            assert block, received
            received += block
        connection.sendall(BODY)
        assert read_answers(connection, 1).endswith(b"[321.0]")
    assert "Traceback" not in server.log.read_text()
