"""ONNX Runtime, the engine that serves wherever it can."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnxruntime

from tfaas.runtimes.operators import operators
from tfaas.runtimes.signature import Signature, TensorSpec

DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int16)": "int16",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}
ERRORS_ONLY = 3
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

log = logging.getLogger(__name__)
# Operators that run others any number of times, and operators that make tensors as large as a number in the data says.
UNSTEADY = {
    *("If", "Loop", "Scan", "SequenceMap", "Range", "ConstantOfShape", "Expand", "Tile", "Pad", "Resize"),
    *("Upsample", "OneHot", "EyeLike", "RandomUniform", "RandomNormal", "Multinomial", "NonMaxSuppression"),
}


class OnnxSession:
    """One `InferenceSession`, which is safe to run from several threads."""

    def __init__(self, path: Path, threads: int, provider: str = "cpu") -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = ERRORS_ONLY
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(str(path), sess_options=options, providers=_providers(provider))
        self.signature = Signature(
            tuple(_spec(argument) for argument in self._session.get_inputs()),
            tuple(_spec(argument) for argument in self._session.get_outputs()),
        )
        self.steady = _is_steady(path)
        self._names = [spec.name for spec in self.signature.inputs]
        # Below the checks of the Python class, which repeat ours, and with options that are not made anew for each run:
        # both together are half the time of a small network.
        self._run = getattr(self._session, "_sess", self._session).run
        self._options = onnxruntime.RunOptions()

    def run(self, inputs: Sequence[npt.NDArray[Any]], outputs: Sequence[str]) -> list[npt.NDArray[Any]]:
        results: list[npt.NDArray[Any]] = self._run(outputs, dict(zip(self._names, inputs, strict=True)), self._options)
        return results


def _providers(wanted: str) -> list[str]:
    """ONNX Runtime's names, best first; the CPU serves where the device that is asked for is not there."""
    name = PROVIDERS[wanted]
    if name not in onnxruntime.get_available_providers():
        log.warning("%s is not available to ONNX Runtime here, the CPU serves instead", name)
        return [PROVIDERS["cpu"]]
    return list(dict.fromkeys((name, PROVIDERS["cpu"])))


def _is_steady(path: Path) -> bool:
    """Whether the data can't decide how long a run takes."""
    try:
        return not operators(path) & UNSTEADY
    except ValueError:  # ONNX Runtime's own format, which it reads as well
        return False


def _spec(argument: Any) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) and size > 0 else None for size in argument.shape or ())
    return TensorSpec(argument.name, DTYPES.get(argument.type, argument.type), shape)
