"""One runtime a framework. A runtime is imported when the first model that needs it is loaded."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tfaas.runtimes.signature import FloatArray, Signature, TensorSpec

__all__ = ["RUNTIMES", "FloatArray", "Session", "Signature", "TensorSpec"]


class Session(Protocol):
    """A loaded model. `run` is called from several threads at once."""

    signature: Signature
    steady: bool
    """Whether the time of a run depends on nothing but the number of events."""

    def run(self, inputs: Sequence[npt.NDArray[Any]], outputs: Sequence[str]) -> list[npt.NDArray[Any]]:
        """Arrays in the order of the signature's inputs → the outputs of these names."""
        ...


def _onnx(path: Path, threads: int, provider: str = "cpu") -> Session:
    from tfaas.runtimes.onnx import OnnxSession

    return OnnxSession(path, threads, provider)


def _tensorflow(path: Path, threads: int, provider: str = "cpu") -> Session:
    from tfaas.runtimes.tensorflow import TensorFlowSession

    return TensorFlowSession(path, threads)


class OpenSession(Protocol):
    """How a runtime opens a served file: with so many threads, on `cpu` or, where there is one, on `cuda`."""

    def __call__(self, path: Path, threads: int, provider: str = "cpu") -> Session: ...


RUNTIMES: dict[str, OpenSession] = {"onnx": _onnx, "tensorflow": _tensorflow}


def predict(session: Session, events: FloatArray, outputs: Sequence[str]) -> list[FloatArray]:
    """Run one batch.

    Args:
        events: (n, width) with n ≥ 1; columns are the inputs' numbers in the signature's order.
        outputs: names of the outputs to answer.

    Returns:
        For each output (n, numbers an event) float32.
    """
    batch = session.signature.inputs[0].batch
    if batch is None:
        results = session.run(session.signature.split(events), outputs)
    else:
        parts = [session.run(session.signature.split(part), outputs) for part in _padded_parts(events, batch)]
        results = [np.concatenate(result)[: len(events)] for result in zip(*parts, strict=True)]
    return _as_answers(results, outputs, len(events))


def predictor(session: Session, outputs: Sequence[str]) -> Callable[[FloatArray], list[FloatArray]]:
    """`predict` with all that can be known before the first event is known."""
    spec, wanted = session.signature.inputs[0], list(outputs)
    if len(session.signature.inputs) > 1 or spec.batch is not None or len(spec.shape) != 2 or spec.dtype != "float32":
        return partial(predict, session, outputs=wanted)

    def run(events: FloatArray) -> list[FloatArray]:
        results = session.run([events], wanted)
        for result in results:
            if result.ndim != 2 or result.shape[0] != events.shape[0] or result.dtype != np.float32:
                return _as_answers(results, wanted, len(events))
        return results

    return run


def _as_answers(results: Sequence[npt.NDArray[Any]], outputs: Sequence[str], events: int) -> list[FloatArray]:
    """Results as float32 of shape (events, numbers); raises ValueError for one that is no answer to each event."""
    for name, result in zip(outputs, results, strict=True):
        if result.ndim == 0 or len(result) != events:
            raise ValueError(f"output {name!r} of shape {result.shape} is no answer to each of {events} events")
    return [np.ascontiguousarray(result.reshape(events, -1), dtype=np.float32) for result in results]


def _padded_parts(events: FloatArray, batch: int) -> list[FloatArray]:
    """Pieces of exactly `batch` events for a model whose first dimension is fixed."""
    missing = -len(events) % batch
    padded = np.concatenate([events, np.repeat(events[-1:], missing, axis=0)])
    return [padded[start : start + batch] for start in range(0, len(padded), batch)]
