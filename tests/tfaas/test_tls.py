"""HTTPS by `tfaas serve`: what is served, what is refused at start, and what clients may do to a handshake."""

import asyncio
import contextlib
import json
import shutil
import signal
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from tests.certificates import Authority, Credential, openssl
from tests.networks import linear_onnx
from tests.servers import Server, free_port, running_server, start_server
from tests.tfaas.test_connections import BODY, PREDICT, read_all, read_answers
from tests.tfaas.test_large_bundles import peak_memory
from tests.tfaas.test_server_process import tfaas
from tfaas.api.connection import Application
from tfaas.api.secure_connection import SecureConnection
from tfaas.api.watch import Watch
from tfaas.observability.metrics import Metrics
from tfaas.security.certificate import HostCertificate
from tfaas.settings import Settings

RECEIVE_SECONDS = 2.0
MEBIBYTE = 1024**2


@pytest.fixture(scope="module")
def host(authority: Authority) -> Credential:
    return authority.issue("host")


@pytest.fixture(scope="module")
def trust(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority.certificate)


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, host: Credential, trust: ssl.SSLContext
) -> Iterator[Server]:
    """A server that is impatient; what it logs of handshakes at this level is nothing."""
    data_dir = tmp_path_factory.mktemp("tls") / "data"
    with running_server(
        data_dir, *options(host), authority=authority.certificate, TFAAS_RECEIVE_TIMEOUT=str(RECEIVE_SECONDS)
    ) as server:
        upload(server, trust)
        yield server
        assert ask(server, trust) == [321.0]
        lines = server.log.read_text().splitlines()
        assert [line for line in lines if " INFO uvicorn.error: " not in line] == []


def options(host: Credential) -> tuple[str, ...]:
    return "--tls-certificate", str(host.certificate), "--tls-key", str(host.key)


def upload(server: Server, trust: ssl.SSLContext) -> None:
    files = {"model": ("m.onnx", linear_onnx([1.0, 10.0, 100.0]))}
    answer = httpx.post(f"{server.url}/upload", data={"name": "three"}, files=files, timeout=60, verify=trust)
    answer.raise_for_status()


def ask(server: Server, trust: ssl.SSLContext) -> object:
    return httpx.post(f"{server.url}/json", content=BODY, verify=trust).json()


def connect(server: Server) -> socket.socket:
    """A connection without TLS."""
    port = int(server.url.rpartition(":")[2])
    connection = socket.create_connection(("127.0.0.1", port))
    connection.settimeout(20)
    return connection


def connect_securely(server: Server, trust: ssl.SSLContext) -> ssl.SSLSocket:
    return trust.wrap_socket(connect(server), server_hostname="localhost")


def client_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_both_ways_to_an_answer_are_served_on_one_connection(
    data_dir: Path, authority: Authority, host: Credential, trust: ssl.SSLContext, workers: str
) -> None:
    """One file holds certificate and key."""
    settings = ("--tls-certificate", str(host.both), "--workers", workers)
    with running_server(data_dir, *settings, authority=authority.certificate) as server:
        upload(server, trust)
        with connect_securely(server, trust) as connection:
            for _ in range(3):
                connection.sendall(PREDICT + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + PREDICT)
                received = read_answers(connection, 3)
                assert [part.rpartition(b"\r\n\r\n")[2] for part in received.split(b"HTTP/1.1 ")[1:]] == [
                    b"[321.0]", b'{"status":"ok"}', b"[321.0]",
                ]  # fmt: skip
            connection.sendall(PREDICT.replace(b"Host: x", b"Host: x\r\nConnection: close"))
            assert read_all(connection).endswith(b"[321.0]")


def test_tls_1_2_is_the_oldest(server: Server, authority: Authority) -> None:
    for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        context = ssl.create_default_context(cafile=authority.certificate)
        context.minimum_version = context.maximum_version = version
        with connect_securely(server, context) as connection:
            assert connection.version() == name
    context = ssl.create_default_context(cafile=authority.certificate)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        connect_securely(server, context)


def test_who_presents_an_x509_proxy_is_served(server: Server, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=authority.certificate)
    context.load_cert_chain(authority.issue_proxy("proxy"))
    assert ask(server, context) == [321.0]


