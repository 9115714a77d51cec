"""What is answered with 200 is seen by every request that starts later."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.networks import linear_onnx
from tests.postgresql import running_postgresql
from tests.servers import Server, running_server
from tests.tfaas.conftest import new_postgresql_database
from tfaas.bundles import ProofLimits, pack, publish
from tfaas.registry import Database, Repository


def upload(server: Server, name: str, weight: float) -> None:
    files = {"model": ("m.onnx", linear_onnx([weight]))}
    httpx.post(f"{server.url}/upload", data={"name": name}, files=files, timeout=120).raise_for_status()


def ask(client: httpx.Client, server: Server, model: str) -> httpx.Response:
    return client.post(f"{server.url}/json", json={"values": [1], "model": model}, timeout=60)


def test_2000_requests_of_100_clients_while_the_model_is_uploaded_again(server: Server) -> None:
    upload(server, "moving", 1.0)
    weights = [2.0, 3.0, 4.0, 5.0]
    uploaded = threading.Event()

    def upload_again() -> None:
        try:
            for weight in weights:
                upload(server, "moving", weight)
        finally:
            uploaded.set()

    def client(_: int) -> list[tuple[int, float]]:
        answers: list[tuple[int, float]] = []
        with httpx.Client() as connection:
            while len(answers) < 20 or not uploaded.is_set():
                answer = ask(connection, server, "moving")
                answers.append((answer.status_code, answer.json()[0]))
        return answers

    with ThreadPoolExecutor(101) as threads:
        uploads = threads.submit(upload_again)
        answers = [answer for client_answers in threads.map(client, range(100)) for answer in client_answers]
    uploads.result()
    assert len(answers) >= 2000
    assert {status for status, _ in answers} == {200}
    assert {value for _, value in answers} <= {1.0, *weights}
    assert ask(httpx, server, "moving").json() == [weights[-1]]  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_request_after_a_change_sees_what_was_before(data_dir: Path, workers: str) -> None:
    with running_server(data_dir, "--workers", workers) as server:
        for weight in (1.0, 2.0, 3.0):
            upload(server, "m", weight)
            # New connections, so that every worker is asked.
            for _ in range(30):
                assert ask(httpx, server, "m").json() == [weight]  # type: ignore[arg-type]
        httpx.delete(f"{server.url}/delete/m").raise_for_status()
        for _ in range(30):
            assert ask(httpx, server, "m").status_code == 404  # type: ignore[arg-type]
        upload(server, "m", 9.0)
        for _ in range(30):
            assert ask(httpx, server, "m").json() == [9.0]  # type: ignore[arg-type]


def test_a_version_published_straight_into_the_database_is_served_within_a_second(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with running_server(data_dir) as server, httpx.Client() as client:
        upload(server, "m", 1.0)
        assert ask(client, server, "m").json() == [1.0]

        async def publish_directly() -> None:
            pack("m", {"m.onnx": linear_onnx([2.0])}, tmp_path / "b.tar")
            database = Database(f"sqlite:///{data_dir / 'registry.db'}")
            await publish(Repository(database), tmp_path / "b.tar", tmp_path, ProofLimits())
            await database.close()

        asyncio.run(publish_directly())
        time.sleep(1)
        assert ask(client, server, "m").json() == [2.0]


def test_two_servers_on_one_postgresql_serve_each_others_uploads(tmp_path: Path, postgresql: str) -> None:
    url = new_postgresql_database(postgresql)
    with (
        running_server(tmp_path / "a", "--database", url) as first,
        running_server(tmp_path / "b", "--database", url) as second,
        httpx.Client() as client,
    ):
        upload(first, "m", 1.0)
        assert ask(client, second, "m").json() == [1.0]
        upload(second, "m", 2.0)
        time.sleep(1)
        assert ask(client, first, "m").json() == [2.0]


def test_a_replica_follows_again_after_postgresql_was_away(tmp_path: Path) -> None:
    with running_postgresql() as database, running_server(tmp_path / "a", "--database", database.url) as first:
        upload(first, "m", 1.0)
        with running_server(tmp_path / "b", "--database", database.url) as second, httpx.Client() as client:
            assert ask(client, second, "m").json() == [1.0]
            database.stop()
            deadline = time.monotonic() + 3
            while time.monotonic() < deadline:
                assert ask(client, second, "m").json() == [1.0]  # a loaded model goes on answering
                time.sleep(0.1)
            assert client.get(f"{second.url}/readyz", timeout=30).status_code == 503
            files = {"model": ("m.onnx", linear_onnx([3.0]))}
            refused = client.post(f"{second.url}/upload", data={"name": "m"}, files=files, timeout=60)
            assert refused.status_code == 503, refused.text
            database.start()
            upload(first, "m", 2.0)
            time.sleep(1.5)
            assert ask(client, second, "m").json() == [2.0]


def test_files_of_models_that_are_gone_leave_the_cache(data_dir: Path) -> None:
    with running_server(data_dir) as server:
        for weight in (1.0, 2.0):
            upload(server, "gone", weight)
        assert len(list((data_dir / "cache").iterdir())) == 2
        httpx.delete(f"{server.url}/delete/gone").raise_for_status()
        deadline = time.monotonic() + 10
        while list((data_dir / "cache").iterdir()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert list((data_dir / "cache").iterdir()) == []
