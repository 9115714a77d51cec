"""Reading ROOT files: every type, any range, and errors that say what is wrong."""

import contextlib
import resource
import shutil
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from mlaas.errors import DataError
from mlaas.readers import open_reader
from mlaas.readers import ttree as tables
from mlaas.readers.base import cut_blocks
from mlaas.readers.failures import bounded_memory
from tests.mlaas.samples import FLAT_TYPES, JAGGED_TYPES, Sample, make_sample


@pytest.fixture(scope="module", params=["ttree", "rntuple"])
def sample(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return make_sample(tmp_path_factory.mktemp("readers") / "all.root", 300, form=request.param)


def damaged(sample: Sample, tmp_path: Path, keep: int | None = None) -> Path:
    path = tmp_path / "damaged.root"
    path.write_bytes(Path(sample.path).read_bytes()[:keep])
    return path


def test_finds_kind_and_dtype_of_every_branch(sample: Sample) -> None:
    with open_reader(str(sample)) as reader:
        assert reader.entries == 300
        assert reader.tree == "events"
        for one in FLAT_TYPES:
            assert (reader.branches[f"i_{one}"].kind, reader.branches[f"i_{one}"].dtype) == ("flat", one)
        for one in JAGGED_TYPES:
            assert (reader.branches[f"v_{one}"].kind, reader.branches[f"v_{one}"].dtype) == ("jagged", one)


@pytest.mark.parametrize(("start", "stop"), [(0, 300), (0, 1), (37, 211), (299, 1000), (64, 128), (5, 5)])
def test_reads_exactly_the_values_that_were_written(sample: Sample, start: int, stop: int) -> None:
    with open_reader(str(sample)) as reader:
        events = reader.read([*sample.flat, *sample.jagged], start, stop)
    for name, values in sample.flat.items():
        np.testing.assert_array_equal(ak.to_numpy(events[name]), values[start:stop])
    for name, lists in sample.jagged.items():
        assert events[name].to_list() == [one.tolist() for one in lists[start:stop]]


def test_blocks_cover_every_event_once(sample: Sample) -> None:
    with open_reader(str(sample)) as reader:
        for size in (1, 1000, 10_000, 1 << 30):
            ranges = reader.blocks(["met", "pt"], 250, size)
            assert [entry for one in ranges for entry in range(*one)] == list(range(250))


def test_blocks_end_where_baskets_end() -> None:
    assert cut_blocks([0, 100, 200, 300], 300, 110) == [(0, 100), (100, 200), (200, 300)]
    assert cut_blocks([0, 100, 200, 300], 300, 250) == [(0, 200), (200, 300)]
    assert cut_blocks([0, 100], 100, 30) == [(0, 100)]
    assert cut_blocks([0, 1000], 250, 100) == [(0, 100), (100, 200), (200, 250)]


def test_identity_follows_the_content_and_not_the_path(sample: Sample, tmp_path: Path) -> None:
    copy = shutil.copy(sample.path, tmp_path / "copy.root")
    other = make_sample(tmp_path / "other.root")
    with open_reader(str(sample)) as one, open_reader(str(copy)) as same, open_reader(str(other)) as different:
        assert one.identity == same.identity != different.identity


def test_fixed_size_arrays_are_jagged_and_nested_ones_become_one_list(tmp_path: Path) -> None:
    path = tmp_path / "arrays.root"
    with uproot.recreate(path) as file:
        file.mktree("t", {"three": ("f4", (3,)), "matrix": ("f4", (3, 2)), "x": "f8"})
        matrix = np.arange(24).reshape(4, 3, 2)
        file["t"].extend({"three": np.ones((4, 3)), "matrix": matrix, "x": np.zeros(4)})
    with open_reader(str(path)) as reader:
        assert reader.branches["three"].kind == "jagged"
        assert reader.read(["three"], 1, 3)["three"].to_list() == [[1, 1, 1], [1, 1, 1]]
        assert reader.branches["matrix"].kind == "jagged"
        assert reader.read(["matrix"], 1, 3)["matrix"].to_list() == matrix[1:3].reshape(2, 6).tolist()


def test_strings_nested_lists_and_records_of_rntuples(tmp_path: Path) -> None:
    path = tmp_path / "fields.root"
    lists = ak.Array([[1.0, 2.0], [], [3.0]])
    with uproot.recreate(path) as file:
        fields = {
            "name": ak.Array(["a", "b", "c"]),
            "nested": ak.Array([[[1.0]], [], [[2.0], [3.0]]]),
            "muon": ak.zip({"pt": lists, "eta": -lists}),
            "vertex": ak.Array([{"x": 1, "y": 2.5}] * 3),
            "weight": np.arange(3.0),
        }
        file.mkrntuple("events", fields)
    with open_reader(str(path)) as reader:
        assert set(reader.branches) == {"nested", "muon.pt", "muon.eta", "vertex.x", "vertex.y", "weight"}
        assert reader.skipped == {"name": "it holds strings"}
        with pytest.raises(DataError, match="branch name cannot be read: it holds strings"):
            reader.read(["name"], 0, 1)
        events = reader.read(["muon.eta", "vertex.y", "nested"], 0, 3)
        assert events["nested"].to_list() == [[1.0], [], [2.0, 3.0]]
        assert events["muon.eta"].to_list() == (-lists).to_list()
        assert events["vertex.y"].to_list() == [2.5] * 3


def test_a_file_without_events_can_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "none.root"
    with uproot.recreate(path) as file:
        file.mktree("t", {"x": "f4", "v": "var * float32"})
    with open_reader(str(path)) as reader:
        assert reader.entries == 0
        assert reader.blocks(["x", "v"], 0, 1000) == []
        assert len(reader.read(["x"], 0, 10)["x"]) == 0


def test_several_trees_have_to_be_named_and_the_newest_cycle_is_read(tmp_path: Path) -> None:
    path = tmp_path / "several.root"
    with uproot.recreate(path) as file:
        for entries in (3, 5):
            file.mktree("events", {"x": "f4"})
            file["events"].extend({"x": np.zeros(entries)})
        file.mktree("runs/info", {"x": "f4"})
        file["runs/info"].extend({"x": np.zeros(1)})
    with open_reader(str(path), "events") as reader:
        assert reader.entries == 5
    with open_reader(str(path), "events;1") as reader:
        assert reader.entries == 3
    with open_reader(str(path), "runs/info") as reader:
        assert reader.entries == 1
    with pytest.raises(DataError, match="name the tree to read, the file has events, runs/info"):
        open_reader(str(path))
    with pytest.raises(DataError, match=r"no tree event; did you mean events\?; the file has events, runs/info"):
        open_reader(str(path), "event")


def test_a_file_without_a_tree_says_so(tmp_path: Path) -> None:
    path = tmp_path / "histogram.root"
    with uproot.recreate(path) as file:
        file["h"] = np.histogram([1, 2, 3])
    with pytest.raises(DataError, match="holds no TTree and no RNTuple"):
        open_reader(str(path))


def test_unknown_branches_name_the_close_match(sample: Sample) -> None:
    with open_reader(str(sample)) as reader, pytest.raises(DataError, match=r"no branch Met in events.*mean met"):
        reader.read(["Met"], 0, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", r"bad\.root: the file is empty"), (b"PK\3\4 zip", r"bad\.root: not a ROOT file"), (b"root", r"bad\.root")],
)
def test_files_that_are_not_root(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.root"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        open_reader(str(path))
    assert "\n" not in str(caught.value)


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing\.root: no such file"):
        open_reader(str(tmp_path / "missing.root"))
    (tmp_path / "folder.root").mkdir()
    with pytest.raises(DataError, match="not a file"):
        open_reader(str(tmp_path / "folder.root"))


def test_formats_are_listed_when_unknown(sample: Sample, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the format is not known by its suffix; expected .*\.root"):
        open_reader(str(tmp_path / "data.xyz"))
    with pytest.raises(DataError, match="unknown format 'xyz'; expected one of root"):
        open_reader(str(sample), dtype="xyz")
    unnamed = shutil.copy(sample.path, tmp_path / "no_suffix")
    with open_reader(str(unnamed), dtype="ROOT") as reader:
        assert reader.entries == 300


@pytest.mark.parametrize("fraction", [0.001, 0.1, 0.5, 0.99])
def test_truncated_files_are_refused(sample: Sample, tmp_path: Path, fraction: float) -> None:
    size = int(Path(sample.path).stat().st_size * fraction)
    with pytest.raises(DataError, match=r"damaged\.root: "):
        open_reader(str(damaged(sample, tmp_path, size)))


def test_a_file_truncated_after_it_was_opened_names_the_branch(tmp_path: Path) -> None:
    sample = make_sample(tmp_path / "shrinking.root", 5000)
    with open_reader(str(sample)) as reader:
        with open(sample.path, "r+b") as stream:
            stream.truncate(20_000)
        with pytest.raises(DataError, match=r"shrinking\.root: branch \w+ is damaged between entries 0 and 5000"):
            reader.read(["met", "pt", "i_int8"], 0, 5000)


def test_damaged_bytes_never_raise_anything_else(sample: Sample, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    path = damaged(sample, tmp_path)
    good = path.read_bytes()
    for _ in range(60):
        content = bytearray(good)
        place = int(rng.integers(4, len(content) - 40))
        content[place : place + 30] = rng.bytes(30)
        path.write_bytes(content)
        with contextlib.suppress(DataError), open_reader(str(path)) as reader:
            reader.read(list(reader.branches), 0, reader.entries)


def test_arrays_stay_valid_after_the_file_is_closed(sample: Sample) -> None:
    with open_reader(str(sample)) as reader:
        events = reader.read(["met"], 0, 300)
    np.testing.assert_array_equal(ak.to_numpy(events["met"]), sample.flat["met"])


def test_memory_is_bounded_where_objects_are_tried() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(MemoryError), bounded_memory(1 << 28):
        np.ones(1 << 27)
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_a_branch_whose_first_event_fills_the_memory_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = tables.TTreeTable.values

    def greedy(self: Any, names: Any, *where: int) -> Any:
        if "matrix" in names:
            np.ones(1 << 29)
        return values(self, names, *where)

    monkeypatch.setattr(tables.TTreeTable, "values", greedy)
    monkeypatch.setattr(tables, "_FIRST_EVENT_BYTES", 1 << 30)
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("events", {"x": "f4", "matrix": ("f4", (2, 3)), "three": ("f4", (3,))})
        file["events"].extend({"x": np.ones(4), "matrix": np.ones((4, 2, 3)), "three": np.ones((4, 3))})
    with open_reader(str(tmp_path / "a.root")) as reader:
        assert set(reader.branches) == {"x", "three"}
        assert reader.skipped == {"matrix": "it cannot be read: the first event would take more than 1024 MB"}
