"""CSV, JSON lines, Parquet and Avro give the events that were written, and errors that say what is wrong."""

import contextlib
import gzip
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import awkward as ak
import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mlaas.readers.lines
from mlaas.dataset import Dataset, DatasetParams
from mlaas.errors import DataError
from mlaas.readers import open_reader
from tests.mlaas.formats import COMPRESS, WRITERS, without_huge_integers
from tests.mlaas.samples import Sample, expected_raw, make_sample

COMPRESSED = [(suffix, packing) for suffix in WRITERS for packing in COMPRESS if suffix != ".parquet" or not packing]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return without_huge_integers(make_sample(tmp_path_factory.mktemp("formats") / "all.root", 300))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks so small that every file has many."""
    monkeypatch.setattr(mlaas.readers.lines, "BLOCK_BYTES", 5000)


def written(sample: Sample, folder: Path, suffix: str, packing: str = "") -> Path:
    path = folder / f"data{suffix}{packing}"
    WRITERS[suffix](sample, path)
    path.write_bytes(COMPRESS[packing](path.read_bytes()))
    return path


def entry_lists(sample: Sample, suffix: str) -> dict[str, list[Any]]:
    """Branch → what each event has, for the branches that the format can hold."""
    content = {name: values.tolist() for name, values in sample.flat.items()}
    if suffix != ".csv":
        content |= {name: [one.tolist() for one in lists] for name, lists in sample.jagged.items()}
    return content


@pytest.mark.parametrize(("suffix", "packing"), COMPRESSED)
def test_every_event_is_read_as_it_was_written(sample: Sample, tmp_path: Path, suffix: str, packing: str) -> None:
    expected = entry_lists(sample, suffix)
    with open_reader(str(written(sample, tmp_path, suffix, packing))) as reader:
        assert reader.entries == 300
        assert {branch.name: branch.kind for branch in reader.branches.values()} == {
            name: "jagged" if name in sample.jagged else "flat" for name in expected
        }
        for start, stop in [(0, 300), (290, 1000), (37, 211), (0, 1), (5, 5)]:
            events = reader.read(list(expected), start, stop)
            for name, values in expected.items():
                assert events[name].to_list() == values[start:stop], name


@pytest.mark.parametrize("suffix", WRITERS)
def test_blocks_cover_every_event_once_and_are_small(sample: Sample, tmp_path: Path, suffix: str) -> None:
    with open_reader(str(written(sample, tmp_path, suffix))) as reader:
        for size in (1, 1000, 1 << 30):
            ranges = reader.blocks(["met"], 250, size)
            assert [entry for one in ranges for entry in range(*one)] == list(range(250))
        assert len(reader.blocks(["met"], 250, 8 * 60)) > 2


@pytest.mark.parametrize("suffix", WRITERS)
def test_identity_follows_the_content_and_not_the_path(sample: Sample, tmp_path: Path, suffix: str) -> None:
    path = written(sample, tmp_path, suffix)
    (copy := tmp_path / f"copy{suffix}").write_bytes(path.read_bytes())
    other = make_sample(tmp_path / "other.root", 300, seed=2)
    (tmp_path / "other").mkdir()
    with (
        open_reader(str(path)) as one,
        open_reader(str(copy)) as same,
        open_reader(str(written(without_huge_integers(other), tmp_path / "other", suffix))) as different,
    ):
        assert one.identity == same.identity != different.identity


@pytest.mark.parametrize("suffix", [".json", ".parquet", ".avro"])
def test_chunks_are_those_of_the_root_file(sample: Sample, tmp_path: Path, suffix: str) -> None:
    params = DatasetParams(selected=["met", "pt", "eta", "v_int32"], test=0.0, validation=0.0, chunk_size=80)
    params = DatasetParams(**{**vars(params), "shuffle": False})
    path = written(sample, tmp_path, suffix)
    with Dataset([str(sample)], ["i_bool"], params) as root, Dataset([str(path)], ["i_bool"], params) as other:
        assert root.columns == other.columns
        for expected, chunk in zip(root.chunks("train"), other.chunks("train"), strict=True):
            np.testing.assert_array_equal(chunk.mask, expected.mask)
            np.testing.assert_array_equal(chunk.y, expected.y)
            np.testing.assert_allclose(chunk.x, expected.x, atol=1e-6)


def read_all(path: Path) -> dict[str, Any]:
    with open_reader(str(path)) as reader:
        return reader.read(list(reader.branches), 0, reader.entries)


def test_missing_values_are_nan_and_missing_lists_are_empty(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,n,flag\n1.5,3,true\n,NA,\nnan,5,false\ninf,6,true\n")
    (tmp_path / "a.json").write_text('{"x": 1.5, "v": [1, null]}\n{"n": 4}\n\n{"x": NaN, "v": []}\n')
    schema = pa.schema([("n", pa.int32()), ("v", pa.list_(pa.int16())), ("d", pa.dictionary(pa.int8(), pa.float32()))])
    table = pa.table({"n": [1, None, 3], "v": [[1, 2], None, [None]], "d": [0.5, None, 0.5]}, schema)
    pq.write_table(table, tmp_path / "a.parquet")
    for name, expected in {
        "a.csv": {"x": [1.5, None, None, np.inf], "n": [3, None, 5, 6], "flag": [1, None, 0, 1]},
        "a.json": {"x": [1.5, None, None], "v": [[1, None], [], []], "n": [None, 4, None]},
        "a.parquet": {"n": [1, None, 3], "v": [[1, 2], [], [None]], "d": [0.5, None, 0.5]},
    }.items():
        events = read_all(tmp_path / name)
        assert {key: ak.nan_to_none(array).to_list() for key, array in events.items()} == expected, name


def test_records_and_nested_lists_have_names_and_one_level(tmp_path: Path) -> None:
    events = [
        {"muon": [{"pt": 1.0, "hits": [1, 2]}, {"pt": 2.0, "hits": []}], "vertex": {"x": 5}, "name": "a"},
        {"muon": [], "vertex": {"x": 6}, "name": "b"},
        {"muon": [{"pt": 3.0, "hits": [3]}], "vertex": {"x": 7}, "name": "c"},
    ]
    (tmp_path / "a.json").write_text("\n".join(map(json.dumps, events)))
    pq.write_table(pa.Table.from_pylist(events), tmp_path / "a.parquet")
    muon = {
        "type": "record",
        "name": "muon",
        "fields": [{"name": "pt", "type": "float"}, {"name": "hits", "type": {"type": "array", "items": "int"}}],
    }
    vertex = {"type": "record", "name": "vertex", "fields": [{"name": "x", "type": ["null", "int"]}]}
    fields = [("muon", {"type": "array", "items": muon}), ("vertex", vertex), ("name", "string")]
    schema = {"type": "record", "name": "e", "fields": [{"name": name, "type": kind} for name, kind in fields]}
    with (tmp_path / "a.avro").open("wb") as stream:
        fastavro.writer(stream, fastavro.parse_schema(schema), events)
    for name in ("a.json", "a.parquet", "a.avro"):
        with open_reader(str(tmp_path / name)) as reader:
            assert reader.skipped == {"name": "it holds strings"}
        assert {key: array.to_list() for key, array in read_all(tmp_path / name).items()} == {
            "muon.pt": [[1, 2], [], [3]],
            "muon.hits": [[1, 2], [], [3]],
            "vertex.x": [5, 6, 7],
        }


AVRO_TYPES: list[tuple[Any, list[Any]]] = [
    ("int", [1, -(2**31), 2**31 - 1]),
    ("long", [1, -(2**61), 2**61]),
    ("long", [1, -(2**63), 2**63 - 1]),
    ("boolean", [True, False, True]),
    ("double", [0.5, -1e300, 3.0]),
    (["null", "int"], [None, 3, None]),
    (["double", "null"], [None, 0.25, 7.0]),
    ({"type": "array", "items": "int"}, [[1, 2], [], [3]]),
    ({"type": "array", "items": ["null", "double"]}, [[1.0, None], [], [None]]),
    ({"type": "array", "items": {"type": "array", "items": "long"}}, [[[1], [2, 3]], [], [[], [4]]]),
]


@pytest.mark.parametrize(("kind", "values"), AVRO_TYPES)
def test_avro_types_between_others_that_are_skipped(tmp_path: Path, kind: Any, values: list[Any]) -> None:
    point = {
        "type": "record",
        "name": "point",
        "fields": [{"name": "x", "type": "double"}, {"name": "y", "type": "long"}],
    }
    before: list[tuple[str, Any, Any]] = [
        ("text", "string", "some text"),
        ("map", {"type": "map", "values": "float"}, {"a": 1.0, "b": 2.0}),
        ("fixed", {"type": "fixed", "name": "six", "size": 6}, b"123456"),
        ("color", {"type": "enum", "name": "color", "symbols": ["red", "blue"]}, "blue"),
        ("either", ["string", "int", "null"], 5),
        ("points", {"type": "array", "items": point}, [{"x": 1.0, "y": 2}]),
        ("again", ["null", "point"], {"x": 1.0, "y": 2}),
        ("time", {"type": "long", "logicalType": "timestamp-millis"}, 1_000_000),
        ("raw", "bytes", b"\x00\x01"),
    ]
    fields = [{"name": name, "type": one} for name, one, _ in before]
    fields += [{"name": "value", "type": kind}, {"name": "last", "type": "float"}]
    schema = fastavro.parse_schema({"type": "record", "name": "event", "fields": fields})
    rows = [{**{name: one for name, _, one in before}, "value": value, "last": 1.5} for value in values]
    with (tmp_path / "a.avro").open("wb") as stream:
        fastavro.writer(stream, schema, rows, sync_interval=1)
    nested = isinstance(kind, dict) and isinstance(kind["items"], dict)
    expected = [[*itertools.chain(*one)] for one in values] if nested else values
    with open_reader(str(tmp_path / "a.avro")) as reader:
        events = reader.read(["last", "value"], 0, 3)
        assert ak.nan_to_none(events["value"]).to_list() == expected
        assert events["last"].to_list() == [1.5] * 3
        assert reader.read(["again.y"], 1, 3)["again.y"].to_list() == [2, 2]
        assert set(reader.skipped) == {"text", "map", "fixed", "color", "either", "time", "raw"}


def test_types_that_differ_between_blocks_become_the_wider_one(tmp_path: Path) -> None:
    whole = "\n".join(["x,y", *(f"{one},1" for one in range(2000)), "0.5,"]) + "\n"
    (tmp_path / "a.csv").write_text(whole)
    lines = [{"x": one, "v": [one]} for one in range(1000)] + [{"x": 0.5, "v": [0.5]}]
    (tmp_path / "a.json").write_text("\n".join(map(json.dumps, lines)))
    for name in ("a.csv", "a.json"):
        with open_reader(str(tmp_path / name)) as reader:
            assert reader.branches["x"].dtype == "float64"
            assert reader.read(["x"], reader.entries - 2, reader.entries)["x"].to_list()[1] == 0.5


def test_delimiters_and_headers(tmp_path: Path) -> None:
    for content in ("\ufeffx;y\n1;2\n", "# x, y\n1,2\n", "x\ty\n1\t2\n", '"x","y"\r\n1,2\r\n'):
        (tmp_path / "a.csv").write_text(content, "utf-8")
        assert {name: array.to_list() for name, array in read_all(tmp_path / "a.csv").items()} == {"x": [1], "y": [2]}
    (tmp_path / "a.csv").write_text(",x\n0,1.5\n1,2.5\n")
    with open_reader(str(tmp_path / "a.csv")) as reader:
        assert reader.skipped == {"column 1": "it has no name"}
        assert list(reader.branches) == ["x"]


def test_a_column_of_text_is_skipped_and_says_which_entry_is_none(tmp_path: Path) -> None:
    numbers = [f"{one},a,2020-01-01" for one in range(3000)]
    (tmp_path / "a.csv").write_text("\n".join(["x,name,day", *numbers, "oops,b,2020-01-01"]))
    with open_reader(str(tmp_path / "a.csv")) as reader:
        assert reader.branches == {}
        assert reader.skipped["name"] == "it holds strings"
        assert reader.skipped["x"] == "entry 3000 holds 'oops', which is not a number"
        assert "is not a number" in reader.skipped["day"]


BAD = [
    ("a.csv", b"x,y\n1,2\n3\n", "entry 1 has 1 values; expected 2, as the header has: '3'"),
    ("a.csv", b"1,2\n3,4\n", "the first line is '1,2'; expected the names of the columns"),
    ("a.csv", b"x,x\n3,4\n", "two columns have the name x"),
    ("a.csv", b"\xff\xfe\x00\n1", "not a CSV file, its first line is not text"),
    ("a.json", b'{"x": 1}\n{"x": "a"}\n', "entry 1: branch x is a string; expected a number, as before"),
    ("a.json", b'{"x": 1}\n{"x": 2', "entry 1 is not JSON: Missing a comma or '}' after an object member"),
    ("a.json", b'[{"x": 1}]', "begins with a list; expected JSON lines, an object a line"),
    ("a.json", b'{"x": 1}\n[1, 2]\n', "entry 1 is a JSON array; expected an object a line"),
    ("a.parquet", b"PK\3\4 a zip", "not a Parquet file, it begins with b'PK"),
    ("a.avro", b"PK\3\4 a zip", "not an Avro file, it begins with b'PK"),
    *[(f"a{suffix}", b"", "the file is empty (0 bytes)") for suffix in WRITERS],
]


@pytest.mark.parametrize(("name", "content", "message"), BAD)
def test_bad_files_are_named_with_the_entry(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / name}: ") + ".*" + re.escape(message)):
        open_reader(str(tmp_path / name))


def test_types_that_change_far_into_a_json_file_are_named(tmp_path: Path) -> None:
    lines = [json.dumps({"x": one}) for one in range(3000)] + ['{"x": "late"}']
    (tmp_path / "a.json").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"a\.json: .*branch x is a? ?string.*expected"):
        open_reader(str(tmp_path / "a.json"))


@pytest.mark.parametrize(("suffix", "packing"), [one for one in COMPRESSED if one != (".csv", "")])
@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.99])
def test_truncated_files_are_refused(
    sample: Sample, tmp_path: Path, suffix: str, packing: str, fraction: float
) -> None:
    path = written(sample, tmp_path, suffix, packing)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    with pytest.raises(DataError, match=re.escape(path.name)) as caught, open_reader(str(path)) as reader:
        reader.read(list(reader.branches), 0, reader.entries)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("suffix", "packing"), [(one, "") for one in WRITERS] + [(".csv", ".gz"), (".json", ".zst")])
def test_damaged_bytes_never_raise_anything_else(sample: Sample, tmp_path: Path, suffix: str, packing: str) -> None:
    rng = np.random.default_rng(5)
    path = written(sample, tmp_path, suffix, packing)
    good = path.read_bytes()
    for _ in range(40):
        content = bytearray(good)
        place = int(rng.integers(0, len(content) - 20))
        content[place : place + 20] = rng.bytes(20)
        path.write_bytes(content)
        with contextlib.suppress(DataError):
            read_all(path)


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_file_without_events_can_be_opened(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"none{suffix}"
    if suffix == ".json":
        path.write_text("\n")
    elif suffix == ".csv":
        path.write_text("x,y\n")
    elif suffix == ".parquet":
        pq.write_table(pa.table({"x": pa.array([], pa.float32())}), path)
    else:
        schema = {"type": "record", "name": "e", "fields": [{"name": "x", "type": "float"}]}
        with path.open("wb") as stream:
            fastavro.writer(stream, fastavro.parse_schema(schema), [])
    with open_reader(str(path)) as reader:
        assert reader.entries == 0
        assert reader.blocks(list(reader.branches), 0, 1000) == []
        assert all(len(array) == 0 for array in reader.read(list(reader.branches), 0, 10).values())


def test_unknown_branches_name_the_close_match(sample: Sample, tmp_path: Path) -> None:
    path = written(sample, tmp_path, ".csv")
    with open_reader(str(path)) as reader, pytest.raises(DataError, match=r"no branch Met; did you mean met\?"):
        reader.read(["Met"], 0, 1)


def test_the_suffix_below_the_compression_tells_the_format_and_dtype_overrules(sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "events.txt").write_bytes(gzip.compress(b"x\n1\n"))
    with pytest.raises(DataError, match="the format is not known by its suffix"):
        open_reader(str(tmp_path / "events.txt"))
    with open_reader(str(tmp_path / "events.txt"), dtype="CSV") as reader:
        assert reader.trees(str(tmp_path / "events.txt")) == {"": 1}


NET = """
import keras

