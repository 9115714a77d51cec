"""Baskets decoded directly hold what uproot makes of them, however they are stored."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from mlaas.dataset import Dataset, DatasetParams
from mlaas.errors import DataError
from mlaas.readers import open_reader
from mlaas.readers import ttree as tables
from mlaas.readers.arrays import Jagged, as_awkward
from mlaas.readers.baskets import PlainBranch, StoredBytes
from mlaas.readers.root import RootReader
from tests.mlaas.samples import FLAT_TYPES, jagged, make_sample, numbers, split, write

COMPRESSIONS = {
    "none": None, "zlib": uproot.ZLIB(1), "lzma": uproot.LZMA(1), "lz4": uproot.LZ4(1), "zstd": uproot.ZSTD(1),
}  # fmt: skip


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_type_and_compression_is_read_as_uproot_reads_it(
    tmp_path: Path, compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = make_sample(tmp_path / "a.root", 1000)
    recreate = uproot.recreate
    monkeypatch.setattr(uproot, "recreate", lambda path: recreate(path, compression=COMPRESSIONS[compression]))
    write(sample, step=300)
    monkeypatch.setattr(tables, "_arrays", lambda *_: {})  # nothing is left to uproot
    with open_reader(str(sample)) as reader, uproot.open(sample.path) as file:
        for start, stop in ((0, 1000), (0, 300), (299, 301), (350, 999), (600, 600)):
            found = reader.values(list(reader.branches), start, stop)
            for name, values in found.items():
                expected = file["events"][name].array(entry_start=start, entry_stop=stop)
                assert ak.array_equal(as_awkward(values), expected), name
                assert as_awkward(values).type == expected.type


def test_more_than_one_block_of_compression(tmp_path: Path) -> None:
    values = np.arange(5_000_000, dtype="f4")  # a block has at most 16 MB
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("events", {"x": "f4"})
        file["events"].extend({"x": values})
    with open_reader(str(tmp_path / "a.root")) as reader:
        np.testing.assert_array_equal(reader.values(["x"], 0, 5_000_000)["x"], values)


def embedded(data: np.ndarray, byte_offsets: Any, entries: int) -> Any:
    return SimpleNamespace(data=data.view(np.uint8), byte_offsets=byte_offsets, num_entries=entries)


def branch(header: int | None, baskets: list[Any]) -> PlainBranch:
    offsets = np.cumsum([0, *(basket.num_entries for basket in baskets)]).tolist()
    return PlainBranch("v", np.dtype(">f4"), np.dtype("f4"), header, offsets, [], [], baskets)


NOTHING = StoredBytes(None, [], merge=True)


def test_lists_behind_headers_and_in_several_baskets() -> None:
    head = b"\x40\x00\x00\x0e\x00\x00\x00\x00\x00\x00"
    lists = [[1.5], [], [2, 3, 4], [5]]

    def stored(some: list[list[float]]) -> Any:
        parts = [head + np.array(one, ">f4").tobytes() for one in some]
        places = np.cumsum([0, *map(len, parts)]).astype("i4")
        return embedded(np.frombuffer(b"".join(parts), np.uint8), places, len(some))

    vectors = branch(len(head), [stored(lists[:3]), stored(lists[3:])])
    for start, stop in ((0, 4), (0, 1), (1, 3), (2, 4), (3, 4), (2, 2)):
        values = vectors.read(NOTHING, start, stop)
        assert isinstance(values, Jagged)
        assert as_awkward(values).to_list() == lists[start:stop]


def test_lists_without_places_are_left_to_uproot() -> None:
    assert branch(0, [embedded(np.zeros(3, ">f4"), None, 3)]).read(NOTHING, 0, 3) is None


@pytest.mark.parametrize(
    ("header", "places", "entries", "message"),
    [
        (0, [0, 8, 4, 12], 3, "lists that end before they begin"),
        (0, [0, 4, 8, 16], 3, "have 3 numbers; expected 4"),
        (0, [0, 4, 8], 3, "lacks the places"),
        (10, [0, 4, 8, 12], 3, "lists that end before they begin"),
        (None, None, 4, "3 numbers for 4 entries"),
    ],
)
def test_baskets_that_make_no_sense(header: int | None, places: Any, entries: int, message: str) -> None:
    basket = embedded(np.zeros(3, ">f4"), None if places is None else np.array(places, "i4"), entries)
    with pytest.raises(ValueError, match=message):
        branch(header, [basket]).read(NOTHING, 0, entries)


def test_a_basket_that_is_not_where_it_should_be(tmp_path: Path) -> None:
    sample = make_sample(tmp_path / "a.root", 300)
    with uproot.open(sample.path) as file:
        seeks = file["events"]["met"].member("fBasketSeek")[:2]
    with RootReader(str(sample)) as reader:
        plain = reader._table._plain_branch("met")  # type: ignore[attr-defined]
        assert plain.seeks[:2] == seeks.tolist()
        object.__setattr__(plain, "seeks", [-5, *plain.seeks[1:]])
        with pytest.raises(DataError, match=r"a\.root: branch met is damaged between entries 0 and 300: a basket is"):
            reader.read(["i_int8", "met"], 0, 300)
        object.__setattr__(plain, "seeks", [plain.seeks[1], *plain.seeks[1:]])
        object.__setattr__(plain, "entry_offsets", [0, 63, *plain.entry_offsets[2:]])
        with pytest.raises(DataError, match=r"branch met is damaged .* basket 0 of met has 64 of 63 entries"):
            reader.read(["i_int8", "met"], 0, 300)


def test_matrices_of_lists_of_every_type_are_those_of_numpy(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    lists = {one: split(numbers(rng, one, 600), np.full(200, 3)) for one in FLAT_TYPES}
    for one, values in lists.items():
        lists[one] = [value[: event % 4] for event, value in enumerate(values)]
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("events", {"label": "i4"} | {f"v_{one}": f"var * {one}" for one in FLAT_TYPES})
        columns = {f"v_{one}": jagged(values, one) for one, values in lists.items()}
        file["events"].extend({"label": np.arange(200) % 2} | columns)
    params = DatasetParams(excluded=["nv_*"], test=0, validation=0, shuffle=False, chunk_size=1000)
    with Dataset([str(tmp_path / "a.root")], ["label"], params) as dataset:
        (chunk,) = dataset.chunks("train")
    for place, one in enumerate(FLAT_TYPES):
        padded = np.full((200, 3), np.nan)
        for event, values in enumerate(lists[one]):
            padded[event, : len(values)] = values
        low, high = np.nanmin(padded), np.nanmax(padded)
        part = slice(3 * place, 3 * place + 3)
        np.testing.assert_array_equal(chunk.mask[:, part], ~np.isnan(padded), one)
        expected = np.nan_to_num((padded - low) / (high - low))
        np.testing.assert_allclose(chunk.x[:, part], expected, atol=1e-6, err_msg=one)
