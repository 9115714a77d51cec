"""Training of scikit-learn estimators: chunk by chunk where they can, otherwise on a sample."""

import inspect
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.pipeline import Pipeline

from mlaas.errors import ModelError
from mlaas.trainers import FloatArray, Trainer, Validation
from mlaas.trainers.estimators import EstimatorTrainer, training_errors_translated
from mlaas.trainers.sklearn_onnx import estimator_to_onnx

PREDICTION_BATCH = 65_536


def make_sklearn_trainer(model: Any, width: int, classes: int) -> Trainer:
    """The trainer that fits the estimator; raises ModelError."""
    streams = hasattr(model, "partial_fit")
    return (StreamingEstimatorTrainer if streams else SampleEstimatorTrainer)(model, width, classes)


class SampleEstimatorTrainer(EstimatorTrainer):
    """An estimator that needs all its events at once."""

    framework = "sklearn"

    def __init__(self, estimator: Any, width: int, classes: int) -> None:
        name = type(estimator).__name__
        if not (is_classifier(estimator) or is_regressor(estimator)):
            raise ModelError(f"model(idim) returned a {name}: expected a classifier or a regressor")
        if is_classifier(estimator) and not hasattr(estimator, "predict_proba"):
            raise ModelError(
                f"{name} gives no probabilities with these parameters: expected a classifier with predict_proba, such"
                " as SGDClassifier(loss='log_loss'), or one inside CalibratedClassifierCV"
            )
        super().__init__(estimator, width, classes, is_classifier(estimator))

    def fit_sample(
        self, x: FloatArray, y: FloatArray, weights: FloatArray | None, validation: Validation | None
    ) -> float:
        arguments = self._weight_argument(self._estimator.fit, weights)
        if validation is not None and "X_val" in inspect.signature(self._estimator.fit).parameters:
            arguments |= {"X_val": validation[0], "y_val": self._targets(validation[1])}
            if weights is not None:
                arguments["sample_weight_val"] = validation[2]
        with training_errors_translated(self._estimator):
            self._estimator.fit(x, self._targets(y), **arguments)
        return self.evaluate(x, y, weights)

    def predict(self, x: FloatArray) -> FloatArray:
        answer = self._estimator.predict_proba if self.classifies else self._estimator.predict
        starts = range(0, len(x), PREDICTION_BATCH)
        return self._served(np.concatenate([answer(x[start : start + PREDICTION_BATCH]) for start in starts]))

    def state(self) -> bytes:
        return pickle.dumps(self._estimator)

    def resume(self, state: bytes) -> None:
        self._estimator = pickle.loads(state)

    def save(self, path: Path) -> bool:
        joblib.dump(self._estimator, path)
        return True

    def export(self, path: Path) -> None:
        path.write_bytes(estimator_to_onnx(self._estimator, self._width, self._served_classes))

    def _targets(self, y: FloatArray) -> Any:
        return y.astype(np.int64) if self.classifies else y

    def _weight_argument(self, method: Any, weights: FloatArray | None) -> dict[str, Any]:
        """The weights under the name that a method wants them."""
        if weights is None:
            return {}
        name, takes = "sample_weight", method
        if isinstance(self._estimator, Pipeline):
            step, last = self._estimator.steps[-1]
            name, takes = f"{step}__sample_weight", last.fit
        if "sample_weight" not in inspect.signature(takes).parameters:
            raise ModelError(
                f"{type(self._estimator).__name__} takes no event weights: leave them out of the parameters"
            )
        return {name: weights}


class StreamingEstimatorTrainer(SampleEstimatorTrainer):
    """An estimator with `partial_fit`."""

    streams = True

    def fit(self, x: FloatArray, y: FloatArray, batch_size: int, weights: FloatArray | None = None) -> float:
        arguments = self._weight_argument(self._estimator.partial_fit, weights)
        if self.classifies:
            arguments["classes"] = np.arange(self._classes)
        with training_errors_translated(self._estimator):
            self._estimator.partial_fit(x, self._targets(y), **arguments)
        return self.evaluate(x, y, weights)

    def fit_sample(
        self, x: FloatArray, y: FloatArray, weights: FloatArray | None, validation: Validation | None
    ) -> float:
        return self.fit(x, y, len(x), weights)
