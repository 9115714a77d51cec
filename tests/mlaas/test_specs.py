"""The first pass sees what a loop over all values sees, and stale specs are refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from mlaas.blocks import block_ranges
from mlaas.branchspecs import BranchSpecs
from mlaas.errors import SpecsError
from mlaas.readers import Branch, open_reader
from mlaas.sample import Column, EventSample, event_priorities, take
from mlaas.selection import Selection
from mlaas.specs import Specs, compute_specs
from tests.mlaas.samples import jagged, make_sample


def write_tree(path: Path, columns: dict[str, Any], types: dict[str, str]) -> str:
    with uproot.recreate(path) as file:
        file.mktree("events", types)
        file["events"].extend(columns)
    return str(path)


def specs_of(paths: list[str], selection: Selection | None = None, limits: list[int] | None = None) -> Specs:
    readers = [open_reader(path) for path in paths]
    selection = selection or Selection()
    specs = compute_specs(readers, selection.branches(readers[0].branches), selection, limits)
    for reader in readers:
        reader.close()
    return specs


def test_extremes_and_dimension_over_several_files(tmp_path: Path) -> None:
    samples = [make_sample(tmp_path / f"{seed}.root", 200, seed) for seed in (1, 2)]
    specs = specs_of([str(sample) for sample in samples])
    assert specs.entries == 400
    for name in samples[0].flat:
        values = np.concatenate([sample.flat[name] for sample in samples])
        found = specs.branches[name]
        assert (found.minimum, found.maximum) == (float(values.min()), float(values.max()))
        assert (found.kind, found.dtype, found.dimension) == ("flat", values.dtype.name, 1)
        assert (found.values, found.not_finite) == (400, 0)
    for name in samples[0].jagged:
        lists = [one for sample in samples for one in sample.jagged[name]]
        values = np.concatenate(lists)
        found = specs.branches[name]
        assert (found.minimum, found.maximum) == (float(values.min()), float(values.max()))
        assert (found.kind, found.dimension, found.values) == ("jagged", max(map(len, lists)), len(values))


def test_values_that_float32_cannot_hold_are_counted_and_left_out(tmp_path: Path) -> None:
    values = np.array([1.0, np.nan, -np.inf, 1e300, 5.0])
    path = write_tree(tmp_path / "a.root", {"x": values, "v": jagged([[np.nan], [], [2.0, np.inf], [], [3.0]])},
                      {"x": "f8", "v": "var * float32"})  # fmt: skip
    specs = specs_of([path])
    x, v = specs.branches["x"], specs.branches["v"]
    assert (x.minimum, x.maximum, x.values, x.not_finite) == (1.0, 5.0, 5, 3)
    assert (v.minimum, v.maximum, v.values, v.not_finite, v.dimension) == (2.0, 3.0, 4, 2, 2)


def test_only_kept_events_count(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "a.root", {"x": np.arange(4.0), "v": jagged([[9, 9, 9], [1], [], [5, 6]])},
                      {"x": "f8", "v": "var * float32"})  # fmt: skip
    specs = specs_of([path], Selection.from_dict({"flat_cut": {"x": {"cut": "x>0"}}}))
    v = specs.branches["v"]
    assert (specs.entries, v.minimum, v.maximum, v.dimension, v.values) == (3, 1.0, 6.0, 2, 3)
    assert specs.branches["x"].minimum == 1.0


def test_new_branches_have_specs_and_limits_hold(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "a.root", {"x": np.arange(10.0)}, {"x": "f8"})
    selection = Selection.from_dict({"new_branch": {"y": {"def": "x**2", "type": "flat", "keys_to_remove": ["x"]}}})
    specs = specs_of([path], selection, [5])
    assert list(specs.branches) == ["y"]
    assert (specs.branches["y"].maximum, specs.entries) == (16.0, 5)


def test_empty_branches_are_dropped_and_constant_ones_are_kept(tmp_path: Path) -> None:
    columns = {"nothing": jagged([[], [], []]), "lost": np.full(3, np.nan), "same": np.full(3, 7.0)}
    path = write_tree(tmp_path / "a.root", columns, {"nothing": "var * float32", "lost": "f8", "same": "f8"})
    specs = specs_of([path])
    assert specs.dropped == {
        "nothing": "it is empty in every event",
        "lost": "it has no finite value in any event",
    }
    assert [feature.name for feature in specs.features if not feature.name.startswith("n")] == ["same"]


def test_merging_equals_one_pass() -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 5, 100)
    numbers = rng.normal(3, 1e-3, size=counts.sum())
    numbers[4] = np.nan
    cut = counts[:30].sum()
    whole, first, second = (BranchSpecs("jagged", "float64") for _ in range(3))
    whole.add(Column(counts, numbers))
    first.add(Column(counts[:30], numbers[:cut]))
    second.add(Column(counts[30:], numbers[cut:]))
    first.merge(second)
    assert first.mean == pytest.approx(np.nanmean(numbers), rel=1e-12)
    assert first.deviation == pytest.approx(np.nanstd(numbers), rel=1e-9)
    first.mean, first.variance = whole.mean, whole.variance
    assert first == whole


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Specs, Path]:
    specs = specs_of([str(make_sample(tmp_path / "a.root", 100))])
    specs.save(tmp_path / "specs.json")
    return specs, tmp_path / "specs.json"


def test_what_is_saved_is_loaded(saved: tuple[Specs, Path]) -> None:
    specs, path = saved
    assert Specs.load(path) == specs
    assert [one.name for one in path.parent.iterdir() if "part" in one.name] == []
    Specs.load(path).require(specs.identity)


@pytest.mark.parametrize(
    ("what", "value", "message"),
    [
        ("tree", ["other"], r"tree \(events instead of other\)"),
        ("nevts", 7, r"nevts \(100 instead of 7\)"),
        ("selection", "abc", r"selection \(other new branches or cuts\)"),
        ("branches", ["met (flat)", "extra (flat)"], r"branches \(.* instead of extra"),
        ("files", [{"file": "b.root", "identity": "x", "events": 100}], r"files \(a\.root instead of b\.root\)"),
    ],
)
def test_stale_specs_say_what_differs(saved: tuple[Specs, Path], what: str, value: Any, message: str) -> None:
    specs, _ = saved
    with pytest.raises(SpecsError, match=message):
        specs.require({**specs.identity, what: value})


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"format": 2}', '{"format": 2, "branches": {"x": {"kind": 1, "new": 2}}}']
)
def test_damaged_specs_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "specs.json"
    path.write_text(content)
    with pytest.raises(SpecsError, match=r"specs\.json: not specs"):
        Specs.load(path)


def test_specs_of_another_format_and_missing_ones(saved: tuple[Specs, Path]) -> None:
    _, path = saved
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(SpecsError, match="format 99; expected 2"):
        Specs.load(path)
    with pytest.raises(SpecsError, match=r"none\.json: No such file"):
        Specs.load(path.with_name("none.json"))
    with pytest.raises(SpecsError, match="cannot be written"):
        Specs.empty({"x": Branch("x", "flat", "int32")}, {}).save(path.parent / "no" / "specs.json")


def test_moments_quantiles_and_multiplicity(tmp_path: Path) -> None:
    sample = make_sample(tmp_path / "a.root", 300)
    specs = specs_of([str(sample)])
    assert specs.sampled == specs.entries == 300
    values = np.concatenate(sample.jagged["pt"]).astype(np.float64)
    found = specs.branches["pt"]
    assert found.mean == pytest.approx(values.mean(), rel=1e-12)
    assert found.deviation == pytest.approx(values.std(), rel=1e-9)
    for level, value in found.quantiles.items():
        assert value == pytest.approx(np.quantile(values, float(level)), rel=1e-12)
    assert found.multiplicity == np.bincount([len(one) for one in sample.jagged["pt"]]).tolist()
    assert specs.branches["met"].multiplicity == []


def test_missing_values_are_told_apart_from_infinite_ones(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "a.root", {"x": np.array([1.0, np.nan, np.inf, np.nan])}, {"x": "f8"})
    found = specs_of([path]).branches["x"]
    assert (found.values, found.not_finite, found.missing) == (4, 3, 2)


def test_dimension_for_a_fraction_of_the_events_and_what_it_leaves_out() -> None:
    specs = BranchSpecs("jagged", "float32")
    specs.add(Column(np.array([0, 1, 1, 2, 2, 2, 3, 3, 4, 9]), np.zeros(27)))
    assert [specs.dimension_for(fraction) for fraction in (1, 0.9, 0.8, 0.3, 0.31, 0.01)] == [9, 4, 3, 1, 2, 1]
    assert specs.truncated(3) == (2, 1 + 6)
    assert specs.truncated(9) == (0, 0)


def test_the_sample_does_not_depend_on_how_the_events_come() -> None:
    rng = np.random.default_rng(3)
    counts = rng.integers(0, 4, 5000)
    column = Column(counts, rng.normal(size=counts.sum()))
    priorities = event_priorities("file", 0, 5000)

    def sampled(cuts: list[int]) -> Column:
        samples = []
        for start, stop in zip([0, *cuts], [*cuts, 5000], strict=True):
            samples.append(EventSample(200))
            samples[-1].add(priorities[start:stop], take({"v": column}, np.arange(start, stop)))
        for other in reversed(samples[1:]):
            samples[0].merge(other)
        return samples[0].columns()["v"]

    expected = take({"v": column}, np.sort(np.argsort(priorities)[:200]))["v"]
    for cuts in ([], [4999], [100, 150, 3000], list(range(50, 5000, 50))):
        found = sampled(cuts)
        assert sorted(found.numbers) == sorted(expected.numbers)
        assert sorted(found.counts) == sorted(expected.counts)


def test_quantiles_of_many_events_are_those_of_a_sample(tmp_path: Path) -> None:
    values = np.random.default_rng(4).normal(size=30_000)
    path = write_tree(tmp_path / "a.root", {"x": values}, {"x": "f8"})
    specs = specs_of([path])
    assert (specs.entries, specs.sampled) == (30_000, 10_000)
    rank = (values < specs.branches["x"].quantiles["0.5"]).mean()
    assert rank == pytest.approx(0.5, abs=0.02)  # four standard deviations; the sample is always the same
    assert specs_of([path]) == specs


def test_blocks_of_wide_events_are_larger_within_bounds() -> None:
    class Wide:
        def __init__(self, size: int) -> None:
            self.size = size

        def blocks(self, names: list[str], stop: int, max_bytes: int) -> list[tuple[int, int]]:
            step = max_bytes // self.size
            return [(start, min(start + step, stop)) for start in range(0, stop, step)]

    def events(size: int) -> int:
        (first, *_) = block_ranges(Wide(size), ["x"], 100_000, 1_000_000)  # type: ignore[arg-type]
        return first[1]

    assert [events(size) for size in (10, 250, 400, 500, 1000, 5000)] == [100_000, 4000, 5000, 4000, 4000, 800]