@pytest.mark.parametrize("case", [
    ("missing.pem", "host.key", "certificate", "missing.pem can't be read: No such file or directory"),
    ("", "host.key", "key", "host.key has no certificate: expected TFAAS_TLS_CERTIFICATE too"),
    ("folder", "host.key", "certificate", "folder can't be read: Is a directory"),
    (
        "host.key", "host.key", "certificate",
        "host.key can't be understood: expected PEM with the certificate of the host, then its chain",
    ),
    ("half.pem", "host.key", "certificate", "half.pem can't be understood: expected PEM"),
    ("chain.pem", "host.key", "certificate", "chain.pem can't be understood: expected PEM"),
    ("host.der", "host.key", "certificate", "host.der can't be understood: expected PEM"),
    ("host.pem", "", "key", "host.pem can't be understood: expected PEM with the private key of "),
    ("host.pem", "missing.key", "key", "missing.key can't be read: No such file or directory"),
    ("host.pem", "authority.key", "key", "authority.key does not match: expected the private key of "),
    ("host.pem", "curve.key", "key", "curve.key does not match: expected the private key of "),
    ("host.pem", "encrypted.key", "key", "encrypted.key has a passphrase: expected a key without one"),
    ("host.pem", "traditional.key", "key", "traditional.key has a passphrase: expected a key without one"),
    ("encrypted.pem", "", "key", "encrypted.pem has a passphrase: expected a key without one"),
    ("weak.pem", "weak.key", "certificate", "weak.pem is refused by OpenSSL: ee key too small"),
])  # fmt: skip
def test_what_is_wrong_with_the_files_is_told_in_one_line_before_anything_is_made(
    tmp_path: Path, files: Path, case: tuple[str, str, str, str]
) -> None:
    certificate, key, kind, reason = case
    named = {"TFAAS_TLS_CERTIFICATE": certificate, "TFAAS_TLS_KEY": key}
    environment = {name: str(files / value) for name, value in named.items() if value}
    done = tfaas("serve", "--port", str(free_port()), "--data-dir", str(tmp_path / "data"), **environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"tfaas: TLS {kind} {files / reason}")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, authority: Authority, host: Credential) -> Path:
    """What somebody might take for a certificate or its key."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "folder").mkdir()
    shutil.copy(host.certificate, folder / "host.pem")
    shutil.copy(host.key, folder / "host.key")
    shutil.copy(authority.credential.key, folder / "authority.key")
    certificate = host.certificate.read_text()
    (folder / "half.pem").write_text(certificate[:500])
    (folder / "chain.pem").write_text(certificate + authority.certificate.read_text()[:500])
    openssl("x509", "-in", host.certificate, "-outform", "der", "-out", folder / "host.der")
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", folder / "curve.key")
    encrypt = ["rsa", "-in", host.key, "-aes256", "-passout", "pass:secret"]
    openssl(*encrypt, "-out", folder / "encrypted.key")
    openssl(*encrypt, "-traditional", "-out", folder / "traditional.key")
    (folder / "encrypted.pem").write_text(certificate + (folder / "encrypted.key").read_text())
    weak = ["-keyout", folder / "weak.key", "-out", folder / "weak.pem"]
    openssl("req", "-x509", "-newkey", "rsa:1024", "-nodes", "-days", "2", "-subj", "/CN=localhost", *weak)
    return folder


def test_a_request_without_tls_ends_the_connection(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(PREDICT)
        assert b"HTTP" not in read_all(connection)


@pytest.mark.parametrize("size", [0, 50, None], ids=["nothing", "half a hello", "a hello"])
def test_a_handshake_has_as_much_time_as_headers_have(server: Server, trust: ssl.SSLContext, size: int | None) -> None:
    with connect(server) as waiting:
        waiting.sendall(client_hello()[:size])
        assert ask(server, trust) == [321.0]
        read_all(waiting)  # until the server closes


def test_clients_that_disappear_in_the_handshake_leave_nothing(server: Server, trust: ssl.SSLContext) -> None:
    hello = client_hello()
    for number in range(60):
        with connect(server) as connection:
            connection.sendall(hello[: (0, 50, len(hello))[number % 3]])
            if number % 2:  # reset it instead
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert ask(server, trust) == [321.0]
    wait_until_no_connection_is_left(server)


def wait_until_no_connection_is_left(server: Server) -> None:
    deadline = time.monotonic() + 20
    while any(one.status != psutil.CONN_LISTEN for one in server.worker.net_connections("tcp")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_many_handshakes_at_once_are_all_completed(server: Server, trust: ssl.SSLContext) -> None:
    def once(_: int) -> bytes:
        with connect_securely(server, trust) as connection:
            connection.sendall(PREDICT)
            return read_answers(connection, 1)

    with ThreadPoolExecutor(100) as executor:
        assert all(answer.endswith(b"[321.0]") for answer in executor.map(once, range(300)))


def test_a_client_that_reads_no_answers_is_cut_off_in_bounded_memory(server: Server, trust: ssl.SSLContext) -> None:
    before = peak_memory(server)
    described = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    for request in (PREDICT, described):
        with connect_securely(server, trust) as connection, pytest.raises(OSError):
            send_endlessly(connection, request)
    assert peak_memory(server) - before < 50 * MEBIBYTE
    wait_until_no_connection_is_left(server)


def send_endlessly(connection: socket.socket, request: bytes) -> None:
    while True:
        connection.sendall(request * 1000)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_stop_answers_what_is_under_way_and_waits_for_nobody_else(
    data_dir: Path, authority: Authority, host: Credential, trust: ssl.SSLContext, workers: str, number: int, code: int
) -> None:
    """Clients that keep a connection for later, and those who don't complete a handshake."""
    server = start_server(data_dir, *options(host), "--workers", workers, authority=authority.certificate)
    with contextlib.ExitStack() as stack:
        upload(server, trust)
        for size in (0, 50, None):
            stack.enter_context(connect(server)).sendall(client_hello()[:size])
        idle = [stack.enter_context(connect_securely(server, trust)) for _ in range(5)]
        for connection in idle[1:]:
            connection.sendall(PREDICT)
            assert read_answers(connection, 1).endswith(b"[321.0]")
        busy = stack.enter_context(connect_securely(server, trust))
        head, _, body = PREDICT.partition(b"\r\n\r\n")
        busy.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert b"100 Continue" in busy.recv(1000)
        server.process.send_signal(number)
        wait_until_all_are_shutting_down(server, int(workers))
        busy.sendall(body)
        assert read_all(busy).endswith(b"[321.0]")
        assert server.process.wait(timeout=60) == code
    assert "timeout graceful shutdown exceeded" not in server.log.read_text()


