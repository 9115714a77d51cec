"""Matrices equal those that a loop over the numbers makes."""

from collections.abc import Sequence
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlaas.assembly import Assembler
from mlaas.errors import ParameterError
from mlaas.features import Feature, choose, columns
from mlaas.normalisation import Scaling
from mlaas.readers import Branch, open_reader
from tests.mlaas.samples import expected_raw, make_sample

FEATURES = [Feature("met", "flat"), Feature("pt", "jagged", 3), Feature("eta", "jagged", 3), Feature("n", "flat")]
EVENTS = {
    "met": ak.Array([10.0, np.nan, np.inf]),
    "pt": ak.Array([[1.0, 2.0, 3.0, 4.0], [], [5.0]]),
    "eta": ak.Array([[-1.0, np.nan, -3.0, -4.0], [], [-np.inf]]),
    "n": ak.Array([4, 0, 1]),
}
NAN = np.nan


def between(low: float, high: float) -> Scaling:
    """What takes ``low`` to 0 and ``high`` to 1."""
    return Scaling(low, 1 / (high - low))


def plain(features: Sequence[Feature]) -> Assembler:
    """One that does not scale."""
    return Assembler(features, [Scaling(0, 1)] * len(features))


def test_columns_are_named_by_branch_and_position() -> None:
    assert columns(FEATURES) == ["met", "pt[0]", "pt[1]", "pt[2]", "eta[0]", "eta[1]", "eta[2]", "n"]


def test_raw_pads_truncates_and_marks_what_is_missing() -> None:
    raw = plain(FEATURES).raw(EVENTS)
    assert raw.dtype == np.float32
    np.testing.assert_array_equal(
        raw,
        [[10, 1, 2, 3, -1, NAN, -3, 4], [NAN, NAN, NAN, NAN, NAN, NAN, NAN, 0], [NAN, 5, NAN, NAN, NAN, NAN, NAN, 1]],
    )


def test_normalise_scales_to_one_and_fills() -> None:
    assembler = Assembler(FEATURES, [between(0, 20), between(1, 5), between(-3, -1), between(0, 4)], fill=-1.0)
    raw = assembler.raw(EVENTS)
    x, mask = assembler.normalise(raw)
    np.testing.assert_array_equal(mask, ~np.isnan(raw))
    np.testing.assert_array_equal(
        x, [[0.5, 0, 0.25, 0.5, 1, -1, 0, 1], [-1] * 7 + [0], [-1, 1, -1, -1, -1, -1, -1, 0.25]]
    )
    assert (x.dtype, mask.dtype) == (np.float32, np.bool_)
    in_place, _ = assembler.normalise(raw, out=raw)
    assert in_place is raw
    np.testing.assert_array_equal(raw, x)


def test_normalise_is_subtract_then_multiply_in_float32() -> None:
    rng = np.random.default_rng(5)
    assembler = Assembler([Feature("a", "flat"), Feature("b", "jagged", 2)], [between(-3.3, 1e5), between(1e-3, 7.7)])
    raw = rng.normal(0, 100, (5000, 3)).astype(np.float32)
    x, _ = assembler.normalise(raw)
    assert assembler.shift.dtype == assembler.scale.dtype == np.float32
    assert assembler.shift.shape == assembler.scale.shape == (3,)
    np.testing.assert_array_equal(x, (raw - assembler.shift) * assembler.scale)


def test_branches_with_equal_and_with_other_offsets_do_not_mix() -> None:
    rng = np.random.default_rng(2)
    counts = rng.integers(0, 4, 100)
    values = np.arange(counts.sum(), dtype="f4")
    events = {
        "a": ak.unflatten(values, counts),
        "b": ak.unflatten(-values, counts),
        "c": ak.unflatten(values, counts[::-1]),
        "d": ak.unflatten(np.concatenate([[7.0], values]), np.concatenate([[1], counts]))[1:],
    }
    features = [Feature(name, "jagged", dimension) for name, dimension in zip("abcd", (3, 2, 3, 4), strict=True)]
    raw = plain(features).raw(events)
    column = 0
    for feature in features:
        for row, objects in enumerate(events[feature.name].to_list()):
            padded = (objects + [NAN] * 4)[: feature.dimension]
            np.testing.assert_array_equal(raw[row, column : column + feature.dimension], padded)
        column += feature.dimension


@given(
    st.lists(st.lists(st.floats(width=32), max_size=5), max_size=20),
    st.integers(1, 4),
    st.floats(-1e6, 1e6, width=32),
)
@settings(max_examples=150, deadline=None)
def test_any_lists(lists: list[list[float]], dimension: int, fill: float) -> None:
    array = ak.values_astype(ak.Array([[], *lists])[1:], np.float32)
    assembler = Assembler([Feature("v", "jagged", dimension)], [between(-10, 10)], fill)
    raw = assembler.raw({"v": array})
    x, mask = assembler.normalise(raw)
    for row, objects in enumerate(lists):
        for position in range(dimension):
            there = position < len(objects) and np.isfinite(objects[position])
            assert mask[row, position] == there
            if there:
                assert raw[row, position] == np.float32(objects[position])
            else:
                assert np.isnan(raw[row, position])
                assert x[row, position] == np.float32(fill)
    assert raw.shape == (len(lists), dimension)


def test_all_types_of_a_file(tmp_path: Path) -> None:
    sample = make_sample(tmp_path / "all.root", 150)
    features = [Feature(name, "flat") for name in sample.flat] + [Feature(name, "jagged", 2) for name in sample.jagged]
    with open_reader(str(sample)) as reader:
        raw = plain(features).raw(reader.read([feature.name for feature in features], 0, 150))
    np.testing.assert_array_equal(raw, expected_raw(sample, features).astype(np.float32))


BRANCHES = {name: Branch(name, "flat", "float32") for name in ("Jet_pt", "MCpt", "met", "MCeta", "Jet_eta")}


@pytest.mark.parametrize(
    ("selected", "excluded", "names"),
    [
        ([], [], ["Jet_pt", "MCpt", "met", "MCeta", "Jet_eta"]),
        (["met", "Jet_*"], [], ["Jet_pt", "met", "Jet_eta"]),
        ([], ["MC*", "name"], ["Jet_pt", "met", "Jet_eta"]),
        (["Jet_*"], ["*_eta"], ["Jet_pt"]),
    ],
)
def test_choose_keeps_the_order_of_the_file(selected: list[str], excluded: list[str], names: list[str]) -> None:
    assert choose(BRANCHES, selected, excluded, {"name": "it holds strings"}) == names


@pytest.mark.parametrize(
    ("selected", "excluded", "message"),
    [
        (["Met"], [], "selected_branches: no branch matches 'Met'; did you mean met"),
        (["jet_*"], [], r"selected_branches: no branch matches 'jet_\*'"),
        ([], ["Muon*"], r"exclude_branches: no branch matches 'Muon\*'"),
        (["name"], [], "name cannot be a feature: it holds strings"),
        ([], ["*"], "no branch is left"),
    ],
)
def test_names_that_match_nothing(selected: list[str], excluded: list[str], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        choose(BRANCHES, selected, excluded, {"name": "it holds strings"})
