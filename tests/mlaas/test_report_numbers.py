"""The numbers of a report are those of scikit-learn, scipy, closed forms and plain sums over pairs of events."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kstwobign, norm
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    confusion_matrix,
    mean_absolute_error,
    mean_squared_error,
    r2_score,
    roc_auc_score,
)

from mlaas.metrics import Undefined, auc, roc
from mlaas.report.calibration import calibration
from mlaas.report.classification import classification, separation
from mlaas.report.distribution import edges, histogram, kolmogorov, kolmogorov_smirnov
from mlaas.report.regression import regression, residual_distribution
from mlaas.report.rejection import curve_points, working_points
from mlaas.report.run import Scores

Doubles = NDArray[np.float64]


def gaussians(events: int, seed: int, distance: float = 1.5) -> tuple[NDArray[np.int64], Doubles]:
    """Classes (events,) and scores (events,) of two normal distributions that are ``distance`` apart."""
    rng = np.random.default_rng(seed)
    truth = np.arange(events) % 2
    return truth, rng.normal(size=events) + distance * truth


def signed_weights(events: int, seed: int) -> Doubles:
    """Of which a fifth is negative, as those of a generator at next-to-leading order."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.5, 1.5, events) * np.where(rng.random(events) < 0.2, -1.0, 1.0)


def area_by_pairs(truth: NDArray[np.int64], scores: Doubles, weights: Doubles) -> float:
    signal, background = truth == 1, truth == 0
    difference = scores[signal][:, None] - scores[background][None, :]
    wins = (difference > 0) + 0.5 * (difference == 0)
    pairs = weights[signal][:, None] * weights[background][None, :]
    return float((wins * pairs).sum() / pairs.sum())


def variance_of_delong(truth: NDArray[np.int64], scores: Doubles) -> float:
    """As in the paper: the variances of the structural components."""
    difference = scores[truth == 1][:, None] - scores[truth == 0][None, :]
    wins = (difference > 0) + 0.5 * (difference == 0)
    return float(wins.mean(1).var(ddof=1) / len(wins) + wins.mean(0).var(ddof=1) / wins.shape[1])


def test_the_area_is_that_of_scikit_learn() -> None:
    truth, scores = gaussians(2_001, 1)
    for outputs in (scores, np.round(scores), np.round(scores, 1)):
        expected = roc_auc_score(truth, outputs.astype("f4"))
        assert auc(truth, outputs[:, None].astype("f4")) == pytest.approx(expected, abs=1e-12)
        both = np.stack([-outputs, outputs], axis=1).astype("f4")
        assert auc(truth, both) == pytest.approx(expected, abs=1e-12)


def test_the_area_of_several_classes_is_the_mean_of_each_against_the_rest() -> None:
    rng = np.random.default_rng(2)
    truth, outputs = rng.integers(0, 4, 500), rng.random((500, 4), "f4")
    outputs[np.arange(500), truth] += 0.3
    outputs /= outputs.sum(axis=1, keepdims=True)
    weights = rng.uniform(0.5, 2.0, 500)
    areas = [roc_auc_score(truth == index, outputs[:, index], sample_weight=weights) for index in range(4)]
    assert auc(truth, outputs, weights) == pytest.approx(np.mean(areas), abs=1e-12)
    found = classification(Scores(truth, outputs, weights), "abcd")
    assert found["auc"]["value"] == pytest.approx(np.mean(areas), abs=1e-12)
    assert [one["auc"]["value"] for one in found["classes"]] == pytest.approx(areas, abs=1e-12)
    # Areas of the same events are correlated: less than the worst of them, more than independent ones.
    each = np.array([one["auc"]["uncertainty"] for one in found["classes"]])
    assert np.sqrt(np.sum(each**2)) / 4 * 0.8 < found["auc"]["uncertainty"] < each.max()


def test_a_weight_is_so_many_events() -> None:
    truth, scores = gaussians(400, 3)
    scores = np.round(scores, 1)
    weights = np.random.default_rng(3).integers(1, 5, 400)
    repeated = np.repeat(truth, weights), np.repeat(scores, weights)[:, None].astype("f4")
    outputs = scores[:, None].astype("f4")
    assert auc(truth, outputs, weights.astype(float)) == pytest.approx(auc(*repeated), abs=1e-12)
    weighted = classification(Scores(truth, outputs, weights.astype(float)), "ab")
    counted = classification(Scores(*repeated), "ab")
    for one, other in zip(
        weighted["classes"][0]["working_points"], counted["classes"][0]["working_points"], strict=True
    ):
        assert one["threshold"] == other["threshold"]
        assert one["rejection"]["value"] == pytest.approx(other["rejection"]["value"])
    # But fewer of them are independent.
    assert weighted["auc"]["uncertainty"] > counted["auc"]["uncertainty"]
    assert weighted["confusion"]["sums_of_weights"] == counted["confusion"]["sums_of_weights"]


