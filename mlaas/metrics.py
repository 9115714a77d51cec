"""Figures of merit of a trained model."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


class Undefined(ValueError):
    """The events do not determine a figure of merit; the message says why."""


@dataclass(frozen=True)
class Roc:
    """Signal against background for every cut on a score, from the tightest to the loosest.

    Attributes:
        thresholds: (m,) the different scores, falling; a cut keeps the events at or above its threshold.
        signal_efficiency: float64 (m,) share of the signal's weight that a cut keeps.
        background_efficiency: float64 (m,) that of the background's.
        signal: bool (n,) of each event.
        weights: float64 (n,) of each event; they may be negative.
        places: int64 (n,) where in ``thresholds`` the score of each event is.
    """

    thresholds: FloatArray
    signal_efficiency: Doubles
    background_efficiency: Doubles
    signal: npt.NDArray[np.bool_]
    weights: Doubles
    places: npt.NDArray[np.int64]

    @cached_property
    def area(self) -> float:
        """The probability that a signal event has a higher score than one of background; of equal ones half counts."""
        steps = np.diff(self.background_efficiency, prepend=0.0)
        return float(np.sum(steps * _middle(self.signal_efficiency)))

    @cached_property
    def influences(self) -> Doubles:
        """(n,): what each event adds to the deviation of the area from its expectation.

        The sum of their squares is the variance of the area, and of a mean of areas with those of the means: the
        estimate of DeLong et al. (Biometrics 44, 1988), where each event counts with the square of its weight.

        Raises:
            Undefined: there is one event of signal or background.
        """
        share = np.where(
            self.signal,
            1.0 - _middle(self.background_efficiency)[self.places],
            _middle(self.signal_efficiency)[self.places],
        )
        influences = self.weights * (share - self.area)
        for side in (self.signal, ~self.signal):
            effective = effective_events(self.weights[side])
            if effective <= 1.0:
                raise Undefined("the uncertainty of a single event is not known")
            influences[side] *= np.sqrt(effective / (effective - 1.0)) / self.weights[side].sum()
        return influences


def roc(signal: npt.NDArray[np.bool_], scores: FloatArray, weights: npt.NDArray[np.floating] | None = None) -> Roc:
    """The ROC curve of ``scores`` (n,), where ``signal`` (n,) says which events are to have high ones.

    Raises:
        Undefined: signal or background has no event, or weights (n,) that do not add up to more than 0.
    """
    counted = np.ones(len(scores)) if weights is None else weights.astype(np.float64)
    for name, side in (("signal", signal), ("background", ~signal)):
        if not side.any():
            raise Undefined(f"there is no {name} event")
        if (total := counted[side].sum()) <= 0.0:
            raise Undefined(f"the weights of the {name} add up to {total:g}, not to more than 0")
    rising, inverse = np.unique(scores, return_inverse=True)
    places = len(rising) - 1 - inverse
    passed = [np.cumsum(np.bincount(places[side], counted[side], len(rising))) for side in (signal, ~signal)]
    efficiencies = [one / one[-1] for one in passed]
    return Roc(rising[::-1], efficiencies[0], efficiencies[1], signal, counted, places)


def rocs(
    classes: npt.NDArray[np.int64], outputs: FloatArray, weights: npt.NDArray[np.floating] | None = None
) -> list[Roc]:
    """The curve of class 1 against class 0, or of each of three and more classes against all others.

    Args:
        classes: (n,) index of the true class.
        outputs: (n, 1) score of class 1, or (n, classes) score of each.
        weights: (n,), which may be negative; None is 1 for all.

    Raises:
        Undefined: see :func:`roc`.
    """
    if outputs.shape[1] <= 2:
        return [roc(classes == 1, outputs[:, -1], weights)]
    return [roc(classes == index, outputs[:, index], weights) for index in range(outputs.shape[1])]


def auc(
    classes: npt.NDArray[np.int64], outputs: FloatArray, weights: npt.NDArray[np.floating] | None = None
) -> float | None:
    """Area under the ROC curve; for three and more classes the mean of the areas of each against the rest.

    Args:
        classes, outputs, weights: see :func:`rocs`.

    Returns:
        None where fewer classes are present than the model tells apart, or the weights of one do not add up to
        more than 0.
    """
    try:
        return float(np.mean([curve.area for curve in rocs(classes, outputs, weights)]))
    except Undefined:
        return None


def effective_events(weights: Doubles) -> float:
    """How many events of weight 1 would be known as well: the square of the sum over the sum of the squares."""
    squares = float(np.sum(weights**2))
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def _middle(efficiency: Doubles) -> Doubles:
    """The mean of the efficiencies with and without the events at each threshold."""
    return efficiency - np.diff(efficiency, prepend=0.0) / 2.0
