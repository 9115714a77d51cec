"""What models with the interface of scikit-learn have in common."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from mlaas.errors import ModelError, one_line
from mlaas.trainers import FloatArray, Validation
from mlaas.trainers.losses import mean_loss

TRIAL_EVENTS = 1000
TRIAL_TREES = 10


class EstimatorTrainer(ABC):
    """A model that fits all events at once; subclasses say how.

    Args:
        estimator: With `get_params` and `set_params`.
        classifies: Whether it is a classifier.
    """

    framework: str
    streams = False

    def __init__(self, estimator: Any, width: int, classes: int, classifies: bool) -> None:
        if classifies and not classes:
            raise ModelError(f"{type(estimator).__name__} needs labels that are classes: these are quantities")
        self.classifies = classifies
        self._estimator = estimator
        self._width = width
        self._classes = classes
        if hasattr(estimator, "get_params"):
            _settle_random_states(estimator)

    @abstractmethod
    def fit_sample(
        self, x: FloatArray, y: FloatArray, weights: FloatArray | None, validation: Validation | None
    ) -> float: ...

    @abstractmethod
    def predict(self, x: FloatArray) -> FloatArray: ...

    @abstractmethod
    def state(self) -> bytes: ...

    @abstractmethod
    def resume(self, state: bytes) -> None: ...

    @abstractmethod
    def save(self, path: Path) -> bool: ...

    @abstractmethod
    def export(self, path: Path) -> None: ...

    def fit(self, x: FloatArray, y: FloatArray, batch_size: int, weights: FloatArray | None = None) -> float:
        return self.fit_sample(x, y, weights, None)

    def evaluate(self, x: FloatArray, y: FloatArray, weights: FloatArray | None = None) -> float:
        return mean_loss(self.predict(x), y, weights, self.classifies)

    def trial(self) -> Self:
        # Subclasses find out by themselves whether an estimator is a classifier.
        trial = type(self)(self._small_copy(), self._width, self._classes)  # type: ignore[call-arg]
        x, y = trial_events(self._width, self._classes if self.classifies else 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are about made-up events
            trial.fit_sample(x, y, None, (x, y, None))
        return trial

    def _small_copy(self) -> Any:
        """The same model not trained, with few trees."""
        small = clone(self._estimator)
        for name, value in small.get_params(deep=True).items():
            if name.endswith("n_estimators") and isinstance(value, int) and value > TRIAL_TREES:
                small.set_params(**{name: TRIAL_TREES})
        return small

    def _served(self, answers: npt.NDArray[Any]) -> FloatArray:
        """Answers as they are served: (n, 1) for two classes and for quantities, else (n, classes)."""
        answers = answers.reshape(len(answers), -1)
        if self._served_classes == 2 and answers.shape[1] == 2:
            answers = answers[:, 1:]
        return np.ascontiguousarray(answers, np.float32)

    @property
    def _served_classes(self) -> int:
        """Classes that the answers tell apart; 0 for a quantity."""
        return self._classes if self.classifies else 0


def trial_events(width: int, classes: int) -> tuple[FloatArray, FloatArray]:
    """Made-up events, as (n, width) and (n,), with zeros among the values, as absent objects give."""
    generator = np.random.default_rng(0)
    x = generator.random((TRIAL_EVENTS, width), dtype=np.float32)
    x[generator.random(x.shape) < 0.2] = 0
    y = np.arange(TRIAL_EVENTS) % classes if classes else 1 + x.mean(axis=1)
    return x, y.astype(np.float32)


@contextmanager
def training_errors_translated(estimator: Any) -> Iterator[None]:
    """Turn what a framework raises for a model or events that it can't use into a ModelError."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        reason = one_line(str(error).partition("Stack trace")[0])[:300]
        raise ModelError(f"{type(estimator).__name__} can't be trained on these events: {reason}") from error


def refuse_own_objective(estimator: Any) -> None:
    """Raise ModelError where the objective is a function: what such a model answers is no probability."""
    if callable(estimator.get_params().get("objective")):
        raise ModelError(f"the objective of {type(estimator).__name__} is a function: expected one of its own by name")


def _settle_random_states(estimator: Any) -> None:
    """Let what would draw from the common generator draw from one of its own, so that training can be resumed."""
    for name, value in estimator.get_params(deep=True).items():
        if value is None and (name == "random_state" or name.endswith("__random_state")):
            estimator.set_params(**{name: int(np.random.randint(2**31 - 1))})
