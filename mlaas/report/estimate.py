"""A number with its uncertainty, or the reason why there is none."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlaas.metrics import Undefined


@dataclass(frozen=True)
class Estimate:
    """A figure of merit.

    Attributes:
        value: None where the events do not determine it; ``reason`` says why then.
        uncertainty: One standard deviation; None where it is not known.
    """

    value: float | None
    uncertainty: float | None = None
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """``value`` and ``uncertainty``, with ``reason`` where there is one."""
        content: dict[str, Any] = {"value": self.value, "uncertainty": self.uncertainty}
        return content | ({"reason": self.reason} if self.reason else {})


def estimated(measure: Callable[[], Estimate]) -> dict[str, Any]:
    """What ``measure`` returns, or why it cannot."""
    try:
        return measure().as_json()
    except Undefined as error:
        return Estimate(None, reason=str(error)).as_json()


def estimated_mean(values: NDArray[Any], weights: NDArray[np.float64]) -> dict[str, Any]:
    """The weighted mean, or why there is none; see :func:`weighted_mean`."""
    return estimated(lambda: Estimate(*weighted_mean(values, weights)))


def weighted_mean(values: NDArray[Any], weights: NDArray[np.float64]) -> tuple[float, float]:
    """The mean of ``values`` (n,) with ``weights`` (n,), and its uncertainty from the squares of the weights.

    Raises:
        Undefined: there is no event, or the weights do not add up to more than 0.
    """
    total = float(weights.sum())
    if total <= 0.0:
        raise Undefined(f"the weights add up to {total:g}, not to more than 0" if len(weights) else "there is no event")
    mean = float(np.sum(weights * values)) / total
    return mean, float(np.sqrt(np.sum((weights * (values - mean)) ** 2))) / total
