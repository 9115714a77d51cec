"""Reading from a real XRootD daemon gives what the local file gives, and never waits for ever."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from mlaas.dataset import Dataset, DatasetParams
from mlaas.errors import DataError
from mlaas.readers import open_reader
from tests.mlaas.conftest import run_xrootd
from tests.mlaas.samples import make_sample

# Seconds in which an error has to be there at the latest, where a server is asked once.
BOUND = 60


@pytest.fixture(autouse=True)
def asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLAAS_ATTEMPTS", "1")


@pytest.mark.parametrize("form", ["ttree", "rntuple"])
def test_same_events_as_from_the_local_file(xrootd: Any, form: str) -> None:
    path = make_sample(xrootd.root / f"{form}.root", 500, form=form).path
    with open_reader(str(path)) as local, open_reader(xrootd.url(path)) as remote:
        assert remote.identity == local.identity
        assert remote.branches == local.branches
        names = list(local.branches)
        expected, events = local.read(names, 100, 450), remote.read(names, 100, 450)
    for name in names:
        assert ak.array_equal(events[name], expected[name])


def test_same_specs_and_chunks_as_from_local_files(xrootd: Any, tmp_path: Path) -> None:
    files = [make_sample(xrootd.root / f"chunks{seed}.root", 300, seed).path for seed in (1, 2)]
    params = DatasetParams(selected=["met", "pt", "v_*"], chunk_size=100)
    specs = tmp_path / "specs.json"
    with (
        Dataset([str(one) for one in files], [0, 1], params, specs_path=specs) as local,
        Dataset([xrootd.url(one) for one in files], [0, 1], params, specs_path=specs) as remote,
    ):
        for expected, chunk in zip(local.chunks("train", 3), remote.chunks("train", 3), strict=True):
            np.testing.assert_array_equal(chunk.x, expected.x)
            np.testing.assert_array_equal(chunk.mask, expected.mask)
            np.testing.assert_array_equal(chunk.y, expected.y)


def test_the_same_file_locally_and_by_url_is_one_file(xrootd: Any) -> None:
    path = make_sample(xrootd.root / "same.root", 50).path
    with pytest.raises(DataError, match=r"holds the same data as"):
        Dataset([str(path), xrootd.url(path)], [0, 1])


def test_a_query_does_not_hide_the_suffix(xrootd: Any) -> None:
    path = make_sample(xrootd.root / "query.root", 50).path
    with open_reader(xrootd.url(path) + "?authz=none") as reader:
        assert reader.entries == 50


def test_tensorflow_may_be_loaded_before_the_first_url_is_opened(xrootd: Any) -> None:
    """As in a notebook; it then offers its own copies of libraries that the client needs."""
    path = make_sample(xrootd.root / "later.root", 50).path
    code = "import tensorflow\nwith open_reader(sys.argv[1]) as reader:\n    print(reader.entries)"
    assert printed_by(code, xrootd.url(path)) == "50\n"


def test_missing_and_bad_files_on_the_server(xrootd: Any) -> None:
    (xrootd.root / "bad.root").write_bytes(b"not a ROOT file at all" * 50)
    sample = make_sample(xrootd.root / "whole.root", 500)
    (xrootd.root / "half.root").write_bytes(sample.path.read_bytes()[: sample.path.stat().st_size // 2])
    (xrootd.root / "empty.root").write_bytes(b"")
    for name in ("missing.root", "bad.root", "half.root", "empty.root"):
        with pytest.raises(DataError, match=f"{name}: ") as caught:
            open_reader(xrootd.url(name))
        assert "\n" not in str(caught.value)


def printed_by(code: str, *arguments: str) -> str:
    """What ``code`` prints, such as an error's message, in a process of its own, which must end in time."""
    program = f"import sys\nfrom mlaas.errors import DataError\nfrom mlaas.readers import open_reader\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=BOUND, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


OPEN = """
try:
    open_reader(sys.argv[1])
except DataError as error:
    print(error)
"""


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"root://127.0.0.1:{unused.getsockname()[1]}//a.root"
        assert printed_by(OPEN, url).startswith(f"{url}: cannot be opened: ")


