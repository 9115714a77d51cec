"""Scaling of a branch from its specs, and how it is chosen."""

from pathlib import Path

import numpy as np
import pytest

from mlaas.assembly import Assembler
from mlaas.branchspecs import BranchSpecs
from mlaas.dataset import PARTS, Dataset, DatasetParams
from mlaas.errors import ParameterError
from mlaas.features import Feature
from mlaas.normalisation import checked, scalings
from mlaas.sample import Column
from tests.mlaas.samples import jagged, make_sample
from tests.mlaas.test_specs import write_tree


def specs_of(values: np.ndarray) -> BranchSpecs:
    specs = BranchSpecs("flat", values.dtype.name)
    specs.add(Column(None, values))
    specs.describe(Column(None, values))
    return specs


def normalised(values: np.ndarray, scheme: str) -> tuple[np.ndarray, np.ndarray]:
    scaling = scalings({"a": specs_of(values)}, {"*": scheme})
    x, mask = Assembler([Feature("a", "flat")], scaling, fill=-7).normalise(values.astype(np.float32).reshape(-1, 1))
    return x[:, 0], mask[:, 0]


@pytest.mark.parametrize(("low", "high"), [(5, 5), (0, 0), (1e30, 1e30), (1, 1 + 1e-12), (0, 1e-45), (-3e38, 3e38)])
@pytest.mark.parametrize("scheme", ["minmax", "zscore", "robust", "none"])
def test_constant_and_extreme_features_stay_finite(low: float, high: float, scheme: str) -> None:
    x, mask = normalised(np.array([low, (low + high) / 2, high]), scheme)
    assert mask.all()
    assert np.isfinite(x).all()
    assert scheme != "minmax" or (np.abs(x) <= 1).all()


def test_schemes_are_what_numpy_computes() -> None:
    values = np.random.default_rng(1).exponential(30, 4001)
    x, _ = normalised(values, "minmax")
    assert (x.min(), x.max()) == (0, 1)
    x, _ = normalised(values, "zscore")
    np.testing.assert_allclose(x, (values - values.mean()) / values.std(), rtol=1e-4, atol=1e-6)
    x, _ = normalised(values, "robust")
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(x, (values - median) / (high - low), rtol=1e-4, atol=1e-6)
    x, _ = normalised(values, "none")
    np.testing.assert_array_equal(x, values.astype(np.float32))


def test_robust_falls_back_to_the_deviation_where_half_of_the_values_are_equal() -> None:
    values = np.array([0.0] * 99 + [5.0])
    x, _ = normalised(values, "robust")
    assert x[-1] == pytest.approx(5 / values.std(), rel=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("scheme", ["minmax", "zscore", "robust", "none"])
def test_what_is_not_finite_changes_no_other_value(bad: float, scheme: str) -> None:
    values = np.random.default_rng(2).normal(5, 3, 1000)
    expected, _ = normalised(values, scheme)
    with np.errstate(over="ignore"):
        x, mask = normalised(np.append(values, bad), scheme)
    assert (x[-1], mask[-1]) == (-7, False)
    assert mask[:-1].all()
    np.testing.assert_array_equal(x[:-1], expected)


def test_a_name_comes_before_a_pattern_and_min_max_is_the_default() -> None:
    specs = specs_of(np.array([2.0, 4.0]))
    chosen = checked({"Jet_*": "none", "Jet_pt": "zscore"})
    pt, eta, met = scalings({"Jet_pt": specs, "Jet_eta": specs, "met": specs}, chosen)
    assert (pt, eta, met) == ((3, 1), (0, 1), (2, 0.5))


@pytest.mark.parametrize(
    ("normalisation", "message"),
    [
        ("zscor", r"normalisation: 'zscor' is given for \*; did you mean zscore"),
        ({"met": "max"}, "'max' is given for met.*expected one of minmax, zscore, robust, none"),
        ({"Met": "none"}, "no feature matches 'Met'; did you mean met"),
    ],
)
def test_schemes_and_names_that_are_not_there(
    normalisation: str | dict[str, str], message: str, tmp_path: Path
) -> None:
    sample = make_sample(tmp_path / "a.root", 50)
    with pytest.raises(ParameterError, match=message):
        Dataset([str(sample)], ["i_bool"], DatasetParams(selected=["met"], normalisation=normalisation))


def test_chunks_are_normalised_as_asked(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    lists = [rng.normal(100, 5, size) for size in rng.integers(0, 4, 500)]
    lists[7] = np.array([np.nan, 100.0, np.inf])
    path = write_tree(
        tmp_path / "a.root", {"y": np.arange(500) % 2, "v": jagged(lists)}, {"y": "i4", "v": "var * float32"}
    )
    params = DatasetParams(selected=["v"], normalisation="zscore", fill=-9, chunk_size=100)
    with Dataset([path], ["y"], params) as dataset:
        chunks = [chunk for part in PARTS for chunk in dataset.chunks(part)]
    x, mask = np.concatenate([one.x for one in chunks]), np.concatenate([one.mask for one in chunks])
    assert mask.sum() == sum(map(len, lists)) - 2
    assert (x[~mask] == -9).all()
    assert abs(x[mask].mean()) < 1e-3
    assert x[mask].std() == pytest.approx(1, abs=1e-3)
