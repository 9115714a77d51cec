"""Large bundles go in and out in bounded memory."""

import hashlib
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.certificates import Authority
from tests.networks import linear_onnx
from tests.servers import Server, running_server
from tests.tfaas.conftest import new_postgresql_database
from tfaas.bundles.publish import pack

MEBIBYTE = 1024**2
SIZE = 200 * MEBIBYTE
GROWTH = 100 * MEBIBYTE


def peak_memory(server: Server) -> int:
    """Bytes that the server has had resident at most."""
    status = Path(f"/proc/{server.worker.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(MEBIBYTE):
            yield block


@pytest.mark.parametrize("kind", ["sqlite", "sqlite and TLS", "postgresql"])
def test_200_megabytes_go_in_and_out_in_half_of_that(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    options: list[str] = []
    trusted, verify = None, ssl.create_default_context()
    if kind == "sqlite and TLS":
        authority: Authority = request.getfixturevalue("authority")
        options = ["--tls-certificate", str(authority.issue("large").both)]
        trusted = authority.certificate
        verify.load_verify_locations(trusted)
    if kind == "postgresql":
        options = ["--database", new_postgresql_database(request.getfixturevalue("postgresql"))]
    ballast = tmp_path / "ballast"
    with ballast.open("wb") as file:
        for _ in range(SIZE // MEBIBYTE):
            file.write(os.urandom(MEBIBYTE))
    archive = tmp_path / "large.tar"
    pack("large", {"m.onnx": linear_onnx([2.0]), "ballast": ballast}, archive)
    with (
        running_server(tmp_path / "data", *options, authority=trusted) as server,
        httpx.Client(base_url=server.url, verify=verify, timeout=300) as client,
    ):
        client.post("/upload", data={"name": "small"}, files={"model": ("m.onnx", linear_onnx([1.0]))})
        before = peak_memory(server)
        answer = client.post("/upload", content=blocks(archive))
        assert answer.status_code == 200, answer.text
        digest = hashlib.sha256()
        with client.stream("GET", "/models/large/versions/1/bundle") as download:
            for block in download.iter_bytes():
                digest.update(block)
        assert digest.hexdigest() == answer.json()["digest"]
        assert client.post("/json", json={"model": "large", "values": [4]}).json() == [8.0]
        grown = peak_memory(server) - before
        assert grown < GROWTH, f"{grown // MEBIBYTE} MiB"
