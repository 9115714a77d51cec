"""One trainer a framework, behind one protocol."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mlaas.errors import ModelError

FloatArray = npt.NDArray[np.float32]


class Trainer(Protocol):
    """A model of the user that can be trained chunk by chunk."""

    framework: str
    classifies: bool
    """Whether the loss compares with the index of a class; with the label itself otherwise."""
    streams: bool
    """Whether it is trained chunk by chunk; on all events at once otherwise."""

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


def _keras(model: Any, width: int, classes: int) -> Trainer:
    from mlaas.trainers.keras import KerasTrainer

    return KerasTrainer(model, width, classes)


TRAINERS: dict[str, Callable[[Any, int, int], Trainer]] = {"keras": _keras}


def make_repeatable(seed: int) -> None:
    """Let the same seed on the same machine give the same weights; call it before the model is made."""
    with _standard_error_held_back():
        import keras
        import tensorflow as tf

    keras.utils.set_random_seed(seed)  # Python's and numpy's generators too
    tf.config.experimental.enable_op_determinism()


@contextmanager
def _standard_error_held_back() -> Iterator[None]:
    """Keep what TensorFlow's libraries write while they are loaded from burying our messages, unless it fails."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(terminal, held.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def make_trainer(model: Any, width: int, classes: int) -> Trainer:
    """The trainer for what the user's `model(idim)` has returned.

    Args:
        width: columns of a chunk.
        classes: how many classes the labels tell apart; 0 for a quantity.

    Raises:
        ModelError: of no framework that can be trained here, or it doesn't fit the data.
    """
    for base in type(model).__mro__:
        framework = base.__module__.partition(".")[0]
        if framework in TRAINERS:
            return TRAINERS[framework](model, width, classes)
    raise ModelError(
        f"model(idim) returned a {type(model).__module__}.{type(model).__qualname__}:"
        f" expected a compiled model of {', '.join(TRAINERS)}"
    )
