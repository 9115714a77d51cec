"""The ranking of features by permutation finds what a model uses, and nothing else."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mlaas.features import Feature
from mlaas.report import permutation_ranking

FEATURES = [Feature("idle", "flat"), Feature("jet", "jagged", 3), Feature("met", "flat")]
Floats = NDArray[np.float32]


def events(count: int = 3_000) -> tuple[Floats, NDArray[np.int64]]:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, count)
    x = rng.normal(size=(count, 5)).astype("f4")
    x[:, 1:4] += 0.8 * truth[:, None]
    x[:, 4] += 0.6 * truth
    return x, truth


def score(x: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-(x[:, 1:4].sum(axis=1, keepdims=True) + 0.5 * x[:, 4:])))


def test_all_columns_of_a_feature_are_permuted_together() -> None:
    x, truth = events()
    before = x.copy()
    found = permutation_ranking(score, x, truth, None, FEATURES, classifies=True, repeats=4)
    assert found is not None
    assert (x == before).all()
    assert [one.feature for one in found] == ["jet", "met", "idle"]
    assert found[0].loss > 0.2 > found[1].loss > 0.005
    assert (found[2].loss, found[2].deviation) == (0.0, 0.0)
    # Objects of an event stay together: a model of the difference of two of them loses nothing on the sum of the rest.
    seen: list[Floats] = []

    def remember(block: Floats) -> Floats:
        seen.append(block.copy())
        return score(block)

    permutation_ranking(remember, x, truth, None, FEATURES, classifies=True, repeats=1)
    permuted = seen[2]
    assert (permuted[:, [0, 4]] == x[:, [0, 4]]).all()
    assert not (permuted[:, 1:4] == x[:, 1:4]).all()
    assert sorted(map(tuple, permuted[:, 1:4])) == sorted(map(tuple, x[:, 1:4]))


def test_the_same_seed_ranks_the_same_way_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x, truth = events()
    weights = np.random.default_rng(2).uniform(-0.2, 1.0, len(x))
    arguments = (score, x, truth, weights, FEATURES)
    first = permutation_ranking(*arguments, classifies=True, seed=3, most_events=500)
    monkeypatch.setattr("mlaas.report.ranking.BLOCK_BYTES", 100 * 20)
    sizes: list[int] = []

    def counted(block: Floats) -> Floats:
        sizes.append(len(block))
        return score(block)

    assert permutation_ranking(counted, *arguments[1:], classifies=True, seed=3, most_events=500) == first
    assert set(sizes) == {100}
    assert permutation_ranking(*arguments, classifies=True, seed=4, most_events=500) != first


def test_a_quantity_is_ranked_by_the_rise_of_its_squared_error() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(5_000, 5)).astype("f4")
    truth = (3.0 * x[:, 4]).astype(float)
    found = permutation_ranking(lambda x: 3.0 * x[:, 4:], x, truth, None, FEATURES, classifies=False, repeats=1)
    assert found is not None
    # Twice the variance of the part that the feature tells.
    assert (found[0].feature, found[0].deviation) == ("met", None)
    assert found[0].loss == pytest.approx(18.0, rel=0.05)
    assert [one.loss for one in found[1:]] == [0.0, 0.0]


def test_events_that_determine_nothing_are_not_ranked() -> None:
    x, truth = events(50)
    ones = np.ones_like(truth)
    assert permutation_ranking(score, x, ones, None, FEATURES, classifies=True) is None
    assert permutation_ranking(score, x[:0], truth[:0], None, FEATURES, classifies=True) is None
    negative = -np.ones(50)
    assert permutation_ranking(score, x, truth * 1.0, negative, FEATURES, classifies=False) is None
    with pytest.raises(ValueError, match="6 columns: expected"):
        permutation_ranking(score, x, truth, None, [*FEATURES, Feature("a", "flat")], classifies=True)