def model(idim):
    network = keras.Sequential([keras.layers.Input((idim,)), keras.layers.Dense(1, activation="sigmoid")])
    network.compile(optimizer="adam", loss="binary_crossentropy")
    return network
"""


@pytest.mark.parametrize(("suffix", "packing", "columns"), [(".csv", ".gz", 1), (".json", "", 5), (".parquet", "", 5)])
def test_a_training_from_files_of_each_kind(tmp_path: Path, suffix: str, packing: str, columns: int) -> None:
    for seed in (1, 2):
        sample = without_huge_integers(make_sample(tmp_path / f"{seed}.root", 300, seed))
        written(sample, tmp_path, suffix, packing).rename(tmp_path / f"{seed}{suffix}{packing}")
    (tmp_path / "net.py").write_text(NET)
    selected = ["met"] if suffix == ".csv" else ["met", "pt"]
    # The name of a tree, which a params.json for ROOT files has, does no harm.
    params = {"epochs": 1, "branch": "Events", "selected_branches": selected, "exclude_branches": ["i_*"]}
    (tmp_path / "params.json").write_text(json.dumps(params))
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("mlaas")), "train", "--labels", "0,1", "--model", "net.py"),
            *("--files", f"1{suffix}{packing},2{suffix}{packing}", "--params", "params.json", "--summary", "s.json"),
        ],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "s.json").read_text())
    assert (summary["events"], summary["columns"]) == (600, columns)


@pytest.mark.parametrize("suffix", [".root", *WRITERS])
def test_matrix_and_mask_are_those_computed_number_by_number(sample: Sample, tmp_path: Path, suffix: str) -> None:
    path = sample.path if suffix == ".root" else written(sample, tmp_path, suffix)
    selected = [name for name in entry_lists(sample, suffix) if "64" not in name and name != "i_bool"]
    params = DatasetParams(selected=selected, test=0.0, validation=0.0, chunk_size=77, shuffle=False)
    with Dataset([str(path)], ["i_bool"], params) as dataset:
        features = dataset.features
        chunks = list(dataset.chunks("train"))
    raw = expected_raw(sample, features)
    start = 0
    for feature in features:
        part = raw[:, start : start + feature.dimension]
        low, high = np.nanmin(part), np.nanmax(part)
        part[:] = (part - low) / (high - low)
        start += feature.dimension
    np.testing.assert_array_equal(np.concatenate([chunk.mask for chunk in chunks]), ~np.isnan(raw))
    np.testing.assert_allclose(np.concatenate([chunk.x for chunk in chunks]), np.nan_to_num(raw), atol=1e-6)
