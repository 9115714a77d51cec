"""`mlaas score` through a server that runs the model."""

import itertools
import signal
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import httpx
import numpy as np
import pytest

from mlaas.publish import publish_bundle
from mlaas.scoring import ScoreOptions, ScoringError, score_files
from mlaas.scoring.server import ANSWER_SECONDS
from tests.mlaas.scored import (
    MLAAS,
    expected_scores,
    mlaas_score,
    read_branches,
    read_scores,
    write_bundle,
    write_events,
)
from tests.servers import Server, free_port


def test_the_same_scores_as_in_process_and_an_alias_is_followed_once(tmp_path: Path, server: Server) -> None:
    path = write_events(tmp_path / "events.root", 25_000, step=5000)
    bundle = write_bundle(tmp_path, "scored-here", labels=["top", "WW"])
    publish_bundle(bundle, server.url)
    httpx.put(f"{server.url}/models/scored-here/aliases/production", json={"version": 1}).raise_for_status()
    publish_bundle(write_bundle(tmp_path, "scored-here"), server.url)
    done = mlaas_score(
        *("--model", "scored-here@production", "--registry", server.url),
        *("--files", path, "--out", tmp_path / "s.root"),
    )
    assert done.returncode == 0, done.stderr
    assert "scored-here:1: 3 features in 5 columns, score_top, score_WW out" in done.stdout
    scores, expected = read_scores(tmp_path / "s.root"), expected_scores(path, outputs=2)
    np.testing.assert_allclose(scores["score_top"], expected[:, 0], rtol=1e-5)
    np.testing.assert_allclose(scores["score_WW"], expected[:, 1], rtol=1e-5)
    np.testing.assert_array_equal(scores["event"], read_branches(path, "event")["event"])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("absent", "no model 'absent'"),
        ("refused:4", "no 'refused:4'; model 'refused' has versions 1 and aliases latest"),
        ("refused@best", "no 'refused@best'"),
        ("not a name", "is not allowed"),
    ],
)
def test_models_that_are_not_there(tmp_path: Path, server: Server, model: str, message: str) -> None:
    path = write_events(tmp_path / "events.root", 5)
    if httpx.get(f"{server.url}/models/refused").status_code != 200:
        publish_bundle(write_bundle(tmp_path, "refused"), server.url)
    with pytest.raises(ScoringError, match=message):
        score_files(ScoreOptions(model, str(path), tmp_path / "s.root", server.url), lambda line: None)
    assert not (tmp_path / "s.root").exists()


class _Gateway(BaseHTTPRequestHandler):
    """Stands before a server, and answers every second request with what gateways say when servers are away."""

    protocol_version = "HTTP/1.1"
    server_url = ""
    refused: ClassVar[list[int]] = []
    statuses = itertools.cycle([503, 0, 502, 0, 504, 0])

    def do_GET(self) -> None:
        status = next(self.statuses)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if status:
            self.refused.append(status)
            self.send_response(status)
            self.send_header("retry-after", "0")
            content = b"<html>not now</html>"
        else:
            headers = {name: self.headers[name] for name in ("content-type", "accept") if name in self.headers}
            answer = httpx.request(self.command, self.server_url + self.path, content=body, headers=headers)
            content = answer.content
            self.send_response(answer.status_code)
            self.send_header("content-type", answer.headers["content-type"])
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is logged."""


def test_a_server_that_is_away_for_a_moment_is_asked_again(tmp_path: Path, server: Server) -> None:
    path = write_events(tmp_path / "events.root", 200)
    publish_bundle(write_bundle(tmp_path, "asked-again"), server.url)
    _Gateway.server_url = server.url
    with ThreadingHTTPServer(("127.0.0.1", 0), _Gateway) as gateway:
        threading.Thread(target=gateway.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{gateway.server_address[1]}"
        score_files(ScoreOptions("asked-again", str(path), tmp_path / "s.root", url, step=50), lambda line: None)
        gateway.shutdown()
    assert set(_Gateway.refused) == {502, 503, 504}
    np.testing.assert_allclose(read_scores(tmp_path / "s.root")["score"], expected_scores(path)[:, 0], rtol=1e-5)


class _Silent(BaseHTTPRequestHandler):
    """Passes a server's description of a model on, and never answers for events."""

    server_url = ""
    asked: ClassVar[threading.Event] = threading.Event()
    over: ClassVar[threading.Event] = threading.Event()
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        answer = httpx.get(self.server_url + self.path)
        self.send_response(answer.status_code)
        self.send_header("content-length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def do_POST(self) -> None:
        self.asked.set()
        self.over.wait()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is logged."""


def test_control_c_does_not_wait_for_a_server_that_is_silent(tmp_path: Path, server: Server) -> None:
    path = write_events(tmp_path / "events.root", 200)
    publish_bundle(write_bundle(tmp_path, "silent"), server.url)
    _Silent.server_url = server.url
    with ThreadingHTTPServer(("127.0.0.1", 0), _Silent) as gateway:
        threading.Thread(target=gateway.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{gateway.server_address[1]}"
        command = ["score", "--model", "silent", "--registry", url, "--files", path, "--out", tmp_path / "s.root"]
        process = subprocess.Popen([MLAAS, *map(str, command)], stderr=subprocess.PIPE, text=True)
        assert _Silent.asked.wait(60)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=ANSWER_SECONDS / 2)
        _Silent.over.set()
        gateway.shutdown()
    assert (process.returncode, stderr.strip()) == (130, "mlaas: interrupted")


def test_no_server_there_is_told_after_some_tries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlaas.scoring.server.ATTEMPTS", 2)
    path = write_events(tmp_path / "events.root", 5)
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ScoringError, match=f"{url}: All connection attempts failed"):
        score_files(ScoreOptions("net", str(path), tmp_path / "s.root", url), lambda line: None)
