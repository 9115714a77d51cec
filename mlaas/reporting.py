"""From a training to its report."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mlaas.dataset import EventData
from mlaas.progress import progress_bar
from mlaas.report import DataSummary, Importance, Run, Scores, permutation_ranking, write_report
from mlaas.report.run import ScoredPart
from mlaas.trainers import Trainer
from mlaas.trainers.sample import collect_sample, spread
from mlaas.training import Trained, class_indices, tells_classes

# Events of the training part that the report compares with the test part.
TRAINING_SAMPLE = 500_000
RANKED_EVENTS, RANKING_REPEATS = 5_000, 3


def report_training(folder: Path, trained: Trained, lineage: Mapping[str, Any], command: str) -> None:
    """Write the report of a training to `folder`, and the figures beside it.

    Raises:
        MlaasError: It can't be written.
    """
    trainer, dataset, test = trained.trainer, trained.dataset, trained.test
    scores: dict[ScoredPart, Scores] = {"train": _training_scores(trainer, dataset)}
    if test is not None:
        scores["test"] = Scores(_truth(trainer, dataset, test.truth), test.outputs, test.weights)
    run = Run(
        trained.name,
        DataSummary.of(dataset),
        [f"{label:g}" for label in dataset.classes] if tells_classes(trainer, dataset) else [],
        [asdict(result) for result in trained.epochs],
        scores,
        trained.params.model_dump(mode="json"),
        lineage,
        command,
        _ranking(trainer, dataset),
        dataset.label_branch or "label",
    )
    write_report(folder, run)


def _training_scores(trainer: Trainer, dataset: EventData) -> Scores:
    outputs, truths, weights = [], [], []
    for chunk, rows in spread(dataset, TRAINING_SAMPLE, "train"):
        outputs.append(trainer.predict(chunk.x[rows]))
        truths.append(chunk.y[rows])
        if chunk.weights is not None:
            weights.append(chunk.weights[rows])
    total = dataset.counts["train"]
    return Scores(
        _truth(trainer, dataset, np.concatenate(truths)),
        np.concatenate(outputs),
        np.concatenate(weights) if weights else None,
        total if total > TRAINING_SAMPLE else None,
    )


def _ranking(trainer: Trainer, dataset: EventData) -> list[Importance] | None:
    x, labels, weights = collect_sample(dataset, RANKED_EVENTS, "test" if dataset.counts["test"] else "train")
    with progress_bar("ranking features") as update:
        return permutation_ranking(
            trainer.predict,
            x,
            _truth(trainer, dataset, labels),
            weights,
            dataset.features,
            classifies=tells_classes(trainer, dataset),
            repeats=RANKING_REPEATS,
            most_events=RANKED_EVENTS,
            progress=update,
        )


def _truth(trainer: Trainer, dataset: EventData, labels: Any) -> Any:
    return class_indices(dataset, labels) if tells_classes(trainer, dataset) else labels
