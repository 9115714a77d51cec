"""How much events count, and which fold they are in."""

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from mlaas.dataset import PARTS, Chunk, Dataset, DatasetParams
from mlaas.dataset.split import Split
from mlaas.errors import DataError, ParameterError
from mlaas.selection import Selection
from tests.mlaas.test_specs import write_tree

TYPES = {"x": "f4", "w": "f4", "event": "uint64", "run": "int8"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("weights")
    paths = []
    for number, size in enumerate((800, 400)):
        rng = np.random.default_rng(number)
        columns = {
            "x": np.arange(size, dtype="f4") + 1000 * number,
            "w": np.where(rng.random(size) < 0.2, -1, 1).astype("f4") * (number + 1),
            "event": rng.permutation(size).astype("u8") + 2**63,
            "run": np.full(size, -3, "i1"),
        }
        paths.append(write_tree(folder / f"{number}.root", columns, TYPES))
    return paths


def dataset(files: list[str], **changes: Any) -> Dataset:
    selection = changes.pop("selection", None)
    params = DatasetParams(**{"normalisation": "none", "chunk_size": 100, "selected": ["x"], **changes})
    return Dataset(files, [0, 1], params, selection=selection)


def everything(data: Dataset, *parts: Any) -> Chunk:
    chunks = [chunk for part in parts or PARTS for chunk in data.chunks(part)]
    columns = [
        np.concatenate([getattr(one, name) for one in chunks])
        for name in ("x", "mask", "y", "weights")
        if chunks[0].weights is not None or name != "weights"
    ]
    return Chunk(*columns)


def test_without_weights_there_are_none(files: list[str]) -> None:
    with dataset(files) as data:
        assert data.weights.trivial
        assert everything(data).weights is None


def test_weights_from_a_branch_follow_their_events_and_may_be_negative(files: list[str]) -> None:
    with dataset(files, weight_branch="w") as data:
        assert data.columns == ["x"]
        found = everything(data)
    expected = {}
    for number, size in enumerate((800, 400)):
        signs = np.where(np.random.default_rng(number).random(size) < 0.2, -1, 1) * (number + 1)
        expected |= dict(zip(np.arange(size) + 1000 * number, signs, strict=True))
    assert found.weights is not None
    assert len(found.weights) == 1200
    assert (found.weights < 0).any()
    assert [expected[int(x)] for x in found.x[:, 0]] == found.weights.tolist()


def test_cross_sections_weight_the_whole_file_to_the_luminosity(files: list[str]) -> None:
    cut = Selection.from_dict({"flat_cut": {"x": {"cut": "x % 2 == 0"}}})
    with dataset(files, cross_sections=[3.0, 0.5], luminosity=100.0, selection=cut) as data:
        found = everything(data)
    assert found.weights is not None
    # Half of the events pass the cut, so half of the events that the luminosity gives are left.
    assert found.weights[found.y == 0].sum() == pytest.approx(150, rel=1e-5)
    assert found.weights[found.y == 1].sum() == pytest.approx(25, rel=1e-5)
    with dataset(files, cross_sections=[3.0, 0.5], luminosity=100.0, weight_branch="w") as data:
        found = everything(data)
    assert found.weights is not None
    assert found.weights[found.y == 0].sum() == pytest.approx(300, rel=1e-5)
    assert found.weights.min() < 0


def test_balanced_classes_count_the_same_in_training(files: list[str]) -> None:
    for changes in ({}, {"weight_branch": "w"}, {"weight_branch": "w", "cross_sections": [1, 9]}):
        with dataset(files, balance=True, **changes) as data:
            found = everything(data, "train")
        assert found.weights is not None
        sums = [found.weights[found.y == label].sum() for label in (0, 1)]
        assert sums == pytest.approx([len(found.y) / 2] * 2, rel=1e-4)


def test_a_weight_may_be_computed(files: list[str]) -> None:
    computed = Selection.from_dict({"define": {"twice": "2 * abs(w)"}})
    with dataset(files, weight_branch="twice", selection=computed) as data:
        found = everything(data)
        assert data.columns == ["x"]
    assert found.weights is not None
    np.testing.assert_array_equal(found.weights, 2 * (found.y + 1))


def test_folds_go_by_event_number_and_cover_all_events_once(files: list[str]) -> None:
    tested = []
    for fold in range(3):
        with dataset(files, event_number="event", folds=3, fold=fold) as data:
            tested.append(everything(data, "test").x[:, 0])
            assert not set(tested[-1]) & set(everything(data, "train", "validation").x[:, 0])
            assert sum(data.counts.values()) == 1200
            assert data.columns == ["x"]
    assert sorted(np.concatenate(tested)) == sorted([*range(800), *range(1000, 1400)])
    rng = np.random.default_rng(0)
    rng.random(800)
    numbers = rng.permutation(800).astype("u8") + 2**63
    assert sorted(tested[1][tested[1] < 1000]) == np.flatnonzero(numbers % 3 == 1).tolist()


def test_folds_of_narrow_numbers() -> None:
    numbers = np.array([0, 5, 64, 127], dtype=np.int8)
    for fold in range(200):
        parts = Split(0, 0.2, 0, "n", 200, fold).of("a.root", 0, 4, ak.Array({"n": numbers}))
        assert ((parts == PARTS.index("test")) == [int(number) % 200 == fold for number in numbers]).all()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"weight_branch": "weight"}, DataError, r"0\.root: no branch weight for the weight"),
        ({"weight_branch": "x"}, ParameterError, "selected_branches: x holds the label, the weight or the event"),
        ({"cross_sections": [1.0]}, ParameterError, "cross_sections: 1 are given for 2 files"),
        ({"cross_sections": [1.0, -1.0]}, ParameterError, "-1.0 is given; expected a number above 0"),
        ({"event_number": "x", "folds": 2}, DataError, "branch x is float32; the event number is an integer"),
        (
            {"event_number": "run", "folds": 2},
            DataError,
            r"0\.root: branch run holds -3; expected event numbers from 0 on",
        ),
        ({"event_number": "event", "folds": 1}, ParameterError, "folds: 1 is given"),
        ({"event_number": "event", "folds": 2, "fold": 2}, ParameterError, "fold: 2 is given; expected 0 to 1"),
        ({"folds": 2}, ParameterError, "folds: expected event_number"),
        ({"jagged_quantile": 0}, ParameterError, "jagged_quantile: 0 is given"),
    ],
)
def test_what_does_not_fit(files: list[str], changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        dataset(files, **changes)


def test_weights_that_add_up_to_nothing_and_that_are_not_finite(tmp_path: Path) -> None:
    columns = {"x": np.arange(40.0), "y": np.arange(40) % 2, "none": np.resize([1.0, -1.0], 40)}
    columns["lost"] = np.where(columns["x"] == 7, np.nan, 1.0)
    path = write_tree(tmp_path / "a.root", columns, {"x": "f8", "y": "i4", "none": "f8", "lost": "f8"})
    with pytest.raises(DataError, match=r"a\.root: the weights add up to 0; expected more than 0"):
        Dataset([path], ["y"], DatasetParams(selected=["x"], weight_branch="none", cross_sections=[1]))
    with pytest.raises(DataError, match=r"label 1: the weights add up to -\d+"):
        Dataset([path], ["y"], DatasetParams(selected=["x"], weight_branch="none", balance=True))
    with pytest.raises(DataError, match=r"a\.root: branch lost has the weight nan"):
        Dataset([path], ["y"], DatasetParams(selected=["x"], weight_branch="lost"))
