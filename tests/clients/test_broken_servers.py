"""Both clients against servers that fail, keep silent, talk nonsense or present certificates."""

import ssl
import subprocess
import sys
from collections.abc import Callable
from email.message import Message
from pathlib import Path

import numpy as np
import pytest
import tfaas_client
from tfaas_client import Client, MalformedResponseError, OverloadedError, ResponseError, ServerError, Wire
from tfaas_client.tfaas_pb2 import Predictions

from tests.certificates import Authority, Credential
from tests.clients.scripted_server import scripted_server

Run = Callable[..., subprocess.CompletedProcess[str]]
OneLine = Callable[[str], str]

ANSWER = Predictions(prediction=[{"label": "signal", "probability": 0.75}]).SerializeToString()
TFAAS_CLIENT = Path(sys.executable).parent / "tfaas-client"


@pytest.fixture(scope="session")
def credential(authority: Authority) -> Credential:
    return authority.issue("localhost")


@pytest.fixture(scope="session")
def tls(authority: Authority, credential: Credential) -> ssl.SSLContext:
    """Asks for a certificate of the authority and answers with one."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.certificate)
    context.load_cert_chain(credential.certificate, credential.key)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.mark.parametrize("status", [500, 502])
def test_5xx_is_a_server_error_and_exits_1(run: Run, one_line: OneLine, cpp_program: Path, status: int) -> None:
    with scripted_server(status, b'{"error": "the disk\\nis full"}') as server:
        with Client(server.url) as client, pytest.raises(ServerError, match="the disk\nis full") as failed:
            client.models()
        assert failed.value.status == status
        python = run(TFAAS_CLIENT, "models", f"--url={server.url}")
        cpp = run(cpp_program, f"--url={server.url}", "--model=x", "1")
    for finished in (python, cpp):
        assert finished.returncode == 1
        assert "the disk is full" in one_line(finished.stderr)


def test_503_says_when_to_come_back() -> None:
    headers = {"Retry-After": "2"}
    with scripted_server(503, b'{"error": "busy"}', headers) as server, Client(server.url, retries=0) as client:
        with pytest.raises(OverloadedError, match="busy") as overloaded:
            client.predict("signal", [1.0])
        assert overloaded.value.retry_after == 2


@pytest.mark.parametrize("wire", ["json", "proto"])
def test_nonsense_is_a_malformed_response(run: Run, one_line: OneLine, cpp_program: Path, wire: Wire) -> None:
    with scripted_server(200, b"<html>") as server:
        with Client(server.url) as client, pytest.raises(MalformedResponseError, match=r"<html>"):
            client.predict("signal", [1.0], wire=wire)
        python = run(TFAAS_CLIENT, "models", f"--url={server.url}")
        cpp = run(cpp_program, f"--url={server.url}", "--model=x", "1")
    for finished in (python, cpp):
        assert finished.returncode == 1
        assert server.url in one_line(finished.stderr)


def test_an_error_without_a_message_names_the_status(run: Run, one_line: OneLine, cpp_program: Path) -> None:
    with scripted_server(404, b"<html>not here</html>") as server:
        with Client(server.url) as client, pytest.raises(ResponseError, match="404"):
            client.models()
        cpp = run(cpp_program, f"--url={server.url}", "--model=x", "1")
    assert cpp.returncode == 2
    assert "404" in one_line(cpp.stderr)


def test_a_redirect_names_the_new_place() -> None:
    with (
        scripted_server(301, headers={"Location": "https://elsewhere"}) as server,
        Client(server.url) as client,
        pytest.raises(ResponseError, match="moved to https://elsewhere"),
    ):
        client.models()


def test_a_silent_server_runs_into_the_timeout(run: Run, one_line: OneLine, cpp_program: Path) -> None:
    with scripted_server() as server:
        server.silent.set()
        with Client(server.url, timeout=0.2) as client, pytest.raises(tfaas_client.TimeoutError):
            client.models()
        for program in ([TFAAS_CLIENT, "models"], [cpp_program, "--model=x", "1"]):
            finished = run(*program, f"--url={server.url}", "--timeout=0.2")
            assert finished.returncode == 2
            assert server.url in one_line(finished.stderr)


def test_the_python_client_keeps_its_connection() -> None:
    with scripted_server(200, ANSWER) as server, Client(server.url) as client:
        for _ in range(10):
            client.predict("signal", [1.0], wire="proto")
        assert server.connections == 1


def test_the_cpp_client_keeps_a_connection_for_each_thread(run: Run, test_programs: Path) -> None:
    with scripted_server(200, ANSWER) as server:
        finished = run(test_programs / "many_threads", server.url, "signal")
        assert finished.stdout == "0\n"
        assert 1 <= server.connections <= 8


def test_the_token_is_presented(run: Run, cpp_program: Path) -> None:
    with scripted_server(200, ANSWER) as server:
        with Client(server.url, token="secret") as client:
            client.predict("signal", [1.0], wire="proto")
        assert server.received["Authorization"] == "Bearer secret"
        server.received = Message()
        run(cpp_program, f"--url={server.url}", "--model=x", "1", env={"TFAAS_TOKEN": "secret"})
        assert server.received["Authorization"] == "Bearer secret"


def test_tls_trusts_and_presents_certificates(
    authority: Authority, credential: Credential, tls: ssl.SSLContext
) -> None:
    pair = credential.certificate, credential.key
    with scripted_server(200, ANSWER, tls=tls) as server:
        for verify in (authority.folder, authority.certificate, False):
            with Client(server.url, cert=pair, verify=verify) as client:
                np.testing.assert_allclose(client.predict("signal", [1.0], wire="proto"), [0.75])
        untrusting = Client(server.url, cert=credential.both)
        with untrusting as client, pytest.raises(tfaas_client.ConnectionError, match="CERTIFICATE"):
            client.models()


def test_the_grid_environment_is_honoured(
    run: Run,
    one_line: OneLine,
    cpp_program: Path,
    test_programs: Path,
    authority: Authority,
    credential: Credential,
    tls: ssl.SSLContext,
) -> None:
    grid = {"X509_USER_PROXY": str(credential.both), "X509_CERT_DIR": str(authority.folder)}
    with scripted_server(200, ANSWER, tls=tls) as server:
        answered = run(cpp_program, f"--url={server.url}", "--model=signal", "1", env=grid)
        assert (answered.returncode, answered.stdout) == (0, "signal 0.75\n")
        original = run(test_programs / "original_program", f"{server.url}/proto", "signal", env=grid)
        assert original.stdout.startswith("signal 0.75\n")
        untrusting = run(cpp_program, f"--url={server.url}", "--model=signal", "1", env={})
        assert untrusting.returncode == 2
        assert "certificate" in one_line(untrusting.stderr)
    with scripted_server(200, b"[]", tls=tls) as server:
        listed = run(TFAAS_CLIENT, f"--url={server.url}", "--models", env=grid)
        assert (listed.returncode, listed.stdout) == (0, "[]\n")