def test_negative_weights_are_taken_as_they_are() -> None:
    truth, scores = gaussians(600, 4)
    weights = signed_weights(600, 4)
    outputs = np.round(scores, 1)[:, None].astype("f4")
    assert auc(truth, outputs, weights) == pytest.approx(area_by_pairs(truth, outputs[:, 0], weights), abs=1e-12)


@pytest.mark.parametrize(
    ("classes", "weights", "reason"),
    [
        ([1, 1, 1], None, "there is no background event"),
        ([0, 0, 0], None, "there is no signal event"),
        ([], None, "there is no signal event"),
        ([1, 0, 1], [1.0, -1.0, 1.0], "the weights of the background add up to -1, not to more than 0"),
        ([1, 0, 1], [1.0, 1.0, -1.0], "the weights of the signal add up to 0, not to more than 0"),
    ],
)
def test_an_area_that_is_not_determined_says_why(classes: list[int], weights: list[float] | None, reason: str) -> None:
    truth, outputs = np.array(classes, dtype=np.int64), np.linspace(0, 1, len(classes), dtype="f4")[:, None]
    counted = None if weights is None else np.array(weights)
    assert auc(truth, outputs, counted) is None
    with pytest.raises(Undefined, match=reason):
        roc(truth == 1, outputs[:, 0], counted)


def test_constant_scores_separate_nothing() -> None:
    truth = np.arange(100) % 2
    found = classification(Scores(truth, np.full((100, 1), 0.3, "f4")), "ab")
    assert found["auc"] == {"value": 0.5, "uncertainty": 0.0}
    (one,) = found["classes"]
    assert {point["rejection"]["value"] for point in one["working_points"]} == {1.0}
    assert found["accuracy"]["value"] == 0.5
    (filled,) = one["calibration"]["bins"]
    assert (filled["predicted"], filled["observed"]) == (pytest.approx(0.3), 0.5)


def test_the_uncertainty_of_the_area_is_that_of_delong() -> None:
    for decimals in (6, 1, 0):
        truth, scores = gaussians(301, 5)
        scores = np.round(scores, decimals)
        found = classification(Scores(truth, scores[:, None].astype("f4")), "ab")["auc"]
        assert found["uncertainty"] ** 2 == pytest.approx(variance_of_delong(truth, scores), rel=1e-6)


@pytest.mark.parametrize("signed", [False, True])
def test_uncertainties_are_the_spread_of_repeated_experiments(signed: bool) -> None:
    distance, events = 1.5, 1_000
    expected = {"auc": norm.cdf(distance / np.sqrt(2.0))}
    for wanted in (0.5, 0.8):
        expected[str(wanted)] = 1.0 / norm.sf(norm.isf(wanted) + distance)
    pulls: dict[str, list[float]] = {key: [] for key in expected}
    for seed in range(300):
        truth, scores = gaussians(events, 100 + seed, distance)
        weights = signed_weights(events, seed) if signed else None
        found = classification(Scores(truth, scores[:, None].astype("f4"), weights), "ab")
        points = {str(point["wanted"]): point["rejection"] for point in found["classes"][0]["working_points"]}
        for key, estimate in {"auc": found["auc"], **points}.items():
            if key in pulls:
                # Of the background efficiency, which is distributed more evenly than one over it.
                value, deviation = estimate["value"], estimate["uncertainty"]
                bent = key != "auc"
                difference = (1 / value - 1 / expected[key]) * value**2 if bent else value - expected[key]
                pulls[key].append(difference / deviation)
    for key, values in pulls.items():
        assert abs(np.mean(values)) < 0.25, key
        assert 0.8 < np.std(values) < 1.25, key


def test_a_rejection_without_background_is_a_limit() -> None:
    truth = np.repeat([0, 1], 300)
    outputs = np.concatenate([np.linspace(0.0, 0.4, 300), np.linspace(0.5, 1.0, 300)])[:, None].astype("f4")
    points = working_points(roc(truth == 1, outputs[:, 0]))
    assert [point["at_least"] for point in points] == [100.0] * 5
    assert points[0]["rejection"] == {"value": None, "uncertainty": None, "reason": "none passes"}
    scores = np.concatenate([np.full(297, 0.1), np.full(3, 0.95), np.linspace(0.0, 1.0, 300)]).astype("f4")
    negative = working_points(roc(truth == 1, scores, np.where(scores == np.float32(0.95), -1.0, 1.0)))
    assert negative[0]["at_least"] is None
    assert "do not add up to more than 0" in negative[0]["rejection"]["reason"]


