"""The figures of a report, made of its numbers alone."""

from collections.abc import Callable
from typing import Any

from mlaas.report.plots.classes import calibration_curves, confusion_matrix, rejection_curves, roc_curves
from mlaas.report.plots.distributions import residual_distributions, score_distributions
from mlaas.report.plots.quantity import truth_and_prediction
from mlaas.report.plots.style import Plot, house_style
from mlaas.report.plots.training import feature_ranking, training_curves

# Name of the file → what draws it; None where the run has nothing of the kind.
PLOTS: dict[str, Callable[[dict[str, Any]], Plot | None]] = {
    "roc": roc_curves,
    "scores": score_distributions,
    "rejection": rejection_curves,
    "confusion": confusion_matrix,
    "truth": truth_and_prediction,
    "residuals": residual_distributions,
    "calibration": calibration_curves,
    "ranking": feature_ranking,
    "training": training_curves,
}

__all__ = ["PLOTS", "Plot", "house_style"]
