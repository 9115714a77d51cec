"""Both clients have a defined answer within its deadline, whatever the server does."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tfaas_client
from numpy.typing import NDArray
from tfaas_client import (
    AsyncClient,
    Client,
    ClientError,
    Description,
    MalformedResponseError,
    Model,
    OverloadedError,
    ServerError,
    TransportError,
)

from tests.clients.misbehaving_server import Misbehaving, misbehaving_server
from tests.servers import TFAAS, start_server

Run = Callable[..., subprocess.CompletedProcess[str]]
OneLine = Callable[[str], str]
Expected = Callable[..., NDArray[np.float32]]

TFAAS_CLIENT = Path(sys.executable).parent / "tfaas-client"
TIMEOUT = 1.0
# No machine is so slow that it takes this long for what has a deadline of a second.
LATEST = 20.0
WIDTH = 3
DESCRIBED = Description("signal", 1, (), ("probabilities",), WIDTH)

ANSWERS: dict[str, type[Exception]] = {
    "silent": tfaas_client.TimeoutError,
    "slow_head": tfaas_client.TimeoutError,
    "slow_body": tfaas_client.TimeoutError,
    "garbage": TransportError,
    "half": TransportError,
    "closing": TransportError,
    "resetting": TransportError,
    "large_head": TransportError,
    "nonsense": MalformedResponseError,
    "deep": MalformedResponseError,
    "packed": MalformedResponseError,
    "503": OverloadedError,
}


def ask_about_one(url: str) -> None:
    with Client(url, timeout=TIMEOUT, retries=1) as client:
        client.predict("signal", [1.0, 2.0, 3.0])


def ask_about_many(url: str) -> None:
    with Client(url, timeout=TIMEOUT, retries=1) as client:
        Model(client, DESCRIBED).predict(np.zeros((100, WIDTH)), batch_events=10)


def ask_asynchronously(url: str) -> None:
    async def ask() -> None:
        async with AsyncClient(url, timeout=TIMEOUT, retries=1) as client:
            await client.bound_to(DESCRIBED).predict(np.zeros((100, WIDTH)), batch_events=10)

    asyncio.run(ask())


def upload(url: str) -> None:
    with Client(url, timeout=TIMEOUT, retries=1) as client:
        client.upload("signal", __file__)


@pytest.mark.parametrize("ask", [ask_about_one, ask_about_many, ask_asynchronously, upload])
@pytest.mark.parametrize("habit", ANSWERS)
def test_the_answer_is_defined_and_in_time(habit: str, ask: Callable[[str], None]) -> None:
    with misbehaving_server(habit) as server:
        started = time.monotonic()
        with pytest.raises(ANSWERS[habit], match=r"127\.0\.0\.1\S* \S|^no$"):
            ask(server.url)
        assert time.monotonic() - started < LATEST


def test_an_answer_without_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfaas_client._transport.MAX_ANSWER_BYTES", 1 << 20)
    told = r"127\.0\.0\.1.*more than 1048576 bytes"
    with misbehaving_server("endless") as server, Client(server.url) as client:  # noqa: SIM117
        with pytest.raises(MalformedResponseError, match=told):
            client.models()


@pytest.mark.parametrize("ask", [ask_about_one, ask_about_many, ask_asynchronously])
def test_nobody_there_is_a_connection_error(closed_url: str, ask: Callable[[str], None]) -> None:
    with pytest.raises(tfaas_client.ConnectionError, match=closed_url):
        ask(closed_url)


@pytest.mark.parametrize("habit", ANSWERS)
def test_the_command_line_exits_with_one_line(run: Run, one_line: OneLine, habit: str) -> None:
    with misbehaving_server(habit) as server:
        finished = run(TFAAS_CLIENT, "models", f"--url={server.url}", "--timeout=1")
        assert finished.returncode == (2 if issubclass(ANSWERS[habit], TransportError) else 1)
        one_line(finished.stderr)


@pytest.mark.parametrize("habit", ANSWERS)
def test_the_cpp_client_has_an_answer_in_time(run: Run, one_line: OneLine, cpp_program: Path, habit: str) -> None:
    with misbehaving_server(habit) as server:
        for arguments in (["1", "2", "3"], ["--rows=/dev/null"]):
            finished = run(cpp_program, f"--url={server.url}", "--model=signal", "--timeout=1", *arguments)
            assert (finished.returncode in (1, 2), finished.stdout) == (True, "")
            assert one_line(finished.stderr).startswith("tfaas-cpp: ")


def test_what_is_packed_is_not_unpacked() -> None:
    with misbehaving_server("packed") as server, Client(server.url) as client:  # noqa: SIM117
        with pytest.raises(MalformedResponseError, match=r"got b'\\x1f\\x8b"):
            client.models()


def test_an_address_of_the_sixth_version_is_asked(run: Run, cpp_program: Path) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listening:
        url = f"http://[::1]:{listening.getsockname()[1]}"

        def answer() -> None:
            for content in (b"[]", b"not found"):
                connection, _ = listening.accept()
                with connection:
                    connection.recv(1 << 16)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content))

        answering = threading.Thread(target=answer)
        answering.start()
        with Client(url) as client:
            assert client.models() == []
        finished = run(cpp_program, f"--url={url}", "--model=signal", "--retries=0", "1")
        assert f"{url}/proto did not answer with predictions" in finished.stderr
        answering.join()


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"ALL_PROXY": "socks5://127.0.0.1:9"}, "the proxies that the environment names cannot be used"),
        ({"HTTP_PROXY": "ftp://127.0.0.1:9"}, "the proxies that the environment names cannot be used"),
        (
            {"NO_PROXY": "[::", "HTTP_PROXY": "http://127.0.0.1:9"},
            "the proxies that the environment names cannot be used",
        ),
        ({"SSL_CERT_FILE": "/absent.pem"}, "that SSL_CERT_FILE or SSL_CERT_DIR names cannot be loaded"),
        ({"HTTP_PROXY": "http://127.0.0.1:9"}, "perhaps the proxy that the environment names"),
    ],
)
def test_an_environment_that_does_not_fit_is_named(
    run: Run, one_line: OneLine, variables: dict[str, str], told: str
) -> None:
    finished = run(TFAAS_CLIENT, "models", "--url=http://example.invalid", "--timeout=1", env=os.environ | variables)
    assert finished.returncode == 2
    assert told in one_line(finished.stderr)


@pytest.mark.parametrize("ask", [ask_about_one, ask_about_many])
def test_an_interrupt_ends_what_is_under_way(
    monkeypatch: pytest.MonkeyPatch, client: Client, ask: Callable[[str], None], model: str
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "TIMEOUT", 300.0)
    interrupt = threading.Timer(1.0, os.kill, [os.getpid(), signal.SIGINT])
    with misbehaving_server("silent") as server:
        interrupt.start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            ask(server.url)
        assert time.monotonic() - started < LATEST
    interrupt.join()
    assert client.predict(model, np.zeros((10, WIDTH)))["probabilities"].shape == (10, 2)


def test_a_progress_that_fails_ends_what_is_under_way(client: Client, model: str) -> None:
    def fail(done: int, total: int) -> None:
        raise RuntimeError(f"{done} of {total}")

    with pytest.raises(RuntimeError, match=r"^10 of 1000$"):
        client.predict(model, np.zeros((1000, WIDTH)), batch_events=10, progress=fail)
    assert client.predict(model, np.zeros((10, WIDTH)))["probabilities"].shape == (10, 2)


@pytest.mark.parametrize("habit", ["closing", "resetting", "garbage", "half", "502", "503", "504"])
def test_what_may_pass_is_repeated(habit: str) -> None:
    with misbehaving_server(habit, times=2) as server, Client(server.url) as client:
        assert client.models() == []
        assert server.requests() == ["GET /models HTTP/1.1"] * 3


@pytest.mark.parametrize("habit", ["400", "404", "429", "500"])
def test_what_stays_is_not_repeated(habit: str) -> None:
    with misbehaving_server(habit) as server, Client(server.url) as client:
        with pytest.raises((ClientError, ServerError), match=r"^no$"):
            client.models()
        assert len(server.requests()) == 1


@pytest.mark.parametrize("habit", ["closing", "half", "502", "504"])
def test_an_upload_that_may_have_been_done_is_not_repeated(habit: str) -> None:
    with misbehaving_server(habit) as server, Client(server.url) as client:
        with pytest.raises((TransportError, ServerError)):
            client.upload("signal", __file__)
        assert len(server.requests()) == 1


def test_no_retries_means_one_attempt() -> None:
    with misbehaving_server("503") as server, Client(server.url, retries=0) as client:
        with pytest.raises(OverloadedError):
            client.models()
        assert len(server.requests()) == 1


@pytest.fixture(params=["silent", "slow_body", "closing", "502", "503"])
def failing(request: pytest.FixtureRequest) -> Iterator[Misbehaving]:
    with misbehaving_server(request.param) as server:
        yield server


def test_the_next_server_answers_when_one_fails(
    failing: Misbehaving, server: Any, closed_url: str, model: str, expected: Expected
) -> None:
    with Client([closed_url, failing.url, server.url], timeout=10) as client:
        for _ in range(3):
            np.testing.assert_allclose(client.predict(model, {"met": 1.0, "jet_pt": []}), expected(1.0), atol=1e-6)
        answer = client.predict(model, {"met": np.ones(100), "jet_pt": [[]] * 100}, batch_events=10)
        np.testing.assert_allclose(answer["probabilities"], np.stack([expected(1.0)] * 100), atol=1e-6)
        assert len(failing.requests()) == 1, "the server that answers is asked first from then on"


def test_an_upload_goes_to_the_next_server_where_nobody_listens(
    server: Any, closed_url: str, model_files: Path, unique_name: str, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(model_files, tmp_path / unique_name))
    with Client([closed_url, server.url]) as client:
        assert client.upload_bundle(bundle).version == 1
    with Client([closed_url, server.url]) as client:
        files = [bundle / name for name in ("model.onnx", "params.json", "labels.txt")]
        assert client.upload(unique_name, *files).version == 2


def test_a_server_that_restarts_is_waited_for(
    tmp_path: Path, model_files: Path, flat_manifest: dict[str, Any], expected: Expected
) -> None:
    server = start_server(tmp_path / "data")
    command = [TFAAS, "serve", "--port", server.url.rpartition(":")[2], "--data-dir", str(server.data_dir)]
    with Client(server.url, timeout=120, retries=1000) as client:
        client.upload("restarted", model_files / "model.onnx", params=flat_manifest)
        bound = client.model("restarted")
        events = np.random.default_rng(1).normal(size=(2000, WIDTH))
        first_batch = threading.Event()
        answers: list[NDArray[np.float32]] = []

        def score() -> None:
            def progress(done: int, total: int) -> None:
                first_batch.set()
                restarted.wait(60) if done > 500 else None

            answers.append(bound.predict(events, batch_events=10, concurrency=2, progress=progress)["probabilities"])

        restarted = threading.Event()
        scoring = threading.Thread(target=score)
        scoring.start()
        assert first_batch.wait(60)
        server.kill()
        restarted.set()
        with server.log.open("ab") as log, subprocess.Popen(command, stdout=log, stderr=log) as second:
            scoring.join(120)
            second.terminate()
    np.testing.assert_allclose(answers[0], np.stack([expected(*event) for event in events]), atol=1e-6)
