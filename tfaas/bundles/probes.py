"""Random inputs on which a model is tried before it is published."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tfaas.bundles.manifest import Manifest
from tfaas.runtimes import Signature, TensorSpec

BATCH_SIZES = (1, 2, 7, 32)

SEED = 20180801


@dataclass(frozen=True)
class Tolerance:
    """How far answers may lie apart that should be equal: on random events, and on a bundle's reference events."""

    relative: float
    absolute: float
    reference: float

    def agree(self, expected: npt.NDArray[Any], got: npt.NDArray[Any]) -> bool:
        return expected.shape == got.shape and bool(
            np.allclose(got, expected, self.relative, self.absolute, equal_nan=True)
        )


TOLERANCES = {"float32": Tolerance(1e-4, 1e-5, 1e-5), "float16": Tolerance(1e-2, 1e-2, 1e-2)}


def random_inputs(signature: Signature, batch: int, manifest: Manifest) -> list[npt.NDArray[Any]]:
    """Arrays for every input: normal deviates for floats, 0 and 1 for everything else, remainders where they belong.

    Args:
        manifest: whether one float in ten is NaN, and which columns hold remainders.
    """
    generator = np.random.default_rng(SEED + batch)
    inputs = [_random(generator, spec, batch, manifest.accepts_missing) for spec in signature.inputs]
    start = 0
    for spec, values in zip(signature.inputs, inputs, strict=True):
        for column, modulo in manifest.moduli.items():
            if start <= column < start + spec.width:
                values.reshape(len(values), -1)[:, column - start] = generator.integers(0, modulo, len(values))
        start += spec.width
    return inputs


def _random(generator: np.random.Generator, spec: TensorSpec, batch: int, missing: bool) -> npt.NDArray[Any]:
    shape = (spec.batch or batch, *(size or 1 for size in spec.shape[1:]))
    if spec.dtype.startswith("float"):
        values = generator.normal(size=shape)
        return np.where(missing & (generator.random(shape) < 0.1), np.nan, values).astype(spec.dtype)
    return generator.integers(0, 2, size=shape).astype(spec.dtype)
