"""A training a fold, and one model of them all that scores no event with a network that has seen it."""

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from mlaas import workflow
from mlaas.dataset import is_prepared
from mlaas.errors import DataError, ParameterError
from mlaas.foldbundle import export_folds
from mlaas.interrupts import Interrupted
from mlaas.metrics import auc
from mlaas.options import TrainOptions
from mlaas.publication import check_publication, model_name, publish_kept
from mlaas.runfolder import RunFolder
from mlaas.wholefile import write_whole
from mlaas.workflow import Tell


def train_and_publish(options: TrainOptions, tell: Tell, command: str | None = None) -> dict[str, Any]:
    """What `mlaas train` does, with or without `--folds`; see :func:`mlaas.workflow.train_and_publish`."""
    if options.folds is None:
        return workflow.train_and_publish(options, tell, command)
    return _run(options, tell, None, command)


def resume(path: Path, tell: Tell, command: str | None = None) -> dict[str, Any]:
    """What `mlaas train --resume` does; see :func:`mlaas.workflow.resume`."""
    run = RunFolder.open(path)
    if run.options.folds is None:
        return workflow.resume(path, tell, command)
    workflow.require_unfinished(run)
    return _run(run.options, tell, run, command)


def _run(options: TrainOptions, tell: Tell, run: RunFolder | None, command: str | None) -> dict[str, Any]:
    started = time.perf_counter()
    name = _check(options)
    folder = run or RunFolder.create(options, name)
    with folder.in_use():
        try:
            folds = [_train_fold(options, folder, fold, tell, command) for fold in range(options.folds or 0)]
        finally:
            if run is None and not any(path.is_dir() for path in folder.path.iterdir()):
                shutil.rmtree(folder.path)
        paths = [folder.path / f"fold{fold}" for fold in range(len(folds))]
        metrics = _metrics(folds, paths)
        _tell_metrics(metrics, tell)
        events = folds[0]["events"]
        about = {
            "description": f"trained by mlaas on {events} events in {len(folds)} folds",
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
            "metrics": metrics,
        }
        export_folds([path / f"{name}.tar.gz" for path in paths], name, about, folder.bundle, options.fout)
        if options.fout:
            tell(f"saved as {options.fout}")
        published: dict[str, Any] = {"version": None}
        if options.publish:
            version = publish_kept(options.publish, folder.bundle, options.alias, tell)
            published = {"version": version, "alias": options.alias}
        kept = ("events", "features", "columns", "classes", "cutflow", "cutflow_by_file")
        summary = {"model": name, **metrics} | {field: folds[0][field] for field in kept} | published
        summary |= {"run": str(folder.path), "seconds": round(time.perf_counter() - started, 3)}
        for target in (folder.summary, options.summary):
            if target:
                write_whole(target, (json.dumps(summary, indent=1) + "\n").encode())
    return summary


def _check(options: TrainOptions) -> str:
    """Find out before the trainings what can't be; the name of the model."""
    if options.fold is not None:
        raise ParameterError("--fold and --folds are both given: expected one of them")
    if options.folds is not None and options.folds < 2:
        raise ParameterError(f"--folds {options.folds}: expected at least 2")
    if is_prepared(options.files):
        raise ParameterError(f"--folds: {options.files} was prepared, and split, for one training; expected files")
    if options.promote_if is not None:
        raise ParameterError("--promote-if: the folds have no test part in common; expected --alias alone")
    if options.fout is not None and options.fout.suffix not in (".gz", ".onnx"):
        raise ParameterError(f"--fout {options.fout}: the folds are several networks; expected .tar.gz or .onnx")
    name = model_name(options)
    workflow.check_outputs(options)
    check_publication(options, name)
    return name


def _train_fold(options: TrainOptions, folder: RunFolder, fold: int, tell: Tell, command: str | None) -> dict[str, Any]:
    """The summary of a training, which may be done already, or in part."""
    path = folder.path / f"fold{fold}"
    if (path / "summary.json").is_file():
        summary: dict[str, Any] = json.loads((path / "summary.json").read_bytes())
        return summary
    tell(f"fold {fold} of {options.folds}: tested on the events whose number is {fold} modulo {options.folds}")
    try:
        if (path / "run.json").is_file():
            return workflow.resume(path, tell, command)
        shutil.rmtree(path, ignore_errors=True)  # killed before it had begun
        alone = replace(
            options, folds=None, fold=f"{fold}/{options.folds}", run=path, publish=None, alias=None,
            fout=None, summary=None,
        )  # fmt: skip
        return workflow.train_and_publish(alone, tell, command)
    except Interrupted as error:
        raise Interrupted(f"stopped in fold {fold}; to go on: mlaas train --resume {folder.path}") from error


def _metrics(folds: Sequence[dict[str, Any]], paths: Sequence[Path]) -> dict[str, Any]:
    """Figures of each fold on its own test part, their mean and spread, and the AUC over the events of all."""
    metrics: dict[str, Any] = {"test_auc": _overall_auc(folds, paths)}
    for figure in ("test_auc", "test_loss"):
        values = [fold[figure] for fold in folds if fold[figure] is not None]
        if len(values) == len(folds):
            metrics[f"{figure}_mean"] = float(np.mean(values))
            metrics[f"{figure}_spread"] = float(np.std(values, ddof=1))
    kept = ("test_auc", "test_loss", "events_by_part", "best_epoch")
    return metrics | {"folds": [{field: fold[field] for field in kept} for fold in folds]}


def _overall_auc(folds: Sequence[dict[str, Any]], paths: Sequence[Path]) -> float | None:
    """Of all events, each with the score of the model that has not seen it; None where the outputs tell no classes."""
    if all(fold["test_auc"] is None for fold in folds):
        return None
    parts = []
    for number, path in enumerate(paths):
        try:
            with np.load(path / "test.npz") as part:
                parts.append(dict(part))
        except OSError as error:
            raise DataError(f"{path}: fold {number} was tested on no event; expected fewer folds") from error
    truth, outputs = (np.concatenate([part[field] for part in parts]) for field in ("truth", "outputs"))
    weights = np.concatenate([part["weights"] for part in parts]) if "weights" in parts[0] else None
    return auc(np.searchsorted(np.asarray(folds[0]["classes"], np.float32), truth), outputs, weights)


def _tell_metrics(metrics: dict[str, Any], tell: Tell) -> None:
    for number, fold in enumerate(metrics["folds"]):
        figures = ", ".join(
            f"{label} {fold[field]:.4f}"
            for label, field in (("loss", "test_loss"), ("AUC", "test_auc"))
            if fold[field] is not None
        )
        tell(f"fold {number}: {figures or 'no test'} on {fold['events_by_part']['test']} events")
    for label, field in (("loss", "test_loss"), ("AUC", "test_auc")):
        if f"{field}_mean" in metrics:
            mean, spread = metrics[f"{field}_mean"], metrics[f"{field}_spread"]
            tell(f"test {label} of the folds: mean {mean:.4f}, standard deviation {spread:.4f}")
    if metrics["test_auc"] is not None:
        tell(f"AUC {metrics['test_auc']:.4f} over all events, each scored by the model that has not seen it")
