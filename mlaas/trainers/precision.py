"""Training in fewer bits than what is served."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlaas.errors import ParameterError
from mlaas.trainers import Trainer

FULL_PRECISION = "float32"


@contextmanager
def in_precision(policy: str, served: Trainer) -> Iterator[None]:
    """Let Keras layers that are made compute by a policy such as `mixed_bfloat16`; their weights stay float32.

    Args:
        served: the same model in full precision.

    Raises:
        ParameterError: it is not a Keras model.
    """
    if served.framework != "keras":
        raise ParameterError(f"precision {policy} is for Keras models: expected float32 for {served.framework}")
    import keras

    keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(FULL_PRECISION)


def copy_weights(trained: Any, served: Any) -> None:
    """Give one Keras trainer the weights of another for the same model."""
    served.model.set_weights(trained.model.get_weights())
