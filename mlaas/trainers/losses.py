"""The figures by which frameworks without a loss of their own per event are judged."""

import numpy as np

from mlaas.trainers import FloatArray

SMALLEST = 1e-7  # a probability of 0 would cost infinitely much


def mean_loss(outputs: FloatArray, y: FloatArray, weights: FloatArray | None, classifies: bool) -> float:
    """Cross-entropy of probabilities, or the squared distance of quantities, times the weights, per event.

    Args:
        outputs: (n, 1) probability of class 1 or the quantity, or (n, classes) probabilities.
        y: (n,) index of the class, or the quantity.
    """
    if not classifies:
        losses = np.square(outputs[:, 0].astype(np.float64) - y)
    else:
        if outputs.shape[1] == 1:
            outputs = np.concatenate([1 - outputs, outputs], axis=1)
        of_truth = outputs[np.arange(len(y)), y.astype(np.int64)].astype(np.float64)
        losses = -np.log(np.maximum(of_truth, SMALLEST))
    return float(np.mean(losses if weights is None else losses * weights))
