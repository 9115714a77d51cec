"""Files of web servers and other file systems give the events of the local files; failures are told or overcome."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import fsspec
import numpy as np
import pytest

from mlaas.dataset import Dataset, DatasetParams
from mlaas.errors import DataError
from mlaas.readers import list_trees, open_reader
from mlaas.readers.locations import basename, places_of, suffix
from tests.mlaas.formats import WRITERS, without_huge_integers
from tests.mlaas.samples import Sample, make_sample
from tests.mlaas.web import RangeServer, run_web_server


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a test can wait for."""
    monkeypatch.setattr("mlaas.readers.replicas.FIRST_PAUSE", 0.05)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same events in every format."""
    folder = tmp_path_factory.mktemp("remote")
    sample = without_huge_integers(make_sample(folder / "data.root", 400))
    for ending, write in WRITERS.items():
        write(sample, folder / f"data{ending}")
    return folder


@pytest.fixture
def web(files: Path) -> Iterator[RangeServer]:
    with run_web_server(files) as server:
        yield server


def same_events(path: Path, url: str) -> None:
    with open_reader(str(path)) as local, open_reader(url) as remote:
        assert remote.identity == local.identity
        assert remote.branches == local.branches
        names = list(local.branches)
        for start, stop in ((0, 400), (100, 250)):
            expected, events = local.read(names, start, stop), remote.read(names, start, stop)
            for name in names:
                assert ak.array_equal(events[name], expected[name], equal_nan=True)


FORMATS = [".root", *WRITERS]


@pytest.mark.parametrize("ending", FORMATS)
def test_same_events_from_a_web_server(web: RangeServer, ending: str) -> None:
    same_events(web.root / f"data{ending}", web.url(f"data{ending}?token=1"))


@pytest.mark.parametrize("ending", FORMATS)
def test_same_events_from_a_file_system_of_fsspec(files: Path, ending: str) -> None:
    path = files / f"data{ending}"
    fsspec.filesystem("memory").pipe(f"/bucket/{path.name}", path.read_bytes())
    same_events(path, f"memory://bucket/{path.name}")


@pytest.mark.parametrize("ending", FORMATS)
def test_same_events_from_xrootd(files: Path, xrootd: Any, ending: str) -> None:
    path = xrootd.root / f"formats{ending}"
    path.write_bytes((files / f"data{ending}").read_bytes())
    same_events(path, xrootd.url(path))


def test_a_server_that_is_busy_is_asked_again(web: RangeServer) -> None:
    web.failures = 2
    with open_reader(web.url("data.root")) as reader:
        web.failures = 1
        assert len(reader.read(["met", "pt"], 0, 400)["pt"]) == 400


def test_a_server_that_stays_busy_is_told(web: RangeServer) -> None:
    web.failures = 10**6
    with pytest.raises(DataError, match=r"data\.root: cannot be opened: the server answers 503"):
        open_reader(web.url("data.root"))


def test_what_a_server_refuses_is_not_asked_again(web: RangeServer) -> None:
    with pytest.raises(DataError, match=r"none\.root: cannot be opened: the server refuses: 404"):
        open_reader(web.url("none.root"))
    web.whole = True
    with pytest.raises(DataError, match=r"data\.csv: cannot be read: the server sends files as a whole only"):
        open_reader(web.url("data.csv"))


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLAAS_ATTEMPTS", "2")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(DataError, match=r"a\.root: cannot be opened: .*refused"):
            open_reader(f"http://127.0.0.1:{unused.getsockname()[1]}/a.root")


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLAAS_ATTEMPTS", "1")
    monkeypatch.setenv("XRD_REQUESTTIMEOUT", "1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(DataError, match=r"a\.root: cannot be opened: no answer in 1 s; XRD_REQUESTTIMEOUT"):
            open_reader(f"http://127.0.0.1:{silent.getsockname()[1]}/a.root")


def test_the_token_is_not_sent_where_others_can_read_it(web: RangeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEARER_TOKEN", "secret")
    with open_reader(web.url("data.root")):
        assert web.last_headers["Authorization"] is None


def test_schemes_that_nobody_knows() -> None:
    with pytest.raises(DataError, match="expected a local path, or a URL with root, http"):
        open_reader("gopher://example.org/a.root")


def test_the_second_replica_is_read_where_the_first_is_missing_damaged_or_other(
    web: RangeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = web.url("data.root")
    (tmp_path / "short.root").write_bytes((web.root / "data.root").read_bytes()[:3000])
    for bad in (web.url("none.root"), str(tmp_path / "short.root"), str(tmp_path / "none.root")):
        with open_reader(f"{bad}|{good}") as reader:
            assert reader.entries == 400
        assert bad in caplog.text
        assert list_trees(f"{bad}|{good}") == {"events": 400}
    with pytest.raises(DataError, match=r"none of 2 replicas can be read: .*404.*; .*none\.root: no such file"):
        open_reader(f"{web.url('none.root')}|{tmp_path / 'none.root'}")


def test_a_replica_that_breaks_is_left_and_one_with_other_data_is_not_taken(web: RangeServer, tmp_path: Path) -> None:
    sample = make_sample(tmp_path / "data.root", 3000)
    other = make_sample(tmp_path / "other.root", 3000, seed=2)
    (web.root / "copy.root").write_bytes(sample.path.read_bytes())
    names = ["met", "pt"]

    def broken_after_opening(replica: Sample | str) -> Any:
        copy = tmp_path / "breaks.root"
        copy.write_bytes(sample.path.read_bytes())
        reader = open_reader(f"{copy}|{replica}")
        copy.write_bytes(copy.read_bytes()[:20_000])
        return reader

    with broken_after_opening(web.url("copy.root")) as reader:
        np.testing.assert_array_equal(ak.to_numpy(reader.read(names, 0, 3000)["met"]), sample.flat["met"])
    with (
        broken_after_opening(other) as reader,
        pytest.raises(DataError, match=r"breaks\.root: branch \w+ is damaged .*; .*other\.root: holds other data"),
    ):
        reader.read(names, 0, 3000)


def test_a_data_set_over_replicas_has_the_parts_of_the_local_one(web: RangeServer, tmp_path: Path) -> None:
    params = DatasetParams(selected=["met", "pt"], chunk_size=100)
    place = f"{tmp_path / 'gone' / 'data.root'}|{web.url('data.root')}"
    with (
        Dataset([str(web.root / "data.root")], ["i_bool"], params) as local,
        Dataset([place], ["i_bool"], params) as other,
    ):
        for expected, chunk in zip(local.chunks("train"), other.chunks("train"), strict=True):
            np.testing.assert_array_equal(chunk.x, expected.x)


def test_names_of_places() -> None:
    assert basename("root://a:1094//store/f.root?authz=x|root://b//f.root") == "f.root"
    assert basename("https://a/f.csv.gz?x=a/b") == "f.csv.gz"
    assert suffix("s3://bucket/f.CSV.GZ") == ".csv"
    assert suffix("/a.b/f") == ""
    assert places_of("root://a//f | root://b//f") == ["root://a//f", "root://b//f"]
