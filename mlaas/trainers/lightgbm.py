"""Training of LightGBM estimators."""

import logging
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType
from sklearn.base import is_classifier, is_regressor

from mlaas.errors import ModelError
from mlaas.trainers import FloatArray, Validation
from mlaas.trainers.estimators import EstimatorTrainer, refuse_own_objective, training_errors_translated
from mlaas.trainers.graphs import one_output
from mlaas.trainers.thresholds import not_above

CONVERTED_OPSET = 15
THRESHOLDS, SIZES = "threshold=", "tree_sizes="
# Without these, the sums of gradients depend on which thread comes first.
REPEATABLE = {"deterministic": True, "force_row_wise": True}
QUIET = {"verbosity": -1}


class LightGBMTrainer(EstimatorTrainer):
    """An LGBMClassifier or LGBMRegressor."""

    framework = "lightgbm"

    def __init__(self, model: Any, width: int, classes: int) -> None:
        if not (is_classifier(model) or is_regressor(model)):
            raise ModelError(
                f"model(idim) returned a {type(model).__name__}: expected an LGBMClassifier or an LGBMRegressor"
            )
        refuse_own_objective(model)
        lightgbm.register_logger(logging.getLogger("lightgbm"))  # what fails is raised as well
        super().__init__(model, width, classes, is_classifier(model))
        self._booster: lightgbm.Booster | None = None
        given = model.get_params()
        if not {"force_row_wise", "force_col_wise", "deterministic"} & set(given):
            model.set_params(**REPEATABLE)
        if not {"verbosity", "verbose"} & set(given):
            model.set_params(**QUIET)

    def fit_sample(
        self, x: FloatArray, y: FloatArray, weights: FloatArray | None, validation: Validation | None
    ) -> float:
        arguments: dict[str, Any] = {}
        if validation is not None:
            arguments = {"eval_X": validation[0], "eval_y": validation[1]}
            if validation[2] is not None:
                arguments["eval_sample_weight"] = [validation[2]]
        with training_errors_translated(self._estimator):
            self._estimator.fit(x, y, sample_weight=weights, **arguments)
        self._booster = self._estimator.booster_
        return self.evaluate(x, y, weights)

    def predict(self, x: FloatArray) -> FloatArray:
        return self._served(np.asarray(self._fitted.predict(x)))

    def state(self) -> bytes:
        return b"" if self._booster is None else self._booster.model_to_string().encode()

    def resume(self, state: bytes) -> None:
        self._booster = lightgbm.Booster(model_str=state.decode()) if state else None

    def save(self, path: Path) -> bool:
        self._fitted.save_model(path)
        return True

    def export(self, path: Path) -> None:
        model = convert_lightgbm(
            with_float32_thresholds(self._fitted),
            initial_types=[("normalised", FloatTensorType([None, self._width]))],
            target_opset=CONVERTED_OPSET,
            zipmap=False,
        )
        path.write_bytes(one_output(model, self._served_classes).SerializeToString())

    @property
    def _fitted(self) -> lightgbm.Booster:
        if self._booster is None:
            raise ModelError("the model is not trained yet")
        return self._booster


def with_float32_thresholds(booster: lightgbm.Booster) -> lightgbm.Booster:
    """A booster that answers all float32 values alike, with thresholds that ONNX can express.

    LightGBM's own are float64. The converter would round them to the nearest float32, which may be a value that lies
    above, and this value would go to the other side.
    """
    # Where each tree begins in the text is given too, but not needed.
    lines = [line for line in booster.model_to_string().splitlines() if not line.startswith(SIZES)]
    return lightgbm.Booster(model_str="\n".join(map(_rounded_down, lines)) + "\n")


def _rounded_down(line: str) -> str:
    if not line.startswith(THRESHOLDS):
        return line
    thresholds = not_above(np.array(line.removeprefix(THRESHOLDS).split(), np.float64))
    return THRESHOLDS + " ".join(map(repr, thresholds.astype(np.float64).tolist()))
