"""Whole epochs over the whole stream, validation after each, the test part once at the end."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlaas.dataset import EventData, Part
from mlaas.errors import ModelError
from mlaas.export import ReferenceEvents
from mlaas.metrics import auc
from mlaas.progress import progress_bar
from mlaas.trainers import FloatArray, Trainer

REFERENCE_EVENTS = 100


@dataclass(frozen=True)
class EpochResult:
    """Figures after one epoch; those of the validation part are None where it is empty."""

    epoch: int
    loss: float
    validation_loss: float | None
    validation_auc: float | None
    events_per_second: float


@dataclass(frozen=True)
class Evaluation:
    """Figures of one part."""

    events: int
    loss: float
    auc: float | None


def train(
    trainer: Trainer,
    dataset: EventData,
    epochs: int,
    batch_size: int,
    tell: Callable[[EpochResult], None],
) -> list[EpochResult]:
    """Train for all epochs and leave the trainer with the weights of the best validation loss.

    Raises:
        ModelError: the loss is no longer a number.
    """
    results: list[EpochResult] = []
    best, best_weights = np.inf, None
    for epoch in range(epochs):
        started = time.perf_counter()
        loss = _train_epoch(trainer, dataset, epoch, epochs, batch_size)
        rate = dataset.counts["train"] / (time.perf_counter() - started)
        if not np.isfinite(loss):
            raise ModelError(
                f"the loss is {loss} after epoch {epoch + 1}: expected a number; try a smaller learning rate"
            )
        validation = evaluate(trainer, dataset, "validation")
        result = EpochResult(
            epoch + 1,
            loss,
            validation.loss if validation else None,
            validation.auc if validation else None,
            rate,
        )
        results.append(result)
        tell(result)
        if validation is not None and validation.loss < best:
            best, best_weights = validation.loss, trainer.weights()
    if best_weights is not None:
        trainer.restore(best_weights)
    return results


def evaluate(trainer: Trainer, dataset: EventData, part: Part) -> Evaluation | None:
    """Loss and AUC of one part; None where it has no events."""
    losses, sizes = [], []
    outputs: list[FloatArray] = []
    truths: list[FloatArray] = []
    for chunk in dataset.chunks(part):
        losses.append(trainer.evaluate(chunk.x, targets(trainer, dataset, chunk.y), chunk.weights))
        sizes.append(len(chunk.y))
        outputs.append(trainer.predict(chunk.x))
        truths.append(chunk.y)
    if not sizes:
        return None
    loss, answers = float(np.average(losses, weights=sizes)), np.concatenate(outputs)
    if not np.isfinite(loss) or not np.isfinite(answers).all():
        raise ModelError(f"the model's answers to the {part} part are no numbers: try a smaller learning rate")
    area = None
    if dataset.classes and (trainer.classifies or len(dataset.classes) == 2):
        area = auc(_class_indices(dataset, np.concatenate(truths)), answers)
    return Evaluation(sum(sizes), loss, area)


def targets(trainer: Trainer, dataset: EventData, labels: FloatArray) -> FloatArray:
    """Labels as the loss wants them: the index of the class, or the label itself."""
    if not trainer.classifies or not dataset.classes:
        return labels
    return _class_indices(dataset, labels).astype(np.float32)


def _class_indices(dataset: EventData, labels: FloatArray) -> npt.NDArray[np.int64]:
    return np.searchsorted(np.asarray(dataset.classes, np.float32), labels)


def reference_events(trainer: Trainer, dataset: EventData) -> ReferenceEvents:
    """The first events of the test part (of the training part where that is empty), evenly from all files."""
    part: Part = "test" if dataset.counts["test"] else "train"
    raw, _ = next(iter(dataset.raw_chunks(part)))
    chosen = raw[np.linspace(0, len(raw) - 1, min(REFERENCE_EVENTS, len(raw))).astype(int)]
    x, _ = dataset.assembler.normalise(chosen)
    return ReferenceEvents(chosen, trainer.predict(x))


def _train_epoch(trainer: Trainer, dataset: EventData, epoch: int, epochs: int, batch_size: int) -> float:
    """Mean loss over the events of the training part."""
    losses, sizes, done = [], [], 0
    with progress_bar(f"epoch {epoch + 1}/{epochs}") as update:
        for chunk in dataset.chunks("train", epoch):
            losses.append(trainer.fit(chunk.x, targets(trainer, dataset, chunk.y), batch_size, chunk.weights))
            sizes.append(len(chunk.y))
            done += len(chunk.y)
            update(done, dataset.counts["train"])
    return float(np.average(losses, weights=sizes))