def test_the_curve_in_the_json_has_the_area_of_the_whole() -> None:
    truth, scores = gaussians(50_000, 6)
    curve = roc(truth == 1, scores.astype("f4"))
    points = curve_points(curve)
    assert len(points["threshold"]) <= 301
    thinned = np.trapezoid([0.0, *points["signal_efficiency"]], [0.0, *points["background_efficiency"]])
    assert thinned == pytest.approx(curve.area, abs=2e-4)


@pytest.mark.parametrize("sizes", [(3_000, 800), (60, 50)])
def test_kolmogorov_and_smirnov_agree_with_scipy(sizes: tuple[int, int]) -> None:
    from scipy.stats import ks_2samp

    for seed, shift in enumerate((0.0, 0.05, 0.3)):
        rng = np.random.default_rng(seed)
        one, other = rng.normal(size=sizes[0]).round(2), rng.normal(shift, 1.0, sizes[1]).round(2)
        found = kolmogorov_smirnov(one, np.ones(len(one)), other, np.ones(len(other)))
        expected = ks_2samp(one, other, method="exact")
        assert found["statistic"] == pytest.approx(expected.statistic, abs=1e-12)
        assert found["p_value"] == pytest.approx(expected.pvalue, rel=0.12, abs=0.02)
    for x in (0.01, 0.19, 0.21, 0.5, 1.0, 2.0, 4.0):
        assert kolmogorov(x) == pytest.approx(kstwobign.sf(x), abs=1e-11)


def test_kolmogorov_and_smirnov_with_signed_weights_are_fair() -> None:
    values = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        one, other = rng.normal(size=400), rng.normal(size=300)
        values.append(
            kolmogorov_smirnov(one, signed_weights(400, seed), other, signed_weights(300, 1_000 + seed))["p_value"]
        )
    # Half of all p-values are below a half, a tenth below a tenth; signed weights make the test a little careful.
    assert 0.35 < np.mean(np.array(values) < 0.5) < 0.6
    assert 0.04 < np.mean(np.array(values) < 0.1) < 0.16


def test_distributions_are_shares_with_errors_of_the_squares_of_the_weights() -> None:
    bins = np.array([0.0, 0.5, 1.0])
    weights = np.array([1.0, 2.0, -1.0, 2.0])
    found = histogram(np.array([0.1, 0.2, 0.9, 7.0]), weights, bins)
    assert found == {"shares": [0.75, 0.25], "uncertainties": [np.sqrt(5) / 4, np.sqrt(5) / 4]}
    assert histogram(np.empty(0), np.empty(0), bins) is None
    assert histogram(np.array([0.1]), np.array([-1.0]), bins) is None
    for values in ([], [np.full(9, 3.0)], [np.full(9, 1e30)]):
        ends = edges(values, probabilities=False)
        assert (np.diff(ends) > 0).all()
        assert all(ends[0] <= one.min() <= one.max() <= ends[-1] for one in values)


def test_training_and_test_that_differ_are_found() -> None:
    truth, scores = gaussians(4_000, 7)
    score = norm.cdf(scores - 0.75)[:, None].astype("f4")
    learnt = np.where(truth[:, None] == 1, np.sqrt(score), score)
    parts = {"train": Scores(truth, learnt), "test": Scores(truth[:2_000], score[:2_000])}
    (one,) = separation(parts, "ab")
    assert one["signal"]["kolmogorov_smirnov"]["p_value"] < 1e-6
    assert one["background"]["kolmogorov_smirnov"]["p_value"] > 0.2
    assert sum(one["signal"]["train"]["shares"]) == pytest.approx(1.0)
    assert (one["edges"][0], one["edges"][-1]) == (0.0, 1.0)
    (alone,) = separation({"train": parts["train"]}, "ab")
    assert alone["signal"]["test"] is None
    assert alone["signal"]["kolmogorov_smirnov"]["reason"] == "a part has no such event"


def test_calibration_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(8)
    predicted = rng.random(5_000).astype("f4")
    signal = rng.random(5_000) < predicted**2
    weights = rng.uniform(0.5, 1.5, 5_000)
    found = calibration(signal, predicted, np.ones(5_000))
    observed, means = calibration_curve(signal, predicted, n_bins=10)
    assert [one["observed"] for one in found["bins"]] == pytest.approx(observed)
    assert [one["predicted"] for one in found["bins"]] == pytest.approx(means, abs=1e-6)
    # The mean of |p - p²| where p is even.
    assert found["ece"] == pytest.approx(1 / 6, abs=0.02)
    weighted = calibration(signal, predicted, weights)["brier"]["value"]
    assert weighted == pytest.approx(brier_score_loss(signal, predicted, sample_weight=weights), abs=1e-6)


