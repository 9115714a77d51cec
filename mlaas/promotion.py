"""Whether an alias moves to a new version: it has to beat another one on the same test part."""

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlaas.dataset import EventData
from mlaas.errors import DataError, ParameterError, listing
from mlaas.features import Feature
from mlaas.metrics import auc
from mlaas.publish import existing
from mlaas.scoring.registry import open_scorer
from mlaas.training import Evaluation, class_indices
from tfaas.bundles import InvalidRequest
from tfaas.registry import check_name

FloatArray = NDArray[np.float32]
SIGNS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip
METRICS = ("auc", "accuracy", "mse")
CONDITION = re.compile(r"\s*(\w+)\s*(>=|<=|>|<)\s*(\S+)\s*")


@dataclass(frozen=True)
class Condition:
    """Such as ``auc > production``: a metric on the test part, and the alias or the number that it is compared with."""

    metric: str
    sign: str
    rival: str | float

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Raises ParameterError for what is no condition."""
        found = CONDITION.fullmatch(text)
        if found is None or found[1] not in METRICS:
            raise ParameterError(
                f"--promote-if {text!r}: expected one of {', '.join(METRICS)}, a sign, and an alias or a number,"
                " such as 'auc > production'"
            )
        number = _number(found[3])
        if number is not None:
            if not math.isfinite(number):
                raise ParameterError(f"--promote-if {text!r}: expected an alias or a finite number")
            return cls(found[1], found[2], number)
        try:
            return cls(found[1], found[2], check_name(found[3], "alias"))
        except InvalidRequest as error:
            raise ParameterError(f"--promote-if {text!r}: {error}") from error

    def holds(self, name: str, registry: str, dataset: EventData, test: Evaluation | None) -> tuple[bool, str]:
        """Whether the new model fulfils it, and why.

        Args:
            name: Of the model in ``registry``, a database or server URL.
            test: The new model's answers to the test part of ``dataset``.

        Raises:
            MlaasError: The two can't be compared.
        """
        if test is None:
            raise DataError("--promote-if: the test part has no event")
        ours = _metric(self.metric, dataset, test.truth, test.outputs, test.weights)
        if isinstance(self.rival, float):
            what, theirs = f"{self.rival:g}", self.rival
        else:
            number = existing(registry, name).aliases.get(self.rival)
            if number is None:
                return True, f"{self.metric} {ours:.4f}, and there is no {name}@{self.rival} to beat"
            what = f"{name}@{self.rival}, version {number}"
            outputs = answers(f"{name}:{number}", registry, dataset)
            theirs = _metric(self.metric, dataset, test.truth, outputs, test.weights)
        holds = SIGNS[self.sign](ours, theirs)
        verdict = "is" if holds else "is not"
        return holds, f"{self.metric} {ours:.4f} {verdict} {self.sign} {theirs:.4f} of {what}, on the same test part"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def answers(reference: str, registry: str, dataset: EventData) -> FloatArray:
    """What a published model says about the test part of ``dataset``, in its order: float32 (n, outputs).

    Raises:
        MlaasError: The model is not there, or takes features that the dataset does not have.
    """
    scorer = open_scorer(reference, registry)
    try:
        places = _places(scorer.model.features, dataset, reference)
        found = []
        for raw, _ in dataset.raw_chunks("test"):
            # The last column stands for the objects that no event here has.
            wide = np.concatenate([raw, np.full((len(raw), 1), np.nan, np.float32)], axis=1)
            found.append(scorer.predict(wide[:, places])[0])
    finally:
        scorer.close()
    return np.concatenate(found)


def _places(features: tuple[Feature, ...], dataset: EventData, reference: str) -> list[int]:
    """The column of the dataset for each column of a model with ``features``."""
    columns = {name: place for place, name in enumerate(dataset.columns)}
    known = {feature.name: (feature.kind, feature.categories) for feature in dataset.features}
    foreign = [one.name for one in features if known.get(one.name) != (one.kind, one.categories)]
    if foreign:
        raise DataError(
            f"{reference} takes {listing(foreign, 5)}, which this training does not use, or not in the same form"
        )
    places = []
    for feature in features:
        if feature.kind == "flat":
            places.append(columns[feature.name])
        else:
            names = (f"{feature.name}[{position}]" for position in range(feature.dimension))
            places += [columns.get(name, len(columns)) for name in names]
    return places


def _metric(
    metric: str, dataset: EventData, truth: FloatArray, outputs: FloatArray, weights: FloatArray | None
) -> float:
    if metric == "mse":
        return float(np.average((outputs[:, 0] - truth) ** 2, weights=weights))
    if not dataset.classes:
        raise DataError(f"--promote-if: {metric} needs classes, and the label is a quantity; expected mse")
    indices = class_indices(dataset, truth)
    if metric == "accuracy":
        guessed = outputs.argmax(axis=1) if outputs.shape[1] > 1 else outputs[:, 0] > 0.5
        return float(np.average(guessed == indices, weights=weights))
    area = auc(indices, outputs, weights)
    if area is None:
        raise DataError("--promote-if: the test part has too few classes for an AUC")
    return area
