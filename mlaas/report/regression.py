"""How well a model tells a quantity."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlaas.metrics import Undefined
from mlaas.report.distribution import comparison, edges
from mlaas.report.estimate import Estimate, estimated, estimated_mean, weighted_mean
from mlaas.report.run import Scores

CELLS = 50


def regression(scores: Scores) -> dict[str, Any]:
    """Figures of merit of a part that has events.

    Returns:
        Mean squared error ``mse``, mean absolute error ``mae``, ``r2``, ``bias``: the mean of prediction - truth, and
        ``map``: the sums of the weights by truth (rows) and prediction (columns).
    """
    differences, weights = residuals(scores), scores.counted
    return {
        "mse": estimated_mean(differences**2, weights),
        "mae": estimated_mean(np.abs(differences), weights),
        "bias": estimated_mean(differences, weights),
        "r2": estimated(lambda: _r2(scores)),
        "map": _map(scores),
    }


def residual_distribution(parts: dict[str, Scores]) -> dict[str, Any]:
    """Distributions of prediction - truth in training and test; see :mod:`.distribution`."""
    values = {name: residuals(scores) for name, scores in parts.items()}
    bins = edges(list(values.values()), probabilities=False)
    counted = {name: (values[name], scores.counted) for name, scores in parts.items()}
    return {"edges": bins.tolist(), **comparison(counted, bins)}


def residuals(scores: Scores) -> NDArray[np.float64]:
    """(n,): prediction - truth."""
    differences: NDArray[np.float64] = scores.outputs[:, 0].astype(np.float64) - scores.truth
    return differences


def _r2(scores: Scores) -> Estimate:
    """The share of the variance of the truth that the model explains."""
    weights, truth = scores.counted, scores.truth.astype(np.float64)
    mean, _ = weighted_mean(truth, weights)
    variance, _ = weighted_mean((truth - mean) ** 2, weights)
    if variance <= 0.0:
        raise Undefined("the truth does not vary")
    error, _ = weighted_mean(residuals(scores) ** 2, weights)
    return Estimate(1.0 - error / variance)


def _map(scores: Scores) -> dict[str, Any]:
    bins = edges([scores.truth, scores.outputs[:, 0]], probabilities=False)
    bins = np.linspace(bins[0], bins[-1], CELLS + 1)
    truth, predicted = (
        np.clip(np.searchsorted(bins, values, "right") - 1, 0, CELLS - 1)
        for values in (scores.truth, scores.outputs[:, 0])
    )
    sums = np.bincount(truth * CELLS + predicted, scores.counted, CELLS * CELLS).reshape(CELLS, CELLS)
    return {"edges": bins.tolist(), "sums_of_weights": sums.tolist()}
