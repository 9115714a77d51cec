"""Versions, aliases, deletion and download over HTTP and from the command line."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.networks import linear_onnx
from tests.servers import Server, running_server
from tests.tfaas.conftest import new_postgresql_database
from tests.tfaas.test_server_process import tfaas
from tfaas.bundles.publish import pack


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on each kind of database."""
    options = []
    if request.param == "postgresql":
        options = ["--database", new_postgresql_database(request.getfixturevalue("postgresql"))]
    with running_server(tmp_path_factory.mktemp(request.param) / "data", *options) as server:
        yield server


def bundle(name: str, weight: float, tmp_path: Path, **params: object) -> bytes:
    archive = tmp_path / "bundle.tar.gz"
    pack(name, {"m.onnx": linear_onnx([weight]), "params.json": json.dumps(params).encode()}, archive)
    return archive.read_bytes()


def upload(server: Server, content: bytes, **query: str) -> dict[str, object]:
    answer = httpx.post(f"{server.url}/upload", content=content, params=query, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def predict(server: Server, model: str) -> object:
    return httpx.post(f"{server.url}/json", json={"model": model, "values": [1]}).json()


def test_promotion_rollback_deletion_and_restoration(server: Server, tmp_path: Path) -> None:
    name, url = "cycle", f"{server.url}/models/cycle"
    for number in (1, 2, 3):
        assert upload(server, bundle(name, number, tmp_path))["version"] == number
    assert httpx.put(f"{url}/aliases/production", json={"version": 2}).json()["version"] == 2
    assert predict(server, f"{name}@production") == [2]
    assert httpx.put(f"{url}/aliases/production", json={"version": 1}).status_code == 200
    assert predict(server, f"{name}@production") == [1]
    assert httpx.get(f"{url}/aliases/production").json()["version"] == 1
    refused = httpx.delete(f"{url}/versions/1")
    assert refused.status_code == 409
    assert "cycle@production is version 1" in refused.json()["error"]
    assert httpx.delete(url).status_code == httpx.delete(f"{server.url}/delete/{name}").status_code == 409
    assert httpx.delete(f"{url}/versions/3").json()["deleted"] == "cycle:3"
    assert predict(server, name) == [2]
    assert "no 'cycle:3'" in str(predict(server, f"{name}:3"))
    assert httpx.post(f"{url}/versions/3/restore").json()["restored"] == "cycle:3"
    assert predict(server, f"{name}:3") == [3]
    assert httpx.delete(f"{url}/aliases/production").status_code == 200
    assert httpx.get(f"{url}/aliases/production").status_code == 404
    assert httpx.delete(url).status_code == 200
    assert "no model 'cycle'" in str(predict(server, name))
    assert [one["deleted"] is not None for one in httpx.get(url).json()["versions"]] == [True] * 3
    assert httpx.post(f"{url}/restore").status_code == 200
    assert predict(server, f"{name}:1") == [1]
    assert httpx.get(url).json()["aliases"] == {"latest": 2}


def test_an_upload_says_what_it_is_identical_to_and_may_leave_latest(server: Server, tmp_path: Path) -> None:
    first = bundle("twin", 1, tmp_path)
    assert upload(server, first)["identical_to"] is None
    assert upload(server, bundle("twin", 2, tmp_path), latest="false")["version"] == 2
    assert predict(server, "twin") == [1]
    assert predict(server, "twin:2") == [2]
    again = upload(server, first)
    assert (again["version"], again["identical_to"]) == (3, 1)


def test_a_bundle_comes_back_byte_for_byte(server: Server, tmp_path: Path) -> None:
    content = bundle("bytes", 1, tmp_path)
    digest = upload(server, content)["digest"]
    answer = httpx.get(f"{server.url}/models/bytes/versions/1/bundle")
    assert answer.content == content
    assert answer.headers["etag"] == f'"{digest}"' == f'"{hashlib.sha256(content).hexdigest()}"'
    assert answer.headers["content-disposition"] == 'attachment; filename="bytes-1.tar.gz"'
    form = {"model": ("m.onnx", linear_onnx([1.0]))}
    httpx.post(f"{server.url}/upload", data={"name": "form"}, files=form, timeout=60).raise_for_status()
    packed = httpx.get(f"{server.url}/models/form/versions/1/bundle")
    assert packed.headers["content-type"] == "application/x-tar"
    with tarfile.open(fileobj=io.BytesIO(packed.content)) as archive:
        assert archive.getnames() == ["form/m.onnx", "form/params.json"]
    assert httpx.get(f"{server.url}/models/bytes/versions/9/bundle").status_code == 404


def test_what_a_version_knows_and_how_it_is_found(server: Server, tmp_path: Path) -> None:
    features = [{"name": "met", "unit": "GeV"}]
    lineage = {"files": [{"path": "a.root", "entries": 10}], "seed": 1}
    params = {"features": features, "tags": ["run3"], "metrics": {"auc": 0.9}, "lineage": lineage}
    upload(server, bundle("known", 1, tmp_path, **params))
    details = httpx.get(f"{server.url}/models/known/versions/1").json()
    assert details["features"][0]["unit"] == "GeV"
    assert details["lineage"] == lineage
    assert details["metrics"] == {"auc": 0.9}
    assert [row["name"] for row in httpx.get(f"{server.url}/models?tag=run3").json()] == ["known"]
    changed = httpx.patch(f"{server.url}/models/known/versions/1", json={"tags": ["best"], "description": "good"})
    assert (changed.json()["tags"], changed.json()["description"]) == (["best"], "good")
    assert httpx.get(f"{server.url}/models?tag=run3").json() == []
    listed = httpx.get(f"{server.url}/models?name=now&framework=onnx&sort=-created&limit=1").json()
    assert [row["name"] for row in listed] == ["known"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("GET", "/models?colour=red", None, 400, "colour"),
        ("GET", "/models?sort=colour", None, 400, "sort 'colour' is not known"),
        ("GET", "/models?limit=0", None, 400, "limit"),
        ("GET", "/models/nobody", None, 404, "no model 'nobody'"),
        ("GET", "/models/..%2fx", None, 404, ""),
        ("GET", "/models/.hidden", None, 400, "not allowed"),
        ("GET", "/models/strict/versions/9", None, 404, "has versions 1 and aliases latest"),
        ("GET", "/models/strict/versions/x", None, 400, "number"),
        ("PUT", "/models/strict/aliases/a", {"version": 9}, 404, "has versions 1"),
        ("PUT", "/models/strict/aliases/a", {"version": 1, "x": 1}, 400, "x"),
        ("PUT", "/models/strict/aliases/a%20b", {"version": 1}, 400, "alias name 'a b' is not allowed"),
        ("DELETE", "/models/strict/aliases/latest", None, 409, "can't be removed"),
        ("POST", "/models/strict/restore", None, 404, "there is nothing to restore"),
        ("PATCH", "/models/strict/versions/1", {"tags": ["a b"]}, 400, "tag name 'a b' is not allowed"),
    ],
)
def test_what_can_not_be_is_told(
    server: Server, tmp_path: Path, method: str, path: str, body: object, status: int, reason: str
) -> None:
    if "strict" in path and httpx.get(f"{server.url}/models/strict").status_code == 404:
        upload(server, bundle("strict", 1, tmp_path))
    answer = httpx.request(method, server.url + path, json=body)
    assert answer.status_code == status, answer.text
    assert reason in answer.json()["error"]