def test_the_confusion_matrix_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(9)
    truth, outputs, weights = rng.integers(0, 3, 300), rng.random((300, 3), "f4"), rng.random(300)
    found = classification(Scores(truth, outputs, weights), "abc")
    expected = confusion_matrix(truth, outputs.argmax(axis=1), sample_weight=weights)
    assert np.array(found["confusion"]["sums_of_weights"]) == pytest.approx(expected)
    assert np.sum(found["confusion"]["shares_of_true_class"], axis=1) == pytest.approx(np.ones(3))
    right = accuracy_score(truth, outputs.argmax(axis=1), sample_weight=weights)
    assert found["accuracy"]["value"] == pytest.approx(right)
    assert found["brier"]["value"] is None
    assert "no probabilities" in found["brier"]["reason"]


@pytest.mark.parametrize(("scale", "threshold"), [(1.0, 0.5), (10.0, 0.0)])
def test_a_single_score_decides_at_a_half_or_where_it_is_no_probability_by_its_sign(
    scale: float, threshold: float
) -> None:
    outputs = (scale * np.array([[0.4], [0.6], [0.9], [0.05]]) - (scale > 1) * 5).astype("f4")
    found = classification(Scores(np.array([0, 1, 0, 0]), outputs), "ab")
    assert found["confusion"] == {
        "threshold": threshold,
        "sums_of_weights": [[2.0, 1.0], [0.0, 1.0]],
        "shares_of_true_class": [[pytest.approx(2 / 3), pytest.approx(1 / 3)], [0.0, 1.0]],
    }


def test_a_class_that_is_not_there_leaves_the_others() -> None:
    rng = np.random.default_rng(10)
    outputs = rng.random((60, 3), "f4")
    found = classification(Scores(np.arange(60) % 2, outputs / outputs.sum(axis=1, keepdims=True)), "abc")
    assert found["auc"]["reason"] == "c: there is no signal event"
    assert [one["auc"]["value"] is None for one in found["classes"]] == [False, False, True]
    assert found["confusion"]["shares_of_true_class"][2] is None
    assert found["brier"]["value"] > 0


def test_the_figures_of_a_regression_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(11)
    truth = rng.normal(50, 10, 2_000)
    outputs = (truth + rng.normal(1, 3, 2_000))[:, None].astype("f4")
    weights = rng.random(2_000)
    found = regression(Scores(truth, outputs, weights))
    for key, function in (("mse", mean_squared_error), ("mae", mean_absolute_error), ("r2", r2_score)):
        assert found[key]["value"] == pytest.approx(function(truth, outputs[:, 0], sample_weight=weights)), key
    assert abs(found["bias"]["value"] - 1.0) < 5 * found["bias"]["uncertainty"] < 1.0
    assert np.sum(found["map"]["sums_of_weights"]) == pytest.approx(weights.sum())
    counted = regression(Scores(truth, outputs))["mse"]
    assert counted["uncertainty"] == pytest.approx(np.square(outputs[:, 0] - truth).std() / np.sqrt(2_000))
    distribution = residual_distribution({"train": Scores(truth, outputs), "test": Scores(truth, outputs)})
    assert distribution["kolmogorov_smirnov"] == {"statistic": 0.0, "p_value": 1.0}


def test_a_regression_of_what_does_not_vary_says_so() -> None:
    outputs = np.linspace(0, 1, 9, dtype="f4")[:, None]
    assert regression(Scores(np.ones(9), outputs))["r2"]["reason"] == "the truth does not vary"
    nothing = regression(Scores(np.ones(9), outputs, -np.ones(9)))
    assert nothing["mse"] == {
        "value": None,
        "uncertainty": None,
        "reason": "the weights add up to -9, not to more than 0",
    }


def test_scores_of_the_wrong_kind_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(n,\) and \(n, outputs\)"):
        Scores(np.zeros(3), np.zeros((4, 1), "f4"))
    with pytest.raises(ValueError, match=r"weights \(2,\): expected \(3,\)"):
        Scores(np.zeros(3), np.zeros((3, 1), "f4"), np.ones(2))
    with pytest.raises(ValueError, match="outputs: expected numbers"):
        Scores(np.zeros(3), np.full((3, 1), np.nan, "f4"))
