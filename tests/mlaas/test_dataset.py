"""Chunks hold every event of their part once, as the files have it, mixed and in bounded memory."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from mlaas.dataset import Dataset, DatasetParams
from mlaas.dataset import chunks as chunking
from mlaas.dataset import stream as streams
from mlaas.dataset.sources import share
from mlaas.dataset.split import PARTS, Split
from mlaas.errors import DataError, MlaasError, ParameterError, SpecsError
from mlaas.prefetch import read_ahead
from mlaas.selection import Selection
from tests.mlaas.samples import Sample, expected_raw, jagged, make_sample, write

PHYSICS = DatasetParams(selected=["met", "pt", "eta", "i_int32"], chunk_size=100)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    folder = tmp_path_factory.mktemp("dataset")
    return [
        make_sample(folder / "signal.root", 700, 1),
        make_sample(folder / "background.root", 300, 2, form="rntuple"),
    ]


def paths(samples: list[Sample]) -> list[str]:
    return [str(sample) for sample in samples]


def params(**changes: Any) -> DatasetParams:
    return DatasetParams(**{**vars(PHYSICS), **changes})


def sorted_rows(*arrays: np.ndarray) -> np.ndarray:
    rows = np.nan_to_num(np.column_stack(arrays), nan=-12345.0)
    return rows[np.lexsort(rows.T)]


def tree(path: Path, columns: dict[str, Any], types: dict[str, str] | None = None) -> str:
    types = types or {name: str(np.asarray(values).dtype) for name, values in columns.items()}
    with uproot.recreate(path) as file:
        file.mktree("events", types)
        if len(next(iter(columns.values()))):
            file["events"].extend(columns)
    return str(path)


def test_all_parts_together_hold_every_event_once(samples: list[Sample]) -> None:
    with Dataset(paths(samples), [1, 0], PHYSICS) as dataset:
        raw = np.concatenate([expected_raw(sample, dataset.features) for sample in samples]).astype(np.float32)
        labels = np.repeat(np.float32([1, 0]), [700, 300])
        found = [chunk for part in PARTS for chunk in dataset.chunks(part)]
        with np.errstate(invalid="ignore"):
            x = (raw - dataset.assembler.shift) * dataset.assembler.scale
        mask = ~np.isnan(raw)
        np.testing.assert_array_equal(
            sorted_rows(
                np.concatenate([one.x for one in found]),
                np.concatenate([one.mask for one in found]),
                np.concatenate([one.y for one in found]),
            ),
            sorted_rows(np.where(mask, x, 0), mask, labels),
        )
        assert all((one.x.dtype, one.mask.dtype, one.y.dtype) == ("f4", "?", "f4") for one in found)
        assert sum(dataset.counts.values()) == 1000
        assert dataset.classes == (0.0, 1.0)
        assert list(dataset.entries.values()) == [700, 300]
        assert dataset.features[0].name == "i_int32"
        assert len(dataset.columns) == dataset.assembler.width == found[0].x.shape[1]


def test_raw_chunks_are_the_values_in_the_order_of_the_files(samples: list[Sample]) -> None:
    with Dataset(paths(samples), [1, 0], params(chunk_size=10_000)) as dataset:
        ((raw, y),) = dataset.raw_chunks("test")
        parts = [Split(0, 0.2, 0.2).parts(str(one), 0, one.entries) == 2 for one in samples]
        expected = [expected_raw(one, dataset.features)[part] for one, part in zip(samples, parts, strict=True)]
        np.testing.assert_array_equal(raw, np.concatenate(expected).astype(np.float32))
        np.testing.assert_array_equal(y, np.repeat([1, 0], [part.sum() for part in parts]))
        (chunk,) = dataset.chunks("test")
        np.testing.assert_array_equal(chunk.x, dataset.assembler.normalise(raw)[0])


def test_every_chunk_looks_like_the_whole(samples: list[Sample]) -> None:
    with Dataset(paths(samples), [1, 0], params(test=0.0, validation=0.0)) as dataset:
        chunks = list(dataset.chunks("train"))
        assert [len(one.y) for one in chunks] == [100] * 10
        assert [one.y.sum() for one in chunks] == [70] * 10
        assert any(0 < one.y[:50].sum() < 50 for one in chunks)


def test_order_depends_on_seed_and_epoch_only(samples: list[Sample]) -> None:
    def events(epoch: int, part: Any = "train", **changes: Any) -> np.ndarray:
        with Dataset(paths(samples), [1, 0], params(**changes)) as dataset:
            return np.concatenate([one.x for one in dataset.chunks(part, epoch)])

    np.testing.assert_array_equal(events(1), events(1))
    assert not np.array_equal(events(1), events(2))
    np.testing.assert_array_equal(sorted_rows(events(1)), sorted_rows(events(2)))
    np.testing.assert_array_equal(events(1, "test"), events(2, "test"))
    np.testing.assert_array_equal(events(1, shuffle=False), events(2, shuffle=False))
    assert len(events(1, seed=1)) != len(events(1, seed=2)) or not np.array_equal(events(1, seed=1), events(1, seed=2))


@pytest.mark.parametrize("chunk_size", [1, 37, 64, 1000, 10**6])
def test_no_event_depends_on_the_chunk_size(samples: list[Sample], chunk_size: int) -> None:
    with Dataset(paths(samples), [1, 0], params(chunk_size=1000)) as one:
        expected = np.concatenate([chunk.x for chunk in one.chunks("validation")])
    with Dataset(paths(samples), [1, 0], params(chunk_size=chunk_size)) as other:
        chunks = [chunk.x for chunk in other.chunks("validation")]
    np.testing.assert_array_equal(sorted_rows(np.concatenate(chunks)), sorted_rows(expected))
    assert max(map(len, chunks)) <= max(chunk_size, 2)


def test_split_has_the_fractions_and_follows_the_name_of_the_file() -> None:
    split = Split(3, 0.2, 0.25)
    parts = split.parts("/a/b/file.root", 0, 100_000)
    np.testing.assert_allclose(np.bincount(parts) / 1e5, [0.6, 0.2, 0.2], atol=0.01)
    np.testing.assert_array_equal(parts, split.parts("root://host//c/file.root?x=1", 0, 100_000))
    np.testing.assert_array_equal(parts[500:700], split.parts("file.root", 500, 700))
    assert not np.array_equal(parts, split.parts("other.root", 0, 100_000))
    assert not np.array_equal(parts, Split(4, 0.2, 0.25).parts("file.root", 0, 100_000))
    # Fixed for good: models are evaluated on events that they were not trained on.
    assert Split(0, 0.2, 0.2).parts("a.root", 0, 12).tolist() == [0, 2, 0, 1, 0, 0, 2, 2, 0, 1, 0, 2]


def test_events_meet_others_in_every_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = make_sample(tmp_path / "a.root", 1600, step=20)
    with Dataset([str(sample)], ["i_bool"], params(selected=["met"], test=0.0, validation=0.0, chunk_size=400)) as data:
        monkeypatch.setattr(chunking, "FILE_BYTES", (1, 100))
        first, second = ([set(one.x[:, 0].tolist()) for one in data.chunks("train", epoch)] for epoch in (0, 1))
    assert set.union(*first) == set.union(*second)
    assert all(0 < len(one & other) < 400 for one in first for other in second)


def test_a_quantile_of_the_events_sets_the_dimension_and_what_is_cut_is_told(samples: list[Sample]) -> None:
    with Dataset(paths(samples), [1, 0], params(jagged_quantile=0.5)) as dataset:
        counts = [len(one) for sample in samples for one in sample.jagged["pt"]]
        dimension = int(np.quantile(counts, 0.5, method="inverted_cdf"))
        assert {one.name: one.dimension for one in dataset.features}["pt"] == dimension
        more = [count - dimension for count in counts if count > dimension]
        note = f"pt: {dimension} of at most 4 objects are used, {len(more)} of 1000 events have {sum(more)} more"
        assert note in dataset.notes
        raw = np.concatenate([raw for part in PARTS for raw, _ in dataset.raw_chunks(part)])
        expected = np.concatenate([expected_raw(sample, dataset.features) for sample in samples]).astype(np.float32)
        np.testing.assert_array_equal(sorted_rows(raw), sorted_rows(expected))


def test_only_the_first_epoch_reads_small_data(samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    def epochs(dataset: Dataset, part: Any) -> list[np.ndarray]:
        return [np.concatenate([one.x for one in dataset.chunks(part, epoch)]) for epoch in range(3)]

    with Dataset(paths(samples), [1, 0], PHYSICS) as dataset:
        first = next(dataset.chunks("test"))
        for reader in dataset.sources.readers:
            reader.values = None  # type: ignore[assignment, method-assign]
        kept = epochs(dataset, "train")
        np.testing.assert_array_equal(next(dataset.chunks("test")).x, first.x)
    monkeypatch.setattr(streams, "KEPT_BYTES", 1000)
    with Dataset(paths(samples), [1, 0], PHYSICS) as dataset:
        for one, other in zip(kept, epochs(dataset, "train"), strict=True):
            np.testing.assert_array_equal(one, other)
        for reader in dataset.sources.readers:
            reader.values = None  # type: ignore[assignment, method-assign]
        with pytest.raises(TypeError):
            next(dataset.chunks("train"))


def test_a_class_that_training_lacks_matters_to_classifiers_only(tmp_path: Path) -> None:
    target = np.where(np.arange(60) == 3, 5.0, np.arange(60) % 2)
    path = tree(tmp_path / "a.root", {"x": np.arange(60.0), "target": target})
    seed = next(seed for seed in range(99) if not trains(seed))
    with Dataset([path], ["target"], DatasetParams(test=0.5, seed=seed)) as dataset:
        assert dataset.classes == (0, 1, 5)
        with pytest.raises(DataError, match="the training part has no event of label 5"):
            dataset.require_every_class()
        assert len(next(dataset.chunks("train")).y)


def trains(seed: int) -> bool:
    """Whether event 3 of ``a.root`` is in the training part."""
    return bool(Split(seed, 0.5, 0.2).parts("a.root", 3, 4)[0] == PARTS.index("train"))


def test_selection_counts_and_new_branches(samples: list[Sample]) -> None:
    selection = Selection.from_dict(
        {
            "new_branch": {"ht": {"def": "sum(pt)", "type": "flat", "keys_to_remove": ["eta"]}},
            "flat_cut": {"met": {"cut": "met>20"}},
            "jagged_cut": {"pt": {"cut": ["pt>25", "any"]}},
        }
    )
    passing = []
    for one in samples:
        met = one.flat["met"] > 20
        passing.append((met, met & [bool((objects > 25).any()) for objects in one.jagged["pt"]]))
    with Dataset(paths(samples), [1, 0], params(selected=["met", "pt"]), selection=selection) as dataset:
        assert [feature.name for feature in dataset.features] == ["met", "pt", "ht"]
        assert dataset.cutflow == {
            "met>20": sum(met.sum() for met, _ in passing),
            "pt>25 (any)": sum(both.sum() for _, both in passing),
        }
        assert list(dataset.cutflows) == paths(samples)
        for flow, (met, both) in zip(dataset.cutflows.values(), passing, strict=True):
            assert list(flow.values()) == [met.sum(), both.sum()]
        assert sum(dataset.counts.values()) == sum(both.sum() for _, both in passing)
        assert dataset.class_counts["train"][1.0] + dataset.class_counts["train"][0.0] == dataset.counts["train"]
        for part in PARTS:
            assert sum(len(y) for _, y in dataset.raw_chunks(part)) == dataset.counts[part]
        for raw, _ in dataset.raw_chunks("train"):
            np.testing.assert_allclose(np.nansum(raw[:, 1:-1], axis=1), raw[:, -1], rtol=1e-6)


def test_label_from_a_branch(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    target = rng.integers(0, 3, 500)
    columns = {"x": target * 10.0 + rng.random(500), "target": target, "list": jagged([[1.0]] * 500)}
    path = tree(tmp_path / "a.root", columns, {"x": "f8", "target": "int32", "list": "var * float32"})
    with Dataset([path], ["target"], DatasetParams(selected=["x"])) as dataset:
        assert dataset.label_branch == "target"
        assert dataset.classes == (0.0, 1.0, 2.0)
        for raw, y in dataset.raw_chunks("train"):
            np.testing.assert_array_equal(raw[:, 0] // 10, y)
    with Dataset([path], ["target"]) as dataset:
        assert "target" not in [feature.name for feature in dataset.features]
    with Dataset([path], ["x"], DatasetParams(selected=["target"])) as dataset:
        assert dataset.classes == ()
    for label, message in [("list", "list is jagged"), ("targt", "no branch targt .*did you mean target")]:
        with pytest.raises(DataError, match=message):
            Dataset([path], [label])


def test_label_branch_with_bad_values(tmp_path: Path) -> None:
    path = tree(tmp_path / "a.root", {"x": np.arange(9.0), "one": np.ones(9), "lost": np.array([1, np.nan, 0] * 3)})
    with pytest.raises(DataError, match="label 1; expected at least two"):
        Dataset([path], ["one"])
    with pytest.raises(DataError, match=r"a\.root: branch lost has a label that is not finite"):
        Dataset([path], ["lost"])


def test_nevts_is_shared_by_size(samples: list[Sample]) -> None:
    with Dataset(paths(samples), [1, 0], params(nevts=100)) as dataset:
        assert list(dataset.entries.values()) == [70, 30]
        assert sum(dataset.counts.values()) == 100
    with Dataset(paths(samples), [1, 0], params(nevts=5000)) as dataset:
        assert sum(dataset.entries.values()) == 1000
        assert dataset.notes[0] == "nevts is 5000, but the files have 1000 events: all are used"
    assert share(10, [1, 1, 1]) == [4, 3, 3]
    assert share(5, [1000, 1]) == [5, 0]


def test_notes_name_what_is_not_used(tmp_path: Path) -> None:
    columns = {"x": np.arange(50.0), "gone": np.full(50, np.nan), "some": np.where(np.arange(50) == 3, np.inf, 1.0)}
    types = {"x": "f8", "gone": "f8", "some": "f8", "text": "string"}
    columns["text"] = ["a"] * 50
    files = [tree(tmp_path / name, columns, types) for name in ("a.root", "b.root")]
    with Dataset(files, [0, 1]) as dataset:
        assert dataset.columns == ["x", "some"]
        assert "text (" in dataset.notes[0]
        assert "gone is not used: it has no finite value in any event" in dataset.notes
        assert "some: 2 of 100 values are not finite" in dataset.notes
        assert all(np.isfinite(chunk.x).all() for chunk in dataset.chunks("train"))


def test_specs_are_used_again_and_refused_when_stale(samples: list[Sample], tmp_path: Path) -> None:
    path = tmp_path / "specs.json"
    with Dataset(paths(samples), [1, 0], PHYSICS, specs_path=path) as dataset:
        first = dataset.specs
    written = path.stat().st_mtime_ns
    with Dataset(paths(samples), [1, 0], PHYSICS, specs_path=path) as dataset:
        assert dataset.specs == first
        assert sum(dataset.counts.values()) == 1000
    assert path.stat().st_mtime_ns == written
    selection = Selection.from_dict({"flat_cut": {"met": {"cut": "met>1"}}})
    with pytest.raises(SpecsError, match=r"specs\.json: .*selection"):
        Dataset(paths(samples), [1, 0], PHYSICS, specs_path=path, selection=selection)
    with pytest.raises(SpecsError, match="branches"):
        Dataset(paths(samples), [1, 0], params(selected=["met"]), specs_path=path)
    with pytest.raises(SpecsError, match="nevts"):
        Dataset(paths(samples), [1, 0], params(nevts=10), specs_path=path)
    with pytest.raises(SpecsError, match="there is no folder"):
        Dataset(paths(samples), [1, 0], PHYSICS, specs_path=tmp_path / "no" / "specs.json")


def test_progress_reaches_the_total(samples: list[Sample]) -> None:
    seen: list[tuple[int, int]] = []
    Dataset(paths(samples), [1, 0], PHYSICS, progress=lambda done, total: seen.append((done, total))).close()
    assert seen[-1] == (1000, 1000)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1], "1 labels are given for 2 files"),
        ([1, 0, 0], "3 labels are given for 2 files"),
        ([1, 1], "all files have the label 1"),
        ([1, "x"], "label 'x' of .* is not a number"),
        ([1, "nan"], "label 'nan' of .* is not a number"),
        (["signal"], "no branch signal to take the label from"),
    ],
)
def test_labels_that_do_not_fit(samples: list[Sample], labels: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Dataset(paths(samples), labels, PHYSICS)


def test_files_that_do_not_fit(samples: list[Sample], tmp_path: Path) -> None:
    good = str(samples[0])
    with pytest.raises(DataError, match="no files"):
        Dataset([], [])
    with pytest.raises(DataError, match=r"signal\.root: the file is given twice"):
        Dataset([good, good], [1, 0])
    (tmp_path / "copy.root").write_bytes(samples[0].path.read_bytes())
    with pytest.raises(DataError, match=r"copy\.root: the file holds the same data as .*signal\.root"):
        Dataset([good, str(tmp_path / "copy.root")], [1, 0])
    none = tree(tmp_path / "none.root", {"met": np.zeros(0)})
    with pytest.raises(DataError, match=r"none\.root: events has no events: leave the file out"):
        Dataset([good, none], [1, 0])


def test_branches_that_do_not_fit(samples: list[Sample], tmp_path: Path) -> None:
    good = str(samples[0])
    columns = {"met": jagged([[1.0], []]), "pt": np.zeros(2)}
    other = tree(tmp_path / "other.root", columns, {"met": "var * float32", "pt": "f8"})
    for names, message in [
        (["met"], r"other\.root: branch met is jagged, but flat in another file"),
        (["pt"], r"other\.root: branch pt is flat, but jagged in another file"),
        (["eta"], r"other\.root: no branch eta, which another file has"),
        (["nmet"], r"signal\.root: no branch nmet, which another file has"),
    ]:
        with pytest.raises(DataError, match=message):
            Dataset([good, other], [1, 0], DatasetParams(selected=names))


def test_nothing_left_and_one_class_left(samples: list[Sample], tmp_path: Path) -> None:
    cut = Selection.from_dict({"flat_cut": {"met": {"cut": "met<-1"}}})
    with pytest.raises(DataError, match=r"no event is left after the selection: 0 after 'met<-1'"):
        Dataset(paths(samples), [1, 0], PHYSICS, selection=cut)
    files = [tree(tmp_path / f"{low}.root", {"x": np.arange(low, low + 20.0)}) for low in (0, 100)]
    cut = Selection.from_dict({"flat_cut": {"x": {"cut": "x>50"}}})
    with pytest.raises(DataError, match="all events that are left have the label 7"):
        Dataset(files, [3, 7], selection=cut)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nevts": 0}, "nevts: 0 is given"),
        ({"chunk_size": 0}, "chunk_size: 0 is given"),
        ({"test": 1.0}, "test: 1.0 is given"),
        ({"validation": -0.1}, "validation: -0.1 is given"),
        ({"seed": -1}, "seed: -1 is given"),
    ],
)
def test_parameters_out_of_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        params(**changes)


def test_unknown_part(samples: list[Sample]) -> None:
    with Dataset(paths(samples), [1, 0], PHYSICS) as dataset, pytest.raises(ParameterError, match="'tests' is not"):
        dataset.chunks("tests")  # type: ignore[arg-type]


def test_files_are_closed_when_opening_fails(samples: list[Sample]) -> None:
    before = threading.active_count()
    with pytest.raises(MlaasError):
        Dataset(paths(samples), [1, 0], params(selected=["no_such_branch"]))
    assert threading.active_count() == before


def test_reading_ahead_ends_with_the_consumer(samples: list[Sample]) -> None:
    before = threading.active_count()
    with Dataset(paths(samples), [1, 0], params(chunk_size=20)) as dataset:
        for _ in dataset.chunks("train"):
            assert threading.active_count() <= before + 2
            break
        first, second = dataset.chunks("train"), dataset.chunks("test")
        assert len(next(first).y) > 0
        assert len(next(second).y) > 0
        first.close()  # type: ignore[attr-defined]
        second.close()  # type: ignore[attr-defined]
        chunks = dataset.chunks("train")
        next(chunks)
        with pytest.raises(ZeroDivisionError):
            chunks.throw(ZeroDivisionError)  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_reading_ahead_hands_on_items_and_errors_in_order() -> None:
    def items() -> Any:
        yield from range(5)
        raise DataError("broken")

    ahead = read_ahead(items())
    assert [next(ahead) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(DataError, match="broken"):
        next(ahead)
    assert list(read_ahead(range(100), depth=2)) == list(range(100))


def test_reading_ahead_is_bounded() -> None:
    produced = []

    def items() -> Any:
        for item in range(100):
            produced.append(item)
            yield item

    ahead = read_ahead(items())
    for _ in range(3):
        next(ahead)
    assert len(produced) <= 3 + 2
    ahead.close()  # type: ignore[attr-defined]


def test_a_file_that_breaks_while_reading_is_named(tmp_path: Path) -> None:
    files = [make_sample(tmp_path / name, 4000, seed) for seed, name in enumerate(["a.root", "b.root"])]
    before = threading.active_count()
    with Dataset(paths(files), [1, 0], params(chunk_size=500)) as dataset:
        with open(files[1].path, "r+b") as stream:
            stream.truncate(20_000)
        with pytest.raises(DataError, match=r"b\.root: branch \w+ is damaged"):
            list(dataset.chunks("train"))
    assert threading.active_count() == before


def test_a_file_with_small_baskets_and_one_with_a_large_basket(tmp_path: Path) -> None:
    one = make_sample(tmp_path / "one.root", 500, 1, step=7)
    two = Sample(tmp_path / "two.root", one.flat, one.jagged)
    write(two, step=500)
    with Dataset(paths([one, two]), [1, 0], params(test=0.0, validation=0.0, shuffle=False)) as dataset:
        for chunk in dataset.chunks("train"):
            half = len(chunk.y) // 2
            np.testing.assert_array_equal(chunk.x[:half], chunk.x[half:])


def test_features_of_one_value_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("label,x,y\n" + "".join(f"{event % 2},{event},7\n" for event in range(50)))
    with Dataset([str(tmp_path / "a.csv")], ["label"]) as dataset:
        assert dataset.notes == ["always of one value, from which nothing can be learned: y (7)"]
