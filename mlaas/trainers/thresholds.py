"""Thresholds of trees in the precision of the values that are compared with them."""

import numpy as np
import numpy.typing as npt


def not_above(thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The largest float32 not above each of `thresholds`: the same float32 values are above it as before."""
    nearest = thresholds.astype(np.float32)
    return np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)
