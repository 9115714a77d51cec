"""How much background is rejected where so much of the signal is kept."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlaas.metrics import Roc, effective_events
from mlaas.report.estimate import Estimate

SIGNAL_EFFICIENCIES = (0.3, 0.5, 0.7, 0.8, 0.9)
CURVE_POINTS = 150
# The mean of a Poisson distribution that gives no event in 5 % of all cases.
NONE_SEEN = 3.0


def working_points(curve: Roc) -> list[dict[str, Any]]:
    """Cut, efficiencies and background rejection 1/ε_B at each of ``SIGNAL_EFFICIENCIES``.

    A working point is the tightest cut that keeps at least so much of the signal. The uncertainty of the rejection has
    two parts: that of the background which passes the cut, and that of the cut, which the signal determines.
    """
    return [_working_point(curve, wanted) for wanted in SIGNAL_EFFICIENCIES]


def curve_points(curve: Roc) -> dict[str, list[float]]:
    """The ROC curve at no more than some 300 of its points, even in ε_S and in the logarithm of ε_B."""
    signal, background = (np.maximum.accumulate(one) for one in (curve.signal_efficiency, curve.background_efficiency))
    lowest = max(float(background[np.searchsorted(background, 0.0, "right")]), 1e-9)
    places = np.concatenate(
        [
            np.searchsorted(signal, np.linspace(0.0, signal[-1], CURVE_POINTS)),
            np.searchsorted(background, np.geomspace(lowest, background[-1], CURVE_POINTS)),
            [len(signal) - 1],
        ]
    )
    chosen = np.unique(np.minimum(places, len(signal) - 1))
    return {
        "threshold": curve.thresholds[chosen].astype(float).tolist(),
        "signal_efficiency": curve.signal_efficiency[chosen].tolist(),
        "background_efficiency": curve.background_efficiency[chosen].tolist(),
    }


def _working_point(curve: Roc, wanted: float) -> dict[str, Any]:
    place = _tightest(curve, wanted)
    background = float(curve.background_efficiency[place])
    point = {
        "wanted": wanted,
        "threshold": float(curve.thresholds[place]),
        "signal_efficiency": float(curve.signal_efficiency[place]),
        "background_efficiency": background,
    }
    passes = curve.places <= place
    if background <= 0.0:
        seen = bool(np.any(passes & ~curve.signal))
        reason = "the weights of the background that passes do not add up to more than 0" if seen else "none passes"
        least = None if seen else effective_events(curve.weights[~curve.signal]) / NONE_SEEN
        return {**point, "rejection": Estimate(None, reason=reason).as_json(), "at_least": least}
    own = _efficiency_deviation(curve.weights[~curve.signal], passes[~curve.signal], background)
    kept = float(curve.signal_efficiency[place])
    shift = _efficiency_deviation(curve.weights[curve.signal], passes[curve.signal], kept)
    looser, tighter = (
        float(curve.background_efficiency[_tightest(curve, kept + change)]) for change in (shift, -shift)
    )
    deviation = float(np.hypot(own, (looser - tighter) / 2.0))
    return {**point, "rejection": Estimate(1.0 / background, deviation / background**2).as_json(), "at_least": None}


def _tightest(curve: Roc, wanted: float) -> int:
    """Place of the tightest cut that keeps at least ``wanted`` of the signal; the loosest where none does."""
    kept = np.maximum.accumulate(curve.signal_efficiency)
    return min(int(np.searchsorted(kept, wanted - 1e-12)), len(kept) - 1)


def _efficiency_deviation(weights: NDArray[np.float64], passes: NDArray[np.bool_], efficiency: float) -> float:
    """Standard deviation of an efficiency; for weights of 1 that of the binomial distribution."""
    return float(np.sqrt(np.sum((weights * (passes - efficiency)) ** 2)) / weights.sum())
