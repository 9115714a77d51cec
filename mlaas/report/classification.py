"""How well a model tells classes apart."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlaas.metrics import FloatArray, Roc, Undefined, roc
from mlaas.report.calibration import NO_PROBABILITIES, are_probabilities, calibration
from mlaas.report.distribution import comparison, edges
from mlaas.report.estimate import Estimate, estimated, estimated_mean
from mlaas.report.rejection import curve_points, working_points
from mlaas.report.run import Scores
from mlaas.report.text import class_name


def classification(scores: Scores, classes: Sequence[str]) -> dict[str, Any]:
    """Figures of merit of a part that has events.

    Returns:
        ``auc``, ``accuracy``, ``confusion``, ``brier``, ``ece``, and in ``classes`` those of the second class against
        the first, or of each of several against the others.
    """
    calibrated = are_probabilities(scores.outputs)
    curves = {index: _curve(scores, index) for index in signals(classes)}
    each = [
        {"class": classes[index], **_one_class(scores, index, curve, calibrated)} for index, curve in curves.items()
    ]
    return {
        "auc": estimated(lambda: _area([_defined(curve, classes[index]) for index, curve in curves.items()])),
        **_confusion(scores, classes),
        **_overall_calibration(scores, each, calibrated),
        "classes": each,
    }


def separation(parts: dict[str, Scores], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Distributions of each score for signal and background, in training and test; see :mod:`.distribution`."""
    probabilities = all(are_probabilities(scores.outputs) for scores in parts.values())
    found = []
    for index in signals(classes):
        bins = edges([score_of(scores, index) for scores in parts.values()], probabilities)
        sides: dict[str, dict[str, Any]] = {"signal": {}, "background": {}}
        for name, scores in parts.items():
            signal, score = scores.truth == index, score_of(scores, index)
            sides["signal"][name] = score[signal], scores.counted[signal]
            sides["background"][name] = score[~signal], scores.counted[~signal]
        compared = {side: comparison(values, bins) for side, values in sides.items()}
        found.append({"class": classes[index], "edges": bins.tolist(), **compared})
    return found


def signals(classes: Sequence[str]) -> range:
    """Indices of the classes that are told from all others: of two only the second."""
    return range(1, 2) if len(classes) == 2 else range(len(classes))


def score_of(scores: Scores, index: int) -> FloatArray:
    """(n,): the score of a class."""
    return scores.outputs[:, -1 if scores.outputs.shape[1] <= 2 else index]


def _curve(scores: Scores, index: int) -> Roc | Undefined:
    """The ROC curve of a class, or why there is none."""
    try:
        return roc(scores.truth == index, score_of(scores, index), scores.weights)
    except Undefined as error:
        return error


def _defined(curve: Roc | Undefined, name: str) -> Roc:
    """The curve of the class ``name``; raises Undefined."""
    if isinstance(curve, Undefined):
        raise Undefined(f"{class_name(name)}: {curve}") from curve
    return curve


def _one_class(scores: Scores, index: int, curve: Roc | Undefined, calibrated: bool) -> dict[str, Any]:
    signal = scores.truth == index
    found: dict[str, Any] = {
        "events": int(signal.sum()),
        "sum_of_weights": float(scores.counted[signal].sum()),
        "calibration": calibration(signal, score_of(scores, index), scores.counted) if calibrated else None,
    }
    if isinstance(curve, Undefined):
        return {**found, "auc": Estimate(None, reason=str(curve)).as_json(), "roc": None, "working_points": []}
    return {
        **found,
        "auc": estimated(lambda: _area([curve])),
        "roc": curve_points(curve),
        "working_points": working_points(curve),
    }


def _area(curves: list[Roc]) -> Estimate:
    """The mean of the areas, with an uncertainty that knows that they are of the same events."""
    area = float(np.mean([curve.area for curve in curves]))
    try:
        influences = np.mean([curve.influences for curve in curves], axis=0)
    except Undefined as error:
        return Estimate(area, reason=str(error))
    return Estimate(area, float(np.sqrt(np.sum(influences**2))))


def _confusion(scores: Scores, classes: Sequence[str]) -> dict[str, Any]:
    """The sums of the weights by true and predicted class, and the share that is right.

    The predicted class has the highest score. A single score speaks for the second class from 0.5 on, or from 0 on
    where the scores are no probabilities.
    """
    threshold = None
    if scores.outputs.shape[1] == 1:
        threshold = 0.5 if are_probabilities(scores.outputs) else 0.0
        predicted = (scores.outputs[:, 0] >= threshold).astype(np.int64)
    else:
        predicted = scores.outputs.argmax(axis=1)
    size = max(len(classes), 2)
    cells = scores.truth.astype(np.int64) * size + predicted
    matrix = np.bincount(cells, scores.counted, size * size).reshape(size, size)[: len(classes)]
    totals = matrix.sum(axis=1)
    shares = [(row / total).tolist() if total > 0.0 else None for row, total in zip(matrix, totals, strict=True)]
    return {
        "accuracy": estimated_mean(predicted == scores.truth, scores.counted),
        "confusion": {"threshold": threshold, "sums_of_weights": matrix.tolist(), "shares_of_true_class": shares},
    }


def _overall_calibration(scores: Scores, each: list[dict[str, Any]], calibrated: bool) -> dict[str, Any]:
    """Brier score over all classes, and the mean of the calibration errors of each."""
    if not calibrated:
        none = Estimate(None, reason=NO_PROBABILITIES).as_json()
        return {"brier": none, "ece": none}
    errors = [one["calibration"]["ece"] for one in each if one["calibration"]["ece"] is not None]
    ece = Estimate(float(np.mean(errors))) if errors else Estimate(None, reason="no bin has a positive weight")
    return {"brier": estimated_mean(_brier(scores), scores.counted), "ece": ece.as_json()}


def _brier(scores: Scores) -> NDArray[np.float64]:
    """(n,): squared differences of probabilities and truth, for several classes added up over them."""
    differences = scores.outputs.astype(np.float64)
    if scores.outputs.shape[1] <= 2:
        differences = differences[:, -1:] - (scores.truth == 1)[:, None]
    else:
        differences[np.arange(len(differences)), scores.truth.astype(np.int64)] -= 1.0
    squares: NDArray[np.float64] = np.sum(differences**2, axis=1)
    return squares
