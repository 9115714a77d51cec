"""Training of Keras models, on TensorFlow."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from mlaas.errors import ModelError, one_line
from mlaas.trainers import FloatArray
from tfaas.bundles import function_to_onnx

PREDICTION_BATCH = 8192
# Parts of the names of losses that compare with a class; all others compare with the number that the label is.
CLASSIFYING = ("crossentropy", "hinge", "ctc")


class KerasTrainer:
    """A compiled Keras model."""

    framework = "keras"
    streams = True

    def __init__(self, model: Any, width: int, classes: int) -> None:
        if getattr(model, "loss", None) is None:
            raise ModelError("model(idim) returned a Keras model that is not compiled: expected model.compile(...)")
        self.model = model
        self._width = width
        outputs = self._build(width)
        loss = _loss_name(model.loss)
        self.classifies = any(part in loss for part in CLASSIFYING)
        self._one_hot = loss.startswith("categorical")
        self._classes = classes
        if self._one_hot and not classes:
            raise ModelError(f"the loss {loss} needs labels that are classes: these are quantities")
        if self.classifies and classes > outputs and (classes > 2 or self._one_hot):
            raise ModelError(f"the model has {outputs} outputs but the labels tell {classes} classes apart")
        self._forward = tf.function(
            lambda x: model(x, training=False), input_signature=[tf.TensorSpec((None, width), tf.float32)]
        )
        model.optimizer.build(model.trainable_variables)
        # In a chunk of small batches, Keras's own loop takes five times as long as the training: the batches of a
        # chunk are cut in the graph.
        self._train, self._test = self._steps(model.train_step), self._steps(model.test_step)

    def fit(self, x: FloatArray, y: FloatArray, batch_size: int, weights: FloatArray | None = None) -> float:
        return self._run(self._train, x, y, batch_size, weights)

    def evaluate(self, x: FloatArray, y: FloatArray, weights: FloatArray | None = None) -> float:
        return self._run(self._test, x, y, PREDICTION_BATCH, weights)

    def predict(self, x: FloatArray) -> FloatArray:
        blocks = [
            self._forward(tf.constant(x[start : start + PREDICTION_BATCH])).numpy()
            for start in range(0, len(x), PREDICTION_BATCH)
        ]
        return np.concatenate(blocks).reshape(len(x), -1).astype(np.float32)

    def state(self) -> bytes:
        buffer = io.BytesIO()
        np.savez(buffer, *[variable.numpy() for variable in self._variables()])
        return buffer.getvalue()

    def resume(self, state: bytes) -> None:
        with np.load(io.BytesIO(state), allow_pickle=False) as arrays:
            for variable, name in zip(self._variables(), arrays.files, strict=True):
                variable.assign(arrays[name])

    def save(self, path: Path) -> bool:
        try:
            self.model.save(path)
        except (NotImplementedError, TypeError, ValueError):
            return False  # a class of the user's own that does not say how it is built
        return True

    def export(self, path: Path) -> None:
        signature = tf.TensorSpec((None, self._width), tf.float32, name="normalised")
        network = tf.function(lambda normalised: {"output": self.model(normalised, training=False)})
        function_to_onnx(network.get_concrete_function(signature), path)

    def _build(self, width: int) -> int:
        """Make the weights if they aren't yet, and count the outputs of an event."""
        try:
            outputs = self.model(np.zeros((1, width), np.float32), training=False)
        except Exception as error:
            reason = one_line(str(error))[:300]
            raise ModelError(f"the model does not take the {width} columns of the data: {reason}") from error
        if not hasattr(outputs, "shape"):
            raise ModelError("the model has several outputs: expected one")
        return int(np.prod(outputs.shape[1:]))

    def _variables(self) -> list[Any]:
        """Weights, the generators of dropout and the like, and what the optimiser remembers."""
        return [*self.model.variables, *self.model.optimizer.variables]

    def _steps(self, step: Callable[[tuple[Any, ...]], dict[str, Any]]) -> Callable[..., Any]:
        """Steps over all batches of a chunk, as one function of tensors that gives their mean loss."""

        def steps(x: Any, y: Any, weights: Any, batch_size: int) -> Any:
            events = tf.shape(x)[0]
            loss = tf.constant(0.0)
            for start in tf.range(0, events, batch_size):
                rows = slice(start, tf.minimum(start + batch_size, events))
                batch = tf.ensure_shape(x[rows], (None, self._width)), y[rows]
                logs = step(batch if weights is None else (*batch, weights[rows]))
                loss = tf.cast(logs["loss"], tf.float32)
            return loss

        return steps if self.model.run_eagerly else tf.function(steps, reduce_retracing=True)

    def _targets(self, y: FloatArray) -> npt.NDArray[Any]:
        if self._one_hot:
            return np.eye(self._classes, dtype=np.float32)[y.astype(np.int64)]
        return y

    def _run(
        self, steps: Callable[..., Any], x: FloatArray, y: FloatArray, batch_size: int, weights: FloatArray | None
    ) -> float:
        self.model.reset_metrics()
        batch = (x, self._targets(y), weights)
        try:
            return float(steps(*(None if one is None else tf.constant(one) for one in batch), batch_size))
        except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
            # What is raised while the graph is made begins with the way there.
            reason = one_line(str(error).rpartition("Error: ")[2])[:300]
            raise ModelError(f"the model can't be trained on these labels: {reason}") from error


def _loss_name(loss: Any) -> str:
    """The kind of a loss in small letters, whether it is given by name, as a function or as an object."""
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    return str(name).lower().replace("_", "")
