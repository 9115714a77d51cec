"""The same histogram of training and test, and how far they differ."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlaas.metrics import effective_events

MOST_BINS, FEWEST_BINS = 40, 10
# Terms of the series below after which nothing is added, for any argument that is not small.
TERMS = 100


def comparison(parts: dict[str, tuple[NDArray[Any], NDArray[np.float64]]], bins: NDArray[np.float64]) -> dict[str, Any]:
    """Histograms of values and weights in ``train`` and ``test``, and ``kolmogorov_smirnov`` of the two."""
    nothing = (np.empty(0), np.empty(0))
    train, test = (parts.get(name, nothing) for name in ("train", "test"))
    return {
        "train": histogram(*train, bins),
        "test": histogram(*test, bins),
        "kolmogorov_smirnov": kolmogorov_smirnov(*train, *test),
    }


def edges(values: list[NDArray[Any]], probabilities: bool) -> NDArray[np.float64]:
    """Edges of bins for ``values``, the fewer the fewer there are: from 0 to 1 for ``probabilities``.

    Otherwise they hold all but the most extreme thousandth on either side, which is left to the bins at the ends.
    """
    filled = [one for one in values if len(one)]
    low = min((float(np.quantile(one, 0.001)) for one in filled), default=0.0)
    high = max((float(np.quantile(one, 0.999)) for one in filled), default=1.0)
    if probabilities:
        low, high = 0.0, 1.0
    elif not high > low:
        low, high = low - max(0.5, abs(low) * 1e-3), high + max(0.5, abs(high) * 1e-3)
    fewest = min(map(len, filled), default=0)
    return np.linspace(low, high, int(np.clip(np.sqrt(fewest), FEWEST_BINS, MOST_BINS)) + 1)


def histogram(values: NDArray[Any], weights: NDArray[np.float64], bins: NDArray[np.float64]) -> dict[str, Any] | None:
    """Share of the weight in each bin, and its uncertainty from the squares of the weights.

    What is outside is counted in the bins at the ends.

    Returns:
        None where the weights do not add up to more than 0.
    """
    total = float(weights.sum())
    if total <= 0.0:
        return None
    places = np.clip(np.searchsorted(bins, values, "right") - 1, 0, len(bins) - 2)
    shares = np.bincount(places, weights, len(bins) - 1) / total
    deviations = np.sqrt(np.bincount(places, weights**2, len(bins) - 1)) / total
    return {"shares": shares.tolist(), "uncertainties": deviations.tolist()}


def kolmogorov_smirnov(
    first: NDArray[Any], first_weights: NDArray[np.float64], second: NDArray[Any], second_weights: NDArray[np.float64]
) -> dict[str, Any]:
    """The largest distance of two distributions, without bins, and the probability of a larger one by chance.

    The probability is the asymptotic one, with Stephens' correction (J. R. Stat. Soc. B 32, 1970) for few events and
    the effective number of weighted ones.
    """
    for weights in (first_weights, second_weights):
        if float(weights.sum()) <= 0.0:
            reason = "the weights do not add up to more than 0" if len(weights) else "a part has no such event"
            return {"statistic": None, "p_value": None, "reason": reason}
    levels, places = np.unique(np.concatenate([first, second]), return_inverse=True)
    sums = [
        np.cumsum(np.bincount(mine, weights, len(levels))) / weights.sum()
        for mine, weights in ((places[: len(first)], first_weights), (places[len(first) :], second_weights))
    ]
    distance = float(np.abs(sums[0] - sums[1]).max())
    sizes = effective_events(first_weights), effective_events(second_weights)
    root = float(np.sqrt(sizes[0] * sizes[1] / (sizes[0] + sizes[1])))
    return {"statistic": distance, "p_value": kolmogorov((root + 0.12 + 0.11 / root) * distance)}


def kolmogorov(x: float) -> float:
    """The probability that a variable with Kolmogorov's distribution is larger than ``x``."""
    if x < 0.2:
        return 1.0
    k = np.arange(1, TERMS + 1)
    return float(np.clip(2.0 * np.sum((-1.0) ** (k - 1) * np.exp(-2.0 * (k * x) ** 2)), 0.0, 1.0))
