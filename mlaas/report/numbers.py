"""Everything that a report says, as plain data for JSON; the figures and the page are made of nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from mlaas import __version__
from mlaas.features import Feature, width
from mlaas.report.classification import classification, separation
from mlaas.report.regression import regression, residual_distribution
from mlaas.report.run import Run, Scores

PARTS = ("train", "test")


def numbers_of(run: Run) -> dict[str, Any]:
    """All numbers of a run; docs/report.md lists them. None is NaN or infinite."""
    scored = {str(part): scores for part, scores in run.scores.items() if len(scores.truth)}
    return {
        "model": run.model,
        "created": run.created,
        "mlaas": __version__,
        "command": run.command,
        "classes": list(run.classes),
        "quantity": None if run.classes else {"name": run.quantity, "unit": run.unit},
        "parameters": plain(run.parameters),
        "lineage": plain(run.lineage),
        "data": _data(run),
        "epochs": plain(run.epochs),
        "best_epoch": _best_epoch(run.epochs),
        **{part: _part(scored[part], run) if part in scored else None for part in PARTS},
        "distributions": separation(scored, run.classes) if run.classes else [residual_distribution(scored)],
        "ranking": _ranking(run),
    }


def plain(value: Any) -> Any:
    """``value`` as JSON knows it: numbers that are not finite become null, what it does not know becomes text."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if isinstance(value, str | int | None) else str(value)


def _feature(feature: Feature) -> dict[str, Any]:
    """Without categories where it has none, as most have."""
    return {name: plain(value) for name, value in asdict(feature).items() if value != ()}


def _data(run: Run) -> dict[str, Any]:
    data = run.data
    flows = [file.cutflow for file in data.files]
    return {
        "files": [plain(asdict(file)) for file in data.files],
        "entries": sum(file.entries for file in data.files),
        "cutflow": {cut: sum(flow.get(cut, 0) for flow in flows) for flow in flows[:1] for cut in flow},
        "features": [_feature(feature) for feature in data.features],
        "columns": width(data.features),
        "label_branch": data.label_branch,
        "counts": plain(data.counts),
        "class_counts": plain(data.class_counts),
        "notes": list(data.notes),
    }


def _best_epoch(epochs: Sequence[Mapping[str, Any]]) -> int | None:
    """The one with the lowest validation loss."""
    validated = [epoch for epoch in epochs if epoch.get("validation_loss") is not None]
    return int(min(validated, key=lambda epoch: epoch["validation_loss"])["epoch"]) if validated else None


def _part(scores: Scores, run: Run) -> dict[str, Any]:
    figures = classification(scores, run.classes) if run.classes else regression(scores)
    return {
        "events": len(scores.truth),
        "sampled_of": scores.sampled_of,
        "weighted": scores.weights is not None,
        "sum_of_weights": float(scores.counted.sum()),
        **figures,
    }


def _ranking(run: Run) -> dict[str, Any] | None:
    if run.ranking is None:
        return None
    return {"metric": "auc" if run.classes else "mse", "features": [plain(asdict(one)) for one in run.ranking]}
