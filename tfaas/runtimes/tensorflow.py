"""TensorFlow itself, for the SavedModels that ONNX can't express."""

import contextlib
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import tensorflow

from tfaas.runtimes.signature import Signature, TensorSpec

SIGNATURE = "serving_default"
INPUT_ORDER = "tfaas_input_order.json"


class TensorFlowSession:
    """A SavedModel, given as the .tar that `pack_saved_model` writes."""

    steady = False

    def __init__(self, path: Path, threads: int) -> None:
        _limit_threads(threads)
        folder = tempfile.mkdtemp(prefix="tfaas-savedmodel-")
        try:
            with tarfile.open(path) as archive:
                archive.extractall(folder, filter="data")
            order = json.loads(Path(folder, INPUT_ORDER).read_bytes())
            self._model = tensorflow.saved_model.load(folder)
        finally:
            shutil.rmtree(folder)
        signatures = self._model.signatures
        if SIGNATURE not in signatures:
            raise ValueError(f"no signature {SIGNATURE!r}, only {', '.join(signatures) or 'none'}")
        self.function = signatures[SIGNATURE]
        inputs = self.function.structured_input_signature[1]
        outputs = self.function.structured_outputs
        self.signature = Signature(
            tuple(_spec(name, inputs[name]) for name in _ordered(inputs, order)),
            tuple(_spec(name, tensor) for name, tensor in sorted(outputs.items())),
        )

    def run(self, inputs: Sequence[npt.NDArray[Any]], outputs: Sequence[str]) -> list[npt.NDArray[Any]]:
        named = {
            spec.name: tensorflow.constant(array) for spec, array in zip(self.signature.inputs, inputs, strict=True)
        }
        results = self.function(**named)
        return [results[name].numpy() for name in outputs]


def pack_saved_model(folder: Path, order: Sequence[str], path: Path) -> None:
    """Write a SavedModel folder as one file.

    Args:
        order: the names of its inputs in their order, which a SavedModel does not keep; empty where nobody knows.
    """
    with tarfile.open(path, "w") as archive:
        for member in sorted(folder.iterdir()):
            archive.add(member, arcname=member.name)
        data = json.dumps(list(order)).encode()
        info = tarfile.TarInfo(INPUT_ORDER)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))


def _ordered(inputs: Mapping[str, Any], order: Sequence[str]) -> list[str]:
    """The names of the inputs in the order given, or in that of the alphabet where it names others."""
    return list(order) if sorted(order) == sorted(inputs) else sorted(inputs)


def _limit_threads(threads: int) -> None:
    """TensorFlow's pools are shared by all its models, and their size is fixed by the first one that runs."""
    with contextlib.suppress(RuntimeError):
        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(threads)


def _spec(name: str, tensor: Any) -> TensorSpec:
    if tensor.shape.rank is None:
        return TensorSpec(name, tensor.dtype.name, ())
    return TensorSpec(name, tensor.dtype.name, tuple(tensor.shape.as_list()))
