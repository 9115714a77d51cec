"""Training of frameworks that need all their events at once."""

import time
from collections.abc import Callable
from pathlib import Path

from mlaas.checkpoint import Checkpoint, EpochResult
from mlaas.dataset import EventData
from mlaas.errors import DataError, ModelError
from mlaas.params import TrainParams
from mlaas.trainers import SampleTrainer
from mlaas.trainers.sample import collect_sample
from mlaas.training import evaluate, targets


def train_on_sample(
    trainer: SampleTrainer,
    dataset: EventData,
    params: TrainParams,
    checkpoint: Path,
    epoch_is_done: Callable[[EpochResult], None],
    tell: Callable[[str], None],
) -> list[EpochResult]:
    """Fit once, on at most `sample_events` events of the training part, spread evenly over it.

    Args:
        checkpoint: file for the fitted model; where it is there, nothing is left to do.
        epoch_is_done: called with the figures of the only epoch.
        tell: called with each line that a person should read, above all how many events were left out.

    Raises:
        DataError: a class has no event in the sample.
        ModelError: the loss is not a number.
    """
    if checkpoint.exists():
        reached = Checkpoint.load(checkpoint)
        trainer.resume(reached.state)
        return reached.results
    limit = params.sample_events
    tell(f"{trainer.framework} fits all events at once: epochs and batch_size are not used")
    kept, total = min(limit, dataset.counts["train"]), dataset.counts["train"]
    if kept < total:
        note = (
            f"{total - kept} of {total} training events are LEFT OUT: the model sees {kept}, spread evenly over all;"
            f" a larger sample_events than {limit} takes {4 * len(dataset.columns)} bytes of memory for each event"
        )
        dataset.notes.append(note)
        tell(f"note: {note}")
    x, y, weights = collect_sample(dataset, kept, "train")
    validation = None
    if dataset.counts["validation"]:
        same_fraction = max(1, dataset.counts["validation"] * kept // total)
        others, labels, their_weights = collect_sample(dataset, same_fraction, "validation")
        validation = (others, targets(trainer, dataset, labels), their_weights)
    if trainer.classifies and (absent := set(dataset.classes) - set(y.tolist())):
        raise DataError(f"the {kept} events of the sample hold none of label {min(absent):g}: raise sample_events")
    started = time.perf_counter()
    loss = trainer.fit_sample(x, targets(trainer, dataset, y), weights, validation)
    rate = kept / (time.perf_counter() - started)
    del x, y, weights, validation
    if not loss < float("inf"):
        raise ModelError(f"the loss is {loss} after the fit: expected a number")
    result = evaluate(trainer, dataset, "validation")
    epoch = EpochResult(1, loss, result.loss if result else None, result.auc if result else None, rate)
    Checkpoint([epoch], state=trainer.state()).save(checkpoint)
    epoch_is_done(epoch)
    return [epoch]
