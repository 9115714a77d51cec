"""What a model takes and gives: names, dtypes and shapes of its tensors."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor; `None` in the shape is a dimension that may vary, the first one counts events."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    @property
    def batch(self) -> int | None:
        return self.shape[0]

    @property
    def is_numeric(self) -> bool:
        """Whether it holds numbers, and not text, maps or sequences."""
        try:
            return np.dtype(self.dtype).kind in "fiub"
        except TypeError:
            return False

    @property
    def width(self) -> int:
        """Numbers in one event."""
        return prod(size or 0 for size in self.shape[1:])


@dataclass(frozen=True, slots=True)
class Signature:
    """Ordered inputs and outputs."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def width(self) -> int:
        """Numbers in one event over all inputs, in their order."""
        return sum(spec.width for spec in self.inputs)

    def output(self, name: str) -> TensorSpec:
        """The output called `name`, else the first one of floating point, else the first.

        A manifest may name a node of the TensorFlow graph instead, of which a signature knows nothing.
        """
        named = [spec for spec in self.outputs if spec.name == name]
        floating = [spec for spec in self.outputs if spec.dtype.startswith("float")]
        return [*named, *floating, *self.outputs][0]

    def split(self, events: FloatArray) -> list[npt.NDArray[Any]]:
        """A matrix (events, width) as one array for each input, in its shape and dtype."""
        if len(self.inputs) == 1 and len(self.inputs[0].shape) == 2 and self.inputs[0].dtype == "float32":
            return [events]
        arrays, start = [], 0
        for spec in self.inputs:
            block = events[:, start : start + spec.width]
            shape = (len(events), *(size or 0 for size in spec.shape[1:]))
            arrays.append(np.ascontiguousarray(block.reshape(shape), dtype=spec.dtype))
            start += spec.width
        return arrays
