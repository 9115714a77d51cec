"""Whole epochs over the whole stream, validation after each, the test part once at the end."""

import io
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlaas.checkpoint import Checkpoint, EpochResult, best_epoch
from mlaas.dataset import EventData, Part
from mlaas.dataset.chunks import Chunk
from mlaas.errors import ModelError
from mlaas.export import ReferenceEvents
from mlaas.interrupts import Interrupted, stop_requests
from mlaas.metrics import auc
from mlaas.params import TrainParams
from mlaas.progress import progress_bar
from mlaas.trainers import FloatArray, Trainer
from mlaas.wholefile import write_whole

REFERENCE_EVENTS = 100
CHECKPOINT_SECONDS = 300.0


@dataclass(frozen=True)
class Evaluation:
    """Figures of one part.

    Attributes:
        truth: float32 (events,), labels. outputs: float32 (events, outputs). weights: float32 (events,), None for ones.
    """

    events: int
    loss: float
    auc: float | None
    truth: FloatArray
    outputs: FloatArray
    weights: FloatArray | None

    def save(self, path: Path) -> None:
        """Write the answers as .npz, whole or not at all; raises MlaasError."""
        arrays: dict[str, Any] = {"truth": self.truth, "outputs": self.outputs}
        content = io.BytesIO()
        if self.weights is not None:
            arrays["weights"] = self.weights
        np.savez(content, **arrays)
        write_whole(path, content.getvalue())


@dataclass(frozen=True)
class Trained:
    """A trained model, and what it was trained on.

    Attributes:
        test: Its answers to the test part; None where that is empty.
    """

    name: str
    trainer: Trainer
    dataset: EventData
    params: TrainParams
    epochs: Sequence[EpochResult]
    test: Evaluation | None


class Training:
    """Epochs one after the other, which can be stopped and gone on with.

    Args:
        checkpoint: File for how far it has come, written after each epoch, every few minutes and when it is stopped;
            where it is there, the training goes on from it.
        tell: Called with the figures of each epoch.
    """

    def __init__(
        self,
        trainer: Trainer,
        dataset: EventData,
        params: TrainParams,
        checkpoint: Path | None = None,
        tell: Callable[[EpochResult], None] = lambda result: None,
    ) -> None:
        self._trainer = trainer
        self._dataset = dataset
        self._params = params
        self._path = checkpoint
        self._tell = tell
        self._saved = time.monotonic()
        self.reached = Checkpoint()
        if checkpoint is not None and checkpoint.exists():
            self.reached = Checkpoint.load(checkpoint)
            trainer.resume(self.reached.state)

    def run(self) -> list[EpochResult]:
        """Train for all epochs, or until the validation loss no longer falls, and leave the best weights.

        Raises:
            ModelError: The loss is no longer a number.
            Interrupted: It was asked to stop, and has been saved.
        """
        reached = self.reached
        with stop_requests() as stop:
            while len(reached.results) < self._params.epochs and not self._stalled():
                result = self._epoch(stop)
                reached.results.append(result)
                reached.chunks, reached.events, reached.loss = 0, 0, 0.0
                if best_epoch(reached.results) == result.epoch:
                    reached.best = self._trainer.state()
                self._save()
                self._tell(result)
                if stop():
                    raise Interrupted(f"stopped after epoch {result.epoch}")
        if reached.best:
            self._trainer.resume(reached.best)
        return reached.results

    def _stalled(self) -> bool:
        best = best_epoch(self.reached.results)
        return bool(self._params.patience and best and len(self.reached.results) - best >= self._params.patience)

    def _epoch(self, stop: Callable[[], bool]) -> EpochResult:
        """Train on the chunks of the next epoch that are not done yet, and validate."""
        reached, total = self.reached, self._dataset.counts["train"]
        epoch = len(reached.results)
        started, skipped, rate = time.perf_counter(), reached.events, 0.0
        with progress_bar(f"epoch {epoch + 1}/{self._params.epochs}") as update:
            chunks = self._dataset.chunks("train", epoch)
            for chunk in itertools.islice(chunks, reached.chunks, None):
                reached.loss += self._fit(chunk) * len(chunk.y)
                reached.events += len(chunk.y)
                reached.chunks += 1
                rate = (reached.events - skipped) / (time.perf_counter() - started)
                update(reached.events, total, self._note(rate))
                if stop():
                    self._save()
                    raise Interrupted(f"stopped after {reached.events} of {total} events of epoch {epoch + 1}")
                if time.monotonic() - self._saved > CHECKPOINT_SECONDS:
                    self._save()
        loss = reached.loss / reached.events
        validation = evaluate(self._trainer, self._dataset, "validation")
        return EpochResult(
            epoch + 1,
            loss,
            validation.loss if validation else None,
            validation.auc if validation else None,
            rate,
        )

    def _fit(self, chunk: Chunk) -> float:
        y = targets(self._trainer, self._dataset, chunk.y)
        loss = self._trainer.fit(chunk.x, y, self._params.batch_size, chunk.weights)
        if not np.isfinite(loss):
            row, column = np.unravel_index(np.abs(chunk.x).argmax(), chunk.x.shape)
            epoch, number = len(self.reached.results) + 1, self.reached.chunks + 1
            raise ModelError(
                f"the loss is {loss} in chunk {number} of epoch {epoch}: expected a number; try a smaller learning"
                f" rate (the largest normalised value of that chunk is {chunk.x[row, column]:.4g}, of"
                f" {self._dataset.columns[column]})"
            )
        return loss

    def _note(self, rate: float) -> str:
        reached = self.reached
        note = f"loss {reached.loss / reached.events:.4f}, {rate:,.0f} events/s"
        area = reached.results[-1].validation_auc if reached.results else None
        return note if area is None else f"{note}, AUC {area:.4f}"

    def _save(self) -> None:
        if self._path is not None:
            self.reached.state = self._trainer.state()
            self.reached.save(self._path)
            self._saved = time.monotonic()


