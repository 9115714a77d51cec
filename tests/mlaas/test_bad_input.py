"""Files that are bad in every way we know: an error in one line, or a training without them that says so."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from mlaas.dataset import Dataset, DatasetParams
from mlaas.dataset.bad_files import leave_out_bad_files
from mlaas.errors import DataError
from mlaas.readers import open_reader
from tests.mlaas.samples import Sample, make_sample, write

NET = """
import keras

def model(idim):
    network = keras.Sequential([keras.layers.Input((idim,)), keras.layers.Dense(1, activation="sigmoid")])
    network.compile(optimizer="adam", loss="binary_crossentropy")
    return network
"""


@pytest.fixture
def good(tmp_path: Path) -> list[Sample]:
    return [make_sample(tmp_path / f"good{seed}.root", 600, seed) for seed in (1, 2)]


def without_a_branch(path: Path) -> None:
    sample = make_sample(path, 600, 3)
    del sample.flat["met"]
    write(sample)


def with_a_branch_more(path: Path) -> None:
    sample = make_sample(path, 600, 3)
    sample.flat["more"] = sample.flat["met"]
    write(sample)


def with_a_flat_branch_that_is_jagged(path: Path) -> None:
    sample = make_sample(path, 600, 3)
    sample.jagged["met"] = sample.jagged["pt"]
    del sample.flat["met"]
    write(sample)


def with_numbers_as_strings(path: Path) -> None:
    with open_reader(str(make_sample(path, 20, 3))) as reader:
        columns = reader.read(list(reader.branches), 0, 20)
    with uproot.recreate(path) as file:
        file.mkrntuple("events", {**columns, "met": ak.Array(["one"] * 20)})


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    make_sample(path, 600, 3)
    path.write_bytes(path.read_bytes()[:20_000])


def with_large_baskets(path: Path) -> int:
    """Write whole numbers in ``met``, which can be compressed; return where those bytes begin."""
    sample = make_sample(path, 600, 3)
    sample.flat["met"] = np.round(sample.flat["met"])
    write(sample, step=600)
    with uproot.open(path) as file:
        branch = file["events"]["met"]
        ((_, (start, _)),) = branch.entries_to_ranges_or_baskets(0, 600)
        assert branch.compressed_bytes < branch.uncompressed_bytes / 2
        return int(start + branch.basket(0).member("fKeylen") + 9)


def bit_flipped(path: Path) -> None:
    """One bit of the compressed values of ``met``."""
    start = with_large_baskets(path)
    content = bytearray(path.read_bytes())
    content[start + 100] ^= 4
    path.write_bytes(content)


def without_events(path: Path) -> None:
    with uproot.recreate(path) as file:
        file.mktree("events", {"met": "f4", "pt": "var * float32"})


def the_first_again(path: Path) -> None:
    shutil.copy(path.parent / "good1.root", path)


def another_tree(path: Path) -> None:
    sample = make_sample(path, 600, 3)
    write(sample, tree="Events2")


BAD: list[tuple[Callable[[Path], None], str]] = [
    (without_a_branch, r"bad\.root: no branch met, which another file has; expected the same"),
    (with_a_flat_branch_that_is_jagged, r"bad\.root: branch met is jagged, but flat in another file"),
    (with_numbers_as_strings, r"bad\.root: branch met cannot be used: it holds strings"),
    (empty, r"bad\.root: the file is empty \(0 bytes\)"),
    (truncated, r"bad\.root: truncated, 20000 of \d+ bytes are there"),
    (bit_flipped, r"bad\.root: branch met is damaged between entries \d+ and \d+: "),
    (without_events, r"bad\.root: events has no events: leave the file out, or train with --skip-bad-files"),
    (the_first_again, r"bad\.root: the file holds the same data as .*good1\.root"),
    (another_tree, r"bad\.root: no tree events; did you mean Events2\?; the file has Events2"),
    (lambda _path: None, r"bad\.root: no such file"),
]
SELECTED = DatasetParams(selected=["met", "pt", "v_float32"], chunk_size=200)


@pytest.mark.parametrize("place", [1, 2])
@pytest.mark.parametrize(("spoil", "message"), BAD)
def test_the_error_names_the_file_and_what_was_expected(
    good: list[Sample], tmp_path: Path, spoil: Callable[[Path], None], message: str, place: int
) -> None:
    spoil(tmp_path / "bad.root")
    files = [str(one) for one in good]
    files.insert(place, str(tmp_path / "bad.root"))
    with pytest.raises(DataError, match=message) as caught:
        Dataset(files, [0, 1, 0], SELECTED, tree="events")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("spoil", "message"), [one for one in BAD if one[0] not in (the_first_again,)])
def test_the_same_files_are_left_out_where_that_is_asked_for(
    good: list[Sample], tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(tmp_path / "bad.root")
    files = [str(good[0]), str(tmp_path / "bad.root"), str(good[1])]
    kept, labels, bad = leave_out_bad_files(files, [0, 5, 1], SELECTED, "events")
    assert kept == [str(good[0]), str(good[1])]
    assert labels == [0, 1]
    assert list(bad) == [str(tmp_path / "bad.root")]
    with pytest.raises(DataError, match=message):
        raise DataError(bad[files[1]])


def test_a_file_that_is_there_twice_is_used_once(good: list[Sample], tmp_path: Path) -> None:
    the_first_again(tmp_path / "bad.root")
    files = [str(good[0]), str(good[0]), str(tmp_path / "bad.root"), str(good[1])]
    kept, labels, bad = leave_out_bad_files(files, [0, 0, 0, 1], SELECTED)
    assert (kept, labels) == ([str(good[0]), str(good[1])], [0, 1])
    assert "is given twice" in bad[str(good[0])]
    assert "holds the same data" in bad[str(tmp_path / "bad.root")]


def test_a_branch_more_in_one_file_is_told_or_left_aside(good: list[Sample], tmp_path: Path) -> None:
    with_a_branch_more(tmp_path / "bad.root")
    files = [str(tmp_path / "bad.root"), str(good[0])]
    with pytest.raises(DataError, match=r"good1\.root: no branch more, which another file has"):
        Dataset(files, [0, 1])
    with Dataset(files, [0, 1], SELECTED) as dataset:
        assert "more" not in dataset.columns


def test_no_file_is_left(tmp_path: Path) -> None:
    empty(tmp_path / "bad.root")
    with pytest.raises(DataError, match=r"none of 1 files can be used; the first: .*bad\.root: the file is empty"):
        leave_out_bad_files([str(tmp_path / "bad.root")], ["met"])


def test_the_label_branch_is_needed_in_every_file(good: list[Sample], tmp_path: Path) -> None:
    without_a_branch(tmp_path / "bad.root")
    files = [str(good[0]), str(tmp_path / "bad.root")]
    kept, labels, bad = leave_out_bad_files(files, ["met"], DatasetParams(selected=["pt"]))
    assert (kept, labels) == ([str(good[0])], ["met"])
    assert "no branch met to take the label from" in bad[files[1]]


@pytest.mark.parametrize("fraction", [0.001, 0.003, 0.01])
def test_the_error_of_a_short_file_tells_how_short(good: list[Sample], tmp_path: Path, fraction: float) -> None:
    content = good[0].path.read_bytes()
    (tmp_path / "short.root").write_bytes(content[: int(len(content) * fraction)])
    with pytest.raises(DataError, match=r"short\.root: .*(truncated, |expected \d+ bytes where the file has only \d+)"):
        open_reader(str(tmp_path / "short.root"))


def test_flipped_bits_of_compressed_baskets_are_never_read_as_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    path = tmp_path / "flipped.root"
    start = with_large_baskets(path)
    content = path.read_bytes()
    for _ in range(40):
        flipped = bytearray(content)
        flipped[start + int(rng.integers(400))] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        with open_reader(str(path)) as reader, pytest.raises(DataError, match="branch met is damaged between"):
            reader.read(["i_int8", "met", "i_float64"], 0, 600)


def test_a_flipped_bit_of_a_parquet_file_is_seen(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    pq.write_table(pa.table({"x": rng.random(5000)}), tmp_path / "a.parquet", write_page_checksum=True)
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "a.parquet").write_bytes(content)
    with (
        open_reader(str(tmp_path / "a.parquet")) as reader,
        pytest.raises(DataError, match=r"a\.parquet: cannot be read"),
    ):
        reader.read(["x"], 0, 5000)


def test_a_training_goes_on_without_the_bad_files_and_says_so(good: list[Sample], tmp_path: Path) -> None:
    bit_flipped(tmp_path / "bad.root")
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "params.json").write_text(json.dumps({"epochs": 1, "selected_branches": ["met", "pt"]}))
    command = [
        *(str(Path(sys.executable).with_name("mlaas")), "train", "--labels", "0,0,1", "--model", "net.py"),
        *("--files", f"{good[0]},bad.root,{good[1]}", "--params", "params.json", "--summary", "s.json"),
    ]
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert refused.stderr.startswith("mlaas: bad.root: branch met is damaged between entries")
    assert refused.stderr.count("\n") == 1
    done = subprocess.run([*command, "--skip-bad-files"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "note: left out: bad.root: branch met is damaged between entries" in done.stdout
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["events"] == 1200
    assert summary["notes"][-1].startswith("left out: bad.root: ")