def test_the_server_has_no_address() -> None:
    assert "Invalid address" in printed_by(OPEN, "root://no-such-host.invalid//a.root")


def test_a_server_that_never_answers() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert "cannot be opened" in printed_by(OPEN, f"root://127.0.0.1:{silent.getsockname()[1]}//a.root")


READ = """
reader = open_reader(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
try:
    reader.read(list(reader.branches), 0, 100_000)
except DataError as error:
    print(error)
reader.close()
"""


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGSTOP])
def test_the_server_dies_or_hangs_between_two_reads(mortal_xrootd: Any, signal_number: int) -> None:
    path = make_sample(mortal_xrootd.root / "long.root", 3000).path
    program = f"import sys\nfrom mlaas.errors import DataError\nfrom mlaas.readers import open_reader\n{READ}"
    url = mortal_xrootd.url(path)
    with subprocess.Popen(
        [sys.executable, "-c", program, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        try:
            assert reader.stdout.readline() == "open\n"
            mortal_xrootd.send_signal(signal_number)
            output, _ = reader.communicate("go\n", timeout=BOUND)
        finally:
            reader.kill()
    assert output.startswith(f"{url}: cannot be read (entries 0 to 3000): ")


def test_the_server_dies_while_chunks_are_read(mortal_xrootd: Any) -> None:
    files = [make_sample(mortal_xrootd.root / f"{seed}.root", 4000, seed).path for seed in (1, 2)]
    params = DatasetParams(chunk_size=500)
    with Dataset([mortal_xrootd.url(one) for one in files], [0, 1], params) as dataset:
        mortal_xrootd.kill()
        before = time.monotonic()
        with pytest.raises(DataError, match=r"[12]\.root: cannot be read"):
            list(dataset.chunks("train"))
        assert time.monotonic() - before < BOUND


def test_the_stream_goes_on_at_the_other_server_when_one_dies(
    mortal_xrootd: Any, xrootd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLAAS_ATTEMPTS", "3")
    paths = [make_sample(mortal_xrootd.root / f"replica{seed}.root", 4000, seed).path for seed in (1, 2)]
    for path in paths:
        (xrootd.root / path.name).write_bytes(path.read_bytes())
    places = [f"{mortal_xrootd.url(path)}|{xrootd.url(path.name)}" for path in paths]
    params = DatasetParams(selected=["met", "pt", "v_*"], chunk_size=200)
    with Dataset([str(path) for path in paths], [0, 1], params) as local, Dataset(places, [0, 1], params) as dataset:
        expected = list(local.chunks("train", 1))
        stream = dataset.chunks("train", 1)
        chunks = [next(stream) for _ in range(3)]
        mortal_xrootd.kill()
        chunks += stream
    assert len(chunks) == len(expected) > 20
    for chunk, before in zip(chunks, expected, strict=True):
        np.testing.assert_array_equal(chunk.x, before.x)
        np.testing.assert_array_equal(chunk.mask, before.mask)
        np.testing.assert_array_equal(chunk.y, before.y)


def test_a_server_that_comes_back_is_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLAAS_ATTEMPTS", "6")
    with run_xrootd() as daemon:
        sample = make_sample(daemon.root / "back.root", 3000)
        with open_reader(daemon.url(sample.path)) as reader:
            daemon.restart()
            events = reader.read(["met", "pt"], 0, 3000)
    np.testing.assert_array_equal(ak.to_numpy(events["met"]), sample.flat["met"])


def test_a_redirector_leads_to_the_server_that_has_the_file(xrootd: Any) -> None:
    path = make_sample(xrootd.root / "redirected.root", 500).path
    with (
        run_xrootd(f"xrootd.redirect 127.0.0.1:{xrootd.port} /") as redirector,
        open_reader(redirector.url(path.name)) as reader,
        open_reader(str(path)) as local,
    ):
        assert reader.identity == local.identity
        assert ak.array_equal(reader.read(["pt"], 0, 500)["pt"], local.read(["pt"], 0, 500)["pt"])