def wait_until_all_are_shutting_down(server: Server, workers: int) -> None:
    deadline = time.monotonic() + 20
    while server.log.read_text().count("Shutting down") < workers:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_renewed_certificate_is_used_for_new_connections_once_it_is_whole(
    tmp_path: Path, authority: Authority, host: Credential, trust: ssl.SSLContext
) -> None:
    installed = Credential(tmp_path / "hostcert.pem", tmp_path / "hostkey.pem", tmp_path / "both.pem")
    shutil.copy(host.certificate, installed.certificate)
    shutil.copy(host.key, installed.key)
    renewed = authority.issue("renewed")

    with running_server(tmp_path / "data", *options(installed), authority=authority.certificate) as server:

        def presented() -> bytes | None:
            with connect_securely(server, trust) as connection:
                return connection.getpeercert(binary_form=True)

        upload(server, trust)
        with connect_securely(server, trust) as earlier:
            assert presented() == der(host)
            text = renewed.certificate.read_text()
            installed.certificate.write_text(text[:700])
            assert presented() == der(host)
            installed.certificate.write_text(text)
            assert presented() == der(host)  # the key is still that of the earlier one
            earlier.sendall(PREDICT)
            assert read_answers(earlier, 1).endswith(b"[321.0]")
            installed.key.unlink()
            assert presented() == der(host)
            ended = server.worker
            ended.kill()
            psutil.wait_procs([ended])
            assert presented() == der(host)
            shutil.copy(renewed.key, installed.key)
            assert presented() == der(renewed)
        log = server.log.read_text()
    assert "the earlier one stays in use: TLS certificate" in log
    assert "hostkey.pem does not match" in log
    assert "hostcert.pem has changed, and is used from now on" in log
    assert "Traceback" not in log


def der(credential: Credential) -> bytes:
    return ssl.PEM_cert_to_DER_cert(credential.certificate.read_text())


def test_applications_are_told_that_the_scheme_is_https(host: Credential, trust: ssl.SSLContext) -> None:
    async def tell_scheme(scope: Scope, receive: Receive, send: Send) -> None:
        body = json.dumps([scope["scheme"], scope["client"][0]]).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    async def get() -> bytes:
        certificate = HostCertificate(str(host.certificate), str(host.key))
        application = Application(tell_scheme, {}, Settings(), Watch(75, 20), Metrics(), certificate)
        config = uvicorn.Config(
            application, http=SecureConnection, ws="none", lifespan="off", proxy_headers=False, log_config=None
        )
        server = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            serving = asyncio.create_task(server.serve([listener]))
            host_port = listener.getsockname()
            reader, writer = await asyncio.open_connection(*host_port, ssl=trust, server_hostname="localhost")
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            writer.close()
            server.should_exit = True
            await serving
        return answer

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(get()).endswith(b'["https", "127.0.0.1"]')
