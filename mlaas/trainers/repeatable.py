"""The same seed on the same machine gives the same weights."""

import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np


def make_repeatable(seed: int) -> None:
    """Seed Python, numpy and those frameworks that are loaded.

    Call it before the user's file is run, which may draw numbers, and again after it, when its frameworks are loaded.
    """
    random.seed(seed)
    np.random.seed(seed)
    for framework, seeded in SEEDED.items():
        if framework in sys.modules:
            seeded(seed)


def _keras(seed: int) -> None:
    with standard_error_held_back():
        import keras
        import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def _torch(seed: int) -> None:
    import torch

    torch.manual_seed(seed)  # those of its GPUs too


SEEDED: dict[str, Callable[[int], None]] = {"keras": _keras, "torch": _torch}


@contextmanager
def standard_error_held_back() -> Iterator[None]:
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
