"""Training of PyTorch modules."""

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxscript  # noqa: F401 - torch.onnx needs it, and says so only after the training
import torch

from mlaas.errors import ModelError, one_line
from mlaas.trainers import FloatArray
from mlaas.trainers.torch_losses import Loss

PREDICTION_BATCH = 8192


def leave_triton_out() -> None:
    """Call it before `torch.export` is used: where TensorFlow is loaded, PyTorch then does without Triton.

    Each brings an LLVM of its own, and the process crashes when Triton's is loaded second, as in a notebook that has
    trained a Keras model. Only `torch.compile` needs it.
    """
    if "tensorflow" in sys.modules:
        sys.modules.setdefault("triton", None)  # type: ignore[arg-type]


class TorchTrainer:
    """A module with optional attributes `loss` and `optimizer`; see docs/frameworks.md."""

    framework = "torch"
    streams = True

    def __init__(self, network: torch.nn.Module, width: int, classes: int) -> None:
        self._width = width
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = network.to(self._device)
        loss, optimizer = getattr(network, "loss", None), getattr(network, "optimizer", None)
        if isinstance(network, torch.nn.Sequential) and isinstance(loss, torch.nn.Module):
            del network.loss  # or it would be the last layer
        self._loss = Loss(loss, network, self._outputs(), classes)
        self._loss.to(self._device)
        self.classifies = self._loss.kind.classifies
        self._served = _Served(network, self._loss, classes)
        self._optimizer = _optimizer(network, optimizer)

    def fit(self, x: FloatArray, y: FloatArray, batch_size: int, weights: FloatArray | None = None) -> float:
        self._network.train()
        total = torch.zeros((), device=self._device)
        for rows in _batches(len(x), batch_size):
            self._optimizer.zero_grad()
            loss = self._mean_loss(x[rows], y[rows], None if weights is None else weights[rows])
            loss.backward()
            self._optimizer.step()
            total += loss.detach() * len(x[rows])
        return float(total) / len(x)

    def evaluate(self, x: FloatArray, y: FloatArray, weights: FloatArray | None = None) -> float:
        self._network.eval()
        total = torch.zeros((), device=self._device)
        with torch.no_grad():
            for rows in _batches(len(x), PREDICTION_BATCH):
                loss = self._mean_loss(x[rows], y[rows], None if weights is None else weights[rows])
                total += loss.detach() * len(x[rows])
        return float(total) / len(x)

    def predict(self, x: FloatArray) -> FloatArray:
        self._network.eval()
        with torch.no_grad():
            blocks = [self._served(self._tensor(x[rows])).cpu().numpy() for rows in _batches(len(x), PREDICTION_BATCH)]
        return np.concatenate(blocks).astype(np.float32)

    def state(self) -> bytes:
        buffer = io.BytesIO()
        state = {
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            # Dropout and the like draw from these.
            "generator": torch.get_rng_state(),
            "generators": torch.cuda.get_rng_state_all(),
        }
        torch.save(state, buffer)
        return buffer.getvalue()

    def resume(self, state: bytes) -> None:
        parts = torch.load(io.BytesIO(state), map_location="cpu", weights_only=True)
        self._network.load_state_dict(parts["network"])
        self._optimizer.load_state_dict(parts["optimizer"])
        torch.set_rng_state(parts["generator"])
        if len(parts["generators"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(parts["generators"])

    def save(self, path: Path) -> bool:
        with self._program() as program:
            torch.export.save(program, path)
        return True

    def export(self, path: Path) -> None:
        with self._program() as program:
            exported = torch.onnx.export(
                program, input_names=["normalised"], output_names=["output"], dynamo=True, verbose=False
            )
        model = exported.model_proto
        for tensor in (model.graph.input[0], model.graph.output[0]):
            tensor.type.tensor_type.shape.dim[0].dim_param = "events"
        onnx.save(model, str(path))

    @contextmanager
    def _program(self) -> Iterator[torch.export.ExportedProgram]:
        """What is served, as a graph of any number of events, on the processor."""
        leave_triton_out()
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells which other packages are not there
        self._served.eval().to("cpu")
        try:
            example = torch.zeros(3, self._width)
            yield torch.export.export(
                self._served, (example,), dynamic_shapes=({0: torch.export.Dim("events", min=1)},)
            )
        finally:
            self._served.to(self._device)

    def _mean_loss(self, x: FloatArray, y: FloatArray, weights: FloatArray | None) -> torch.Tensor:
        outputs = self._network(self._tensor(x)).reshape(len(x), -1)
        try:
            return self._loss(outputs, self._tensor(y), None if weights is None else self._tensor(weights))
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            reason = one_line(str(error))[:300]
            raise ModelError(f"the model can't be trained on these labels with {self._loss.name}: {reason}") from error

    def _tensor(self, values: FloatArray) -> torch.Tensor:
        return torch.from_numpy(values).to(self._device)

    def _outputs(self) -> int:
        """How many numbers the network gives for an event; makes the layers that wait for their width."""
        self._network.eval()
        try:
            with torch.no_grad():
                outputs = self._network(torch.zeros(2, self._width, device=self._device))
        except Exception as error:
            reason = one_line(str(error))[:300]
            raise ModelError(f"the model does not take the {self._width} columns of the data: {reason}") from error
        if not isinstance(outputs, torch.Tensor):
            raise ModelError("the model has several outputs: expected one")
        if outputs.ndim == 0 or len(outputs) != 2:
            raise ModelError(f"the model answers 2 events with the shape {tuple(outputs.shape)}: expected (2, outputs)")
        return int(outputs.numel()) // 2


class _Served(torch.nn.Module):  # type: ignore[misc,unused-ignore]
    """The network with what makes probabilities of its outputs: (n, 1) for two classes and for quantities."""

    def __init__(self, network: torch.nn.Module, loss: Loss, classes: int) -> None:
        super().__init__()
        self.network = network
        self._activation = loss.kind.activation
        self._second_only = loss.kind.by_index and classes == 2

    def forward(self, normalised: torch.Tensor) -> torch.Tensor:
        answers = self._activation(self.network(normalised).reshape(normalised.shape[0], -1))
        return answers[:, 1:] if self._second_only else answers


def _batches(events: int, batch_size: int) -> Iterator[slice]:
    """Batches of a chunk; a last one of a single event, of which no variance can be taken, joins the one before it."""
    start = 0
    while start < events:
        stop = min(start + batch_size, events)
        if events - stop <= 1 < batch_size:
            stop = events
        yield slice(start, stop)
        start = stop


def _optimizer(network: torch.nn.Module, given: Any) -> Any:
    if given is None:
        given = torch.optim.Adam
    if not isinstance(given, torch.optim.Optimizer):
        if not callable(given):
            raise ModelError(
                f"the attribute optimizer of the model is a {type(given).__name__}: expected an optimiser, or a"
                " function that makes one of parameters"
            )
        try:
            given = given(network.parameters())
        except Exception as error:
            raise ModelError(f"the optimizer of the model can't be made: {one_line(str(error))[:300]}") from error
    steps = {id(one) for group in getattr(given, "param_groups", []) for one in group["params"]}
    if not steps & {id(one) for one in network.parameters()}:
        raise ModelError("the optimizer of the model has none of the model's parameters: expected model.parameters()")
    return given
