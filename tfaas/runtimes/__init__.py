"""One runtime a framework. A runtime is imported when the first model that needs it is loaded."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tfaas.runtimes.signature import FloatArray, Signature, TensorSpec

__all__ = ["RUNTIMES", "FloatArray", "Session", "Signature", "TensorSpec"]


class Session(Protocol):
    """A loaded model. `run` is called from several threads at once."""

    signature: Signature

    def run(self, inputs: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Arrays in the order of the signature's inputs → arrays in the order of its outputs."""
        ...


def _onnx(path: Path, threads: int) -> Session:
    from tfaas.runtimes.onnx import OnnxSession

    return OnnxSession(path, threads)


def _tensorflow(path: Path, threads: int) -> Session:
    from tfaas.runtimes.tensorflow import TensorFlowSession

    return TensorFlowSession(path, threads)


RUNTIMES: dict[str, Callable[[Path, int], Session]] = {"onnx": _onnx, "tensorflow": _tensorflow}


def predict(session: Session, events: FloatArray, output: int) -> FloatArray:
    """Run one batch.

    Args:
        events: (n, width) with n ≥ 1; columns are the inputs' numbers in the signature's order.
        output: index of the output to answer.

    Returns:
        (n, numbers an event) float32.
    """
    batch = session.signature.inputs[0].batch
    if batch is None:
        result = session.run(session.signature.split(events))[output]
    else:
        result = np.concatenate(
            [session.run(session.signature.split(part))[output] for part in _padded_parts(events, batch)]
        )[: len(events)]
    return np.ascontiguousarray(result.reshape(len(events), -1), dtype=np.float32)


def _padded_parts(events: FloatArray, batch: int) -> list[FloatArray]:
    """Pieces of exactly `batch` events for a model whose first dimension is fixed."""
    missing = -len(events) % batch
    padded = np.concatenate([events, np.repeat(events[-1:], missing, axis=0)])
    return [padded[start : start + batch] for start in range(0, len(padded), batch)]
