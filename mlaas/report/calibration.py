"""Whether a score can be taken for a probability."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlaas.metrics import FloatArray, Undefined
from mlaas.report.estimate import estimated_mean, weighted_mean

BINS = 10
NO_PROBABILITIES = "the scores are no probabilities: they are not all between 0 and 1"


def are_probabilities(outputs: FloatArray) -> bool:
    """Whether outputs (n, k) are between 0 and 1 and, where there are several, add up to 1 in each event."""
    if not len(outputs) or outputs.min() < 0.0 or outputs.max() > 1.0:
        return False
    return outputs.shape[1] == 1 or bool(np.allclose(outputs.sum(axis=1), 1.0, atol=1e-3))


def calibration(signal: NDArray[np.bool_], probabilities: FloatArray, weights: NDArray[np.float64]) -> dict[str, Any]:
    """Reliability of the ``probabilities`` (n,) of being ``signal`` (n,), in bins of equal width.

    Returns:
        ``bins``, each with the mean ``predicted`` probability and the share of signal that was ``observed``; bins
        whose weights do not add up to more than 0 are left out. ``brier`` is the mean squared difference of
        probability and truth; ``ece`` the mean difference of predicted and observed in the bins, by their weights.
    """
    places = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    bins: list[dict[str, Any]] = []
    for number in range(BINS):
        inside = places == number
        mine = weights[inside]
        try:
            predicted, _ = weighted_mean(probabilities[inside], mine)
            observed, uncertainty = weighted_mean(signal[inside], mine)
        except Undefined:
            continue
        bins.append(
            {
                "low": number / BINS,
                "high": (number + 1) / BINS,
                "sum_of_weights": float(mine.sum()),
                "predicted": predicted,
                "observed": observed,
                "uncertainty": uncertainty,
            }
        )
    total = sum(one["sum_of_weights"] for one in bins)
    differences = (one["sum_of_weights"] * abs(one["predicted"] - one["observed"]) for one in bins)
    return {
        "bins": bins,
        "brier": estimated_mean((probabilities - signal) ** 2, weights),
        "ece": sum(differences) / total if total else None,
    }