def evaluate(trainer: Trainer, dataset: EventData, part: Part) -> Evaluation | None:
    """Loss and AUC of one part; None where it has no events."""
    losses: list[float] = []
    outputs: list[FloatArray] = []
    truths: list[FloatArray] = []
    weights: list[FloatArray] = []
    for chunk in dataset.chunks(part):
        losses.append(trainer.evaluate(chunk.x, targets(trainer, dataset, chunk.y), chunk.weights))
        outputs.append(trainer.predict(chunk.x))
        truths.append(chunk.y)
        if chunk.weights is not None:
            weights.append(chunk.weights)
    if not losses:
        return None
    loss, answers = float(np.average(losses, weights=[len(truth) for truth in truths])), np.concatenate(outputs)
    if not np.isfinite(loss) or not np.isfinite(answers).all():
        raise ModelError(f"the model's answers to the {part} part are no numbers: try a smaller learning rate")
    truth, counted = np.concatenate(truths), np.concatenate(weights) if weights else None
    area = None
    if tells_classes(trainer, dataset):
        area = auc(class_indices(dataset, truth), answers, counted)
    return Evaluation(len(truth), loss, area, truth, answers, counted)


def tells_classes(trainer: Trainer, dataset: EventData) -> bool:
    """Whether the outputs are scores of classes: also where a loss for quantities was trained on two labels."""
    return bool(dataset.classes) and (trainer.classifies or len(dataset.classes) == 2)


def targets(trainer: Trainer, dataset: EventData, labels: FloatArray) -> FloatArray:
    """Labels as the loss wants them: the index of the class, or the label itself."""
    if not trainer.classifies or not dataset.classes:
        return labels
    return class_indices(dataset, labels).astype(np.float32)


def class_indices(dataset: EventData, labels: FloatArray) -> npt.NDArray[np.int64]:
    """The place of each label (n,) among the classes of the dataset."""
    return np.searchsorted(np.asarray(dataset.classes, np.float32), labels)


def reference_events(trainer: Trainer, dataset: EventData) -> ReferenceEvents:
    """The first events of the test part (of the training part where that is empty), evenly from all files."""
    part: Part = "test" if dataset.counts["test"] else "train"
    raw, _ = next(iter(dataset.raw_chunks(part)))
    chosen = raw[np.linspace(0, len(raw) - 1, min(REFERENCE_EVENTS, len(raw))).astype(int)]
    x, _ = dataset.assembler.normalise(chosen)
    return ReferenceEvents(chosen, trainer.predict(x))