def test_50_uploads_of_one_name_while_50_clients_predict(server: Server, tmp_path: Path) -> None:
    contents = [bundle("many", number, tmp_path) for number in range(1, 51)]
    upload(server, contents[0])

    def ask(_: int) -> list[object]:
        with httpx.Client(timeout=60) as client:
            body = {"model": "many", "values": [1]}
            return [client.post(f"{server.url}/json", json=body).json() for _ in range(20)]

    def send(content: bytes) -> int:
        answer = httpx.post(f"{server.url}/upload", content=content, timeout=300)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["version"])

    with ThreadPoolExecutor(100) as executor:
        answers = [executor.submit(ask, number) for number in range(50)]
        numbers = list(executor.map(send, contents[1:]))
        got = [answer for one in answers for answer in one.result()]
    assert sorted(numbers) == list(range(2, 51))
    assert {float(answer[0]) for answer in got} <= {float(number) for number in range(1, 51)}


def test_the_command_line_does_the_same(database_url: str, tmp_path: Path) -> None:
    registry = ("--database", database_url, "--data-dir", str(tmp_path))
    content = bundle("m", 1, tmp_path, tags=["run3"])
    (tmp_path / "m.tar.gz").write_bytes(content)
    tfaas("upload", str(tmp_path / "m.tar.gz"), *registry)
    second = tfaas("upload", str(tmp_path / "m.tar.gz"), "--no-latest", *registry)
    assert second.stdout.splitlines()[1] == "its bytes are those of m:1"
    assert tfaas("models", "--tag", "run3", *registry).stdout.startswith("m:1\t")
    tfaas("promote", "m:1", "production", *registry)
    assert "latest, production" in tfaas("versions", "m", *registry).stdout
    refused = tfaas("delete", "m:1", *registry)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert tfaas("delete", "m@production", *registry).returncode == 0
    assert tfaas("delete", "m:1", *registry).stdout == "m:1 is deleted\n"
    assert tfaas("restore", "m:1", *registry).stdout == "m:1 is restored\n"
    assert tfaas("restore", "m@x", *registry).returncode == 2
    done = tfaas("download", "m:1", str(tmp_path / "back.tar.gz"), *registry)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "back.tar.gz").read_bytes() == content
    assert tfaas("download", "m", str(tmp_path / "no" / "where"), *registry).returncode == 2
    assert tfaas("export", str(tmp_path / "out"), *registry).stdout.startswith("2 versions of 1 models are in ")
    tfaas("delete", "m", *registry)
    assert tfaas("gc", *registry).stdout.startswith("2 versions and 2 artifacts of ")
    assert tfaas("import", str(tmp_path / "out"), *registry).stdout == "2 versions are imported, 0 were here already\n"
    assert tfaas("db", "check", *registry).stdout == "the registry is consistent\n"
    with running_server(tmp_path / "data", "--database", registry[1]) as server:
        assert predict(server, "m:1") == [1]
