"""Which features matter: how much worse the model becomes when one is permuted."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mlaas.features import Feature, width
from mlaas.metrics import FloatArray, Undefined, rocs
from mlaas.report.estimate import weighted_mean
from mlaas.report.run import Importance

MOST_EVENTS, FEWEST_EVENTS = 10_000, 1_000
# Events that the model is asked about in all: with many features and repetitions the sample is smaller.
MOST_PREDICTIONS = 5_000_000
# Of the matrix that the model is asked about at a time.
BLOCK_BYTES = 64 << 20

Predict = Callable[[FloatArray], FloatArray]


def permutation_ranking(
    predict: Predict,
    x: FloatArray,
    truth: NDArray[np.floating] | NDArray[np.int64],
    weights: NDArray[np.floating] | None,
    features: Sequence[Feature],
    *,
    classifies: bool,
    seed: int = 0,
    repeats: int = 5,
    most_events: int = MOST_EVENTS,
    progress: Callable[[int, int], None] | None = None,
) -> list[Importance] | None:
    """The features by how much the model loses without what each of them tells, the most important first.

    All columns of a feature are permuted together among the events, so that the objects of an event stay together.
    Features that tell the same stand in for each other: none of them then seems important.

    Args:
        predict: From float32 (m, width) to (m, outputs), as in :class:`mlaas.report.Scores`.
        x: (n, width), as the model sees it; of more than ``most_events`` a random sample is taken, and a smaller one
            where there are many features.
        truth: (n,) index of the class where the model ``classifies``, else the quantity.
        weights: (n,), which stay with their events; None is 1 for all.
        features: In the order of their columns.
        repeats: How often each is permuted.
        progress: Called with the features done and those in all.

    Returns:
        None where the events do not determine the AUC or the mean squared error.
    """
    if x.ndim != 2 or x.shape[1] != width(features) or len(truth) != len(x):
        raise ValueError(f"x {x.shape}, {len(truth)} truths, {width(features)} columns: expected (n, columns)")
    rng = np.random.default_rng(seed)
    affordable = max(FEWEST_EVENTS, MOST_PREDICTIONS // (len(features) * repeats))
    rows = np.sort(rng.permutation(len(x))[: min(most_events, affordable)])
    x, truth = x[rows], truth[rows]
    weights = None if weights is None else weights[rows]
    if not len(x):
        return None
    try:
        untouched = _badness(_predictions(predict, x), truth, weights, classifies)
    except Undefined:
        return None
    found, column = [], 0
    for feature in features:
        mine = slice(column, column + feature.dimension)
        column = mine.stop
        original = x[:, mine].copy()
        losses = []
        for _ in range(repeats):
            x[:, mine] = original[rng.permutation(len(x))]
            losses.append(_badness(_predictions(predict, x), truth, weights, classifies) - untouched)
        x[:, mine] = original
        deviation = float(np.std(losses, ddof=1)) if repeats > 1 else None
        found.append(Importance(feature.name, float(np.mean(losses)), deviation))
        if progress is not None:
            progress(len(found), len(features))
    return sorted(found, key=lambda one: -one.loss)


def _predictions(predict: Predict, x: FloatArray) -> FloatArray:
    rows = max(1, BLOCK_BYTES // (4 * x.shape[1]))
    return np.concatenate([predict(x[start : start + rows]) for start in range(0, len(x), rows)])


def _badness(
    outputs: FloatArray,
    truth: NDArray[np.floating] | NDArray[np.int64],
    weights: NDArray[np.floating] | None,
    classifies: bool,
) -> float:
    """The mean squared error, or the AUC with the opposite sign.

    Raises:
        Undefined: the events do not determine it.
    """
    if classifies:
        return -float(np.mean([curve.area for curve in rocs(truth.astype(np.int64), outputs, weights)]))
    counted = np.ones(len(truth)) if weights is None else weights.astype(np.float64)
    return weighted_mean((outputs[:, 0].astype(np.float64) - truth) ** 2, counted)[0]
