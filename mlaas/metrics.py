"""Figures of merit of a trained model."""

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

FloatArray = npt.NDArray[np.float32]


def auc(classes: npt.NDArray[np.int64], outputs: FloatArray) -> float | None:
    """Area under the ROC curve.

    Args:
        classes: (n,) index of the true class.
        outputs: (n, 1) score of class 1, or (n, classes) score of each; for three and more classes the mean of the
            areas of each class against the rest.

    Returns:
        None where the events are all of one class, or fewer classes are present than the model tells apart.
    """
    present = np.unique(classes)
    if len(present) < 2:
        return None
    if outputs.shape[1] <= 2:
        return float(roc_auc_score(classes, outputs[:, -1]))
    if len(present) < outputs.shape[1]:
        return None
    areas = [roc_auc_score(classes == index, outputs[:, index]) for index in present]
    return float(np.mean(areas))
