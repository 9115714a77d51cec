"""One trainer a framework, behind one protocol."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np
import numpy.typing as npt

from mlaas.errors import ModelError

FloatArray = npt.NDArray[np.float32]
Validation = tuple[FloatArray, FloatArray, FloatArray | None]
"""Events (n, width), labels (n,) and weights (n,)."""


class Trainer(Protocol):
    """A model of the user that can be trained chunk by chunk."""

    framework: str
    classifies: bool
    """Whether the loss compares with the index of a class; with the label itself otherwise."""
    streams: bool
    """Whether `fit` is called for each chunk of each epoch; else all events are needed at once, for `fit_sample`."""

    def fit(self, x: FloatArray, y: FloatArray, batch_size: int, weights: FloatArray | None = None) -> float:
        """One pass over a chunk: (n, width), (n,) and the weights (n,) of its events → mean loss."""
        ...

    def evaluate(self, x: FloatArray, y: FloatArray, weights: FloatArray | None = None) -> float:
        """Mean loss on (n, width) and (n,) with the weights (n,) of the events, without training."""
        ...

    def predict(self, x: FloatArray) -> FloatArray:
        """(n, width) normalised → (n, outputs)."""
        ...

    def state(self) -> bytes:
        """All that training goes on from: weights, optimiser, generators of random numbers."""
        ...

    def resume(self, state: bytes) -> None:
        """Go back to a state; the same chunks then give the same weights as they gave from there."""
        ...

    def save(self, path: Path) -> bool:
        """Write the model in the framework's own format; False where the framework can't."""
        ...

    def export(self, path: Path) -> None:
        """Write ONNX from `normalised` (n, width) to `output` (n, outputs)."""
        ...


class SampleTrainer(Trainer, Protocol):
    """A model that needs all its events at once."""

    def fit_sample(
        self, x: FloatArray, y: FloatArray, weights: FloatArray | None, validation: Validation | None
    ) -> float:
        """Train on (n, width), (n,) and weights (n,) → mean loss; `validation` is for early stopping."""
        ...


def is_sample_trainer(trainer: Trainer) -> TypeGuard[SampleTrainer]:
    """Whether it is fitted by `fit_sample`."""
    return not trainer.streams


@runtime_checkable
class Unfitted(Protocol):
    """A trainer whose model takes its form only when it is fitted."""

    def trial(self) -> Trainer:
        """The same model fitted to a few made-up events; this one stays as it is.

        Raises:
            ModelError: it can't be fitted.
        """
        ...


class Make(Protocol):
    """Makes the trainer of what `model(idim)` has returned, for the columns and classes of the data."""

    def __call__(self, model: Any, width: int, classes: int) -> Trainer: ...


@dataclass(frozen=True)
class Framework:
    """How models of one framework are trained and saved.

    Attributes:
        make: Makes a trainer; raises ImportError where a package is absent.
        suffix: Of files in the framework's own format.
        bundled: Whether such a file goes into the bundle; it must not run code when it is loaded.
        extra: What of this package to install for it; None for what is always there.
    """

    make: Make
    suffix: str
    bundled: bool = True
    extra: str | None = None


def _keras(model: Any, width: int, classes: int) -> Trainer:
    from mlaas.trainers.keras import KerasTrainer

    return KerasTrainer(model, width, classes)


def _torch(model: Any, width: int, classes: int) -> Trainer:
    from mlaas.trainers.torch import TorchTrainer

    return TorchTrainer(model, width, classes)


def _sklearn(model: Any, width: int, classes: int) -> Trainer:
    from mlaas.trainers.sklearn import make_sklearn_trainer

    return make_sklearn_trainer(model, width, classes)


def _xgboost(model: Any, width: int, classes: int) -> Trainer:
    from mlaas.trainers.xgboost import make_xgboost_trainer

    return make_xgboost_trainer(model, width, classes)


def _lightgbm(model: Any, width: int, classes: int) -> Trainer:
    from mlaas.trainers.lightgbm import LightGBMTrainer

    return LightGBMTrainer(model, width, classes)


TRAINERS: dict[str, Framework] = {
    "keras": Framework(_keras, ".keras"),
    "torch": Framework(_torch, ".pt2", extra="torch"),
    "sklearn": Framework(_sklearn, ".joblib", bundled=False, extra="sklearn"),
    "xgboost": Framework(_xgboost, ".ubj", extra="xgboost"),
    "lightgbm": Framework(_lightgbm, ".txt", extra="lightgbm"),
}


def make_trainer(model: Any, width: int, classes: int) -> Trainer:
    """The trainer for what the user's `model(idim)` has returned.

    Args:
        width: columns of a chunk.
        classes: how many classes the labels tell apart; 0 for a quantity.

    Raises:
        ModelError: of no framework that can be trained here, or it doesn't fit the data.
    """
    for base in type(model).__mro__:
        name = base.__module__.partition(".")[0]
        if name in TRAINERS:
            return _made(name, model, width, classes)
    raise ModelError(
        f"model(idim) returned a {type(model).__module__}.{type(model).__qualname__}:"
        f" expected a compiled model of keras, or a model of {', '.join(name for name in TRAINERS if name != 'keras')}"
    )


def _made(name: str, model: Any, width: int, classes: int) -> Trainer:
    framework = TRAINERS[name]
    try:
        return framework.make(model, width, classes)
    except ImportError as error:
        if framework.extra is None:
            raise
        raise ModelError(
            f"a model of {name} needs {error.name}, which is not installed: pip install 'hep-mlaas[{framework.extra}]'"
        ) from error
