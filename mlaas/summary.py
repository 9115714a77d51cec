"""What a training says about itself, to people and to the registry."""

from dataclasses import asdict
from typing import Any

from mlaas import __version__
from mlaas.checkpoint import best_epoch
from mlaas.dataset import EventData
from mlaas.options import TrainOptions
from mlaas.params import TrainParams
from mlaas.training import Trained
from tfaas.bundles import current_user


def summary_of(trained: Trained) -> dict[str, Any]:
    """What scripts read of `--summary`, less what comes of publishing."""
    dataset, epochs = trained.dataset, trained.epochs
    best = best_epoch(epochs) or len(epochs)
    return {
        "model": trained.name,
        **metrics_of(trained),
        "events": sum(dataset.counts.values()),
        "events_by_part": dict(dataset.counts),
        "features": [feature.name for feature in dataset.features],
        "columns": len(dataset.columns),
        "classes": list(dataset.classes),
        "cutflow": dict(dataset.cutflow),
        "cutflow_by_file": dataset.cutflows,
        "notes": list(dataset.notes),
        "best_epoch": next((asdict(result) for result in epochs if result.epoch == best), None),
    }


def metrics_of(trained: Trained) -> dict[str, Any]:
    """What the registry keeps beside a version."""
    test = trained.test
    return {
        "test_auc": test and test.auc,
        "test_loss": test and test.loss,
        "epochs": [asdict(result) for result in trained.epochs],
    }


def lineage_of(options: TrainOptions, dataset: EventData, params: TrainParams) -> dict[str, Any]:
    """Where the model comes from."""
    return {
        "files": [{"path": path, "entries": entries} for path, entries in dataset.entries.items()],
        "classes": list(dataset.classes),
        "label_branch": dataset.label_branch,
        "cutflow": dict(dataset.cutflow),
        "preproc": dict(dataset.selection.content),
        "params": params.model_dump(mode="json"),
        "seed": options.seed,
        "mlaas": __version__,
        "user": current_user(),
    }
