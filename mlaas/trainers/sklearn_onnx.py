"""scikit-learn estimators as ONNX."""

from typing import Any

import numpy as np
from skl2onnx import convert_sklearn, update_registered_converter
from skl2onnx.common.data_types import FloatTensorType
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)
from skl2onnx.operator_converters.random_forest import (
    convert_sklearn_random_forest_classifier,
    convert_sklearn_random_forest_regressor_converter,
)
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.preprocessing import MaxAbsScaler, RobustScaler, StandardScaler

from mlaas.trainers.graphs import OPSETS, one_output
from mlaas.trainers.thresholds import not_above

# Scalers in a pipeline round as scikit-learn does; a last digit that differs can lie across the threshold of a tree.
ROUNDED_ALIKE = {StandardScaler: {"div": "div"}, MaxAbsScaler: {"div": "div"}, RobustScaler: {"div": "div_cast"}}


def estimator_to_onnx(estimator: Any, width: int, classes: int) -> bytes:
    """A fitted estimator from `normalised` (n, width) to `output`; see :func:`mlaas.trainers.graphs.one_output`."""
    _mend_converters()
    model = convert_sklearn(
        estimator,
        initial_types=[("normalised", FloatTensorType([None, width]))],
        options={**ROUNDED_ALIKE, **({id(estimator): {"zipmap": False}} if classes else {})},
        target_opset=OPSETS,
    )
    return bytes(one_output(model, classes).SerializeToString())


def _mend_converters() -> None:
    """Let skl2onnx convert boosting on histograms.

    Version 1.20 gives ONNX truth values where integers are expected, which protobuf 7 refuses, and rounds the
    thresholds of the trees to the nearest float32, where a value between the two would go to the other side.
    """
    update_registered_converter(
        HistGradientBoostingClassifier,
        "SklearnHistGradientBoostingClassifier",
        calculate_linear_classifier_output_shapes,
        lambda scope, operator, container: convert_sklearn_random_forest_classifier(
            scope, operator, _TreeContainer(container, operator.raw_operator)
        ),
        options={"zipmap": [True, False, "columns"], "raw_scores": [True, False], "nocl": [True, False]},
    )
    update_registered_converter(
        HistGradientBoostingRegressor,
        "SklearnHistGradientBoostingRegressor",
        calculate_linear_regressor_output_shapes,
        lambda scope, operator, container: convert_sklearn_random_forest_regressor_converter(
            scope, operator, _TreeContainer(container, operator.raw_operator)
        ),
    )


class _TreeContainer:
    """What the converter of a boosted ensemble adds its node to, with the attributes put right."""

    def __init__(self, container: Any, ensemble: Any) -> None:
        self._container = container
        self._nodes = np.concatenate([tree.nodes for trees in ensemble._predictors for tree in trees])

    def add_node(self, *arguments: Any, **attributes: Any) -> None:
        tracks = attributes["nodes_missing_value_tracks_true"]
        attributes["nodes_missing_value_tracks_true"] = [int(one) for one in tracks]
        thresholds = np.where(self._nodes["is_leaf"], 0.0, self._nodes["num_threshold"])
        attributes["nodes_values"] = not_above(thresholds)
        self._container.add_node(*arguments, **attributes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)
