"""Both clients and a server that speaks TLS."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tfaas_client
from numpy.typing import NDArray
from tfaas_client import Client

from tests.certificates import Authority, make_authority
from tests.servers import Server, running_server

Run = Callable[..., subprocess.CompletedProcess[str]]
OneLine = Callable[[str], str]
Expected = Callable[..., NDArray[np.float32]]

TFAAS_CLIENT = Path(sys.executable).parent / "tfaas-client"


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory, authority: Authority, model_files: Path) -> Iterator[Server]:
    """A server with the model `signal`."""
    host = authority.issue("hostcert")
    options = ("--tls-certificate", str(host.certificate), "--tls-key", str(host.key))
    data_dir = tmp_path_factory.mktemp("tls") / "data"
    with running_server(data_dir, *options, authority=authority.certificate) as server:
        with Client(server.url, verify=authority.certificate) as client:
            params, labels = model_files / "params.json", model_files / "labels.txt"
            client.upload("signal", model_files / "model.onnx", params=params, labels=labels)
        yield server


@pytest.fixture(scope="module")
def proxy(authority: Authority) -> Path:
    return authority.issue_proxy("x509up")


@pytest.fixture(scope="module")
def other_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("other"))


def test_the_python_client_trusts_the_authority_and_may_present_a_proxy(
    tls_server: Server, authority: Authority, proxy: Path, expected: Expected
) -> None:
    for verify in (authority.folder, authority.certificate):
        for cert in (None, proxy):
            with Client(tls_server.url, verify=verify, cert=cert) as client:
                np.testing.assert_allclose(client.predict("signal", {"met": 1, "jet_pt": [2]}), expected(1, 2), 1e-5)
                columns = {"met": np.ones(1000), "jet_pt": [[2.0]] * 1000}
                assert len(client.predict("signal", columns)["probabilities"]) == 1000


def test_the_python_client_refuses_a_server_of_another_authority(
    tls_server: Server, other_authority: Authority
) -> None:
    client = Client(tls_server.url, verify=other_authority.certificate)
    with client, pytest.raises(tfaas_client.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        client.models()


def test_the_programs_trust_the_authority_that_the_grid_environment_names(
    run: Run, cpp_program: Path, tls_server: Server, authority: Authority, proxy: Path, expected: Expected
) -> None:
    trusting = {"X509_CERT_DIR": str(authority.folder)}
    for grid in (trusting, trusting | {"X509_USER_PROXY": str(proxy)}):
        question = ("--url", tls_server.url, "--model", "signal", "--json", "met=1", "jet_pt=2")
        cpp = run(cpp_program, *question, env=grid)
        assert (cpp.returncode, cpp.stderr) == (0, "")
        np.testing.assert_allclose(json.loads(cpp.stdout), expected(1, 2), atol=1e-6)
        python = run(TFAAS_CLIENT, f"--url={tls_server.url}", "models", "--json", env=grid)
        assert (python.returncode, python.stderr) == (0, "")
        assert json.loads(python.stdout)[0]["name"] == "signal"


def test_the_programs_say_that_they_do_not_trust_another_authority(
    run: Run, one_line: OneLine, cpp_program: Path, tls_server: Server, other_authority: Authority
) -> None:
    grid = {"X509_CERT_DIR": str(other_authority.folder)}
    for program in ([cpp_program, "--model=signal", "met=1", "jet_pt=2"], [TFAAS_CLIENT, "models"]):
        refused = run(*program, f"--url={tls_server.url}", env=grid)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "certificate" in one_line(refused.stderr).lower()


def test_a_client_that_speaks_http_to_it_is_told_that_the_connection_was_lost(
    run: Run, one_line: OneLine, cpp_program: Path, tls_server: Server
) -> None:
    url = tls_server.url.replace("https:", "http:")
    with Client(url, retries=0) as client, pytest.raises(tfaas_client.TransportError, match=url):
        client.models()
    refused = run(cpp_program, f"--url={url}", "--retries=0", "--model=signal", "1")
    assert refused.returncode == 2
    assert url in one_line(refused.stderr)
