"""Training of XGBoost models: estimators, and boosters that are made with parameters and not trained yet."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from onnxmltools import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from sklearn.base import is_classifier, is_regressor

from mlaas.errors import ModelError
from mlaas.trainers import FloatArray, Trainer, Validation
from mlaas.trainers.estimators import EstimatorTrainer, refuse_own_objective, training_errors_translated
from mlaas.trainers.graphs import one_output

TREES = "gbtree"
ROUNDS = 100
CLASSIFYING = ("binary:logistic", "multi:softprob")
OF_QUANTITIES = ("reg:", "count:")
EXPECTED = f"expected {', '.join(CLASSIFYING)}, or one of {', '.join(f'{kind}…' for kind in OF_QUANTITIES)}"
CONVERTED_OPSET = 15


def make_xgboost_trainer(model: Any, width: int, classes: int) -> Trainer:
    """The trainer that fits an estimator or a booster; raises ModelError."""
    return (BoosterTrainer if isinstance(model, xgboost.Booster) else ModelTrainer)(model, width, classes)


class XGBoostTrainer(EstimatorTrainer):
    """What comes out of a training is a booster in any case; it has only the rounds up to the best one."""

    framework = "xgboost"
    _booster: xgboost.Booster | None = None

    def predict(self, x: FloatArray) -> FloatArray:
        return self._served(self._fitted.inplace_predict(x))

    def state(self) -> bytes:
        return b"" if self._booster is None else bytes(self._booster.save_raw("ubj"))

    def resume(self, state: bytes) -> None:
        self._booster = xgboost.Booster(model_file=bytearray(state)) if state else None

    def save(self, path: Path) -> bool:
        self._fitted.save_model(path)
        return True

    def export(self, path: Path) -> None:
        model = convert_xgboost(
            self._fitted,
            initial_types=[("normalised", FloatTensorType([None, self._width]))],
            target_opset=CONVERTED_OPSET,
        )
        path.write_bytes(one_output(model, self._served_classes).SerializeToString())

    @property
    def _fitted(self) -> xgboost.Booster:
        if self._booster is None:
            raise ModelError("the model is not trained yet")
        return self._booster

    def _keep_best(self, booster: xgboost.Booster) -> None:
        best = booster.attr("best_iteration")
        self._booster = booster if best is None else booster[: int(best) + 1]


class ModelTrainer(XGBoostTrainer):
    """An estimator, such as XGBClassifier."""

    def __init__(self, model: Any, width: int, classes: int) -> None:
        if not (is_classifier(model) or is_regressor(model)):
            raise ModelError(
                f"model(idim) returned a {type(model).__name__}: expected an XGBClassifier, XGBRegressor or Booster"
            )
        refuse_own_objective(model)
        _check_trees(model.booster or TREES)
        if not np.isnan(model.missing):
            raise ModelError(f"missing={model.missing} can't be served: leave it out, absent values are filled")
        super().__init__(model, width, classes, is_classifier(model))

    def fit_sample(
        self, x: FloatArray, y: FloatArray, weights: FloatArray | None, validation: Validation | None
    ) -> float:
        arguments: dict[str, Any] = {}
        if validation is not None:
            arguments = {"eval_set": [validation[:2]]}
            if validation[2] is not None:
                arguments["sample_weight_eval_set"] = [validation[2]]
        with training_errors_translated(self._estimator):
            self._estimator.fit(x, y, sample_weight=weights, verbose=False, **arguments)
        self._keep_best(self._estimator.get_booster())
        return self.evaluate(x, y, weights)


class BoosterTrainer(XGBoostTrainer):
    """A Booster; its attributes `num_boost_round` and `early_stopping_rounds` say how long it is trained."""

    def __init__(self, model: Any, width: int, classes: int) -> None:
        model.set_param("num_feature", width)  # without it, it can't even tell its own objective
        with training_errors_translated(model):
            learner = json.loads(model.save_config())["learner"]
        _check_trees(learner["gradient_booster"]["name"])
        objective = learner["objective"]["name"]
        if objective not in CLASSIFYING and not objective.startswith(OF_QUANTITIES):
            raise ModelError(f"the objective {objective} can't be served: {EXPECTED}")
        super().__init__(model, width, classes, objective in CLASSIFYING)
        outputs = int(learner["learner_model_param"]["num_class"])
        if self.classifies and max(outputs, 2) != classes:
            raise ModelError(
                f"the objective {objective} with num_class {outputs} does not fit labels of {classes} classes"
            )

    def fit_sample(
        self, x: FloatArray, y: FloatArray, weights: FloatArray | None, validation: Validation | None
    ) -> float:
        events = xgboost.DMatrix(x, y, weight=weights)
        others = None if validation is None else xgboost.DMatrix(validation[0], validation[1], weight=validation[2])
        patience = self._number("early_stopping_rounds", None)
        with training_errors_translated(self._estimator):
            trained = xgboost.train(
                {}, events, self._number("num_boost_round", ROUNDS),
                evals=[] if others is None else [(others, "validation")],
                early_stopping_rounds=patience, verbose_eval=False, xgb_model=self._estimator,
            )  # fmt: skip
        self._keep_best(trained)
        return self.evaluate(x, y, weights)

    def _small_copy(self) -> Any:
        copy = self._estimator.copy()
        copy.set_attr(num_boost_round="5")
        return copy

    def _number(self, attribute: str, default: int | None) -> int | None:
        given = self._estimator.attr(attribute)
        try:
            return default if given is None else int(given)
        except ValueError as error:
            raise ModelError(f"the booster's attribute {attribute} is {given!r}: expected a number") from error


def _check_trees(booster: str) -> None:
    if booster != TREES:
        raise ModelError(f"booster {booster!r} can't be served: expected {TREES!r}")
