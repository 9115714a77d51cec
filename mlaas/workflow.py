"""From files to a published model, every step in order."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlaas import __version__
from mlaas.dataset import Dataset, EventData, is_prepared
from mlaas.dataset.bad_files import leave_out_bad_files
from mlaas.errors import MlaasError, ParameterError, PublishError
from mlaas.export import check_exportable, export_bundle
from mlaas.inputs import parse_files, parse_labels
from mlaas.params import TrainParams, read_params
from mlaas.prepare import dataset_params, open_prepared, tell_dataset
from mlaas.progress import progress_bar
from mlaas.publish import Published, check_target, publish_bundle
from mlaas.selection import Selection
from mlaas.trainers import Trainer, make_repeatable, make_trainer
from mlaas.training import EpochResult, Evaluation, evaluate, reference_events, train
from mlaas.usercode import build_model, check_syntax, load_model_function
from tfaas.bundles import InvalidRequest, current_user
from tfaas.registry import check_name

Tell = Callable[[str], None]
FOUT_SUFFIXES = (".tar.gz", ".onnx", ".keras")


@dataclass(frozen=True)
class TrainOptions:
    """What `mlaas train` is asked for; see its `--help`."""

    files: str
    labels: str | None
    model: Path
    params: Path | None = None
    preproc: Path | None = None
    specs: Path | None = None
    dtype: str | None = None
    fout: Path | None = None
    name: str | None = None
    publish: str | None = None
    seed: int = 0
    summary: Path | None = None
    skip_bad_files: bool = False


def train_and_publish(options: TrainOptions, tell: Tell) -> dict[str, Any]:
    """Run the whole pipeline.

    Args:
        tell: called with each line that a person should read.

    Returns:
        The summary, which is also written to `options.summary`.

    Raises:
        MlaasError: in one line, what the user can mend.
    """
    started = time.perf_counter()
    params = read_params(options.params)
    name = _model_name(options)
    _check_outputs(options)
    if options.publish:
        check_target(options.publish)
    selection = Selection.from_file(options.preproc)
    check_syntax(options.model)
    with _open_dataset(options, params, selection) as dataset:
        tell_dataset(dataset, params, tell)
        make_repeatable(options.seed)
        model_function = load_model_function(options.model)
        width = len(dataset.columns)
        trainer = make_trainer(build_model(model_function, width, options.model), width, len(dataset.classes))
        if trainer.classifies:
            dataset.require_every_class()
        check_exportable(trainer)
        epochs = train(
            trainer, dataset, params.epochs, params.batch_size, lambda result: tell(_epoch_line(result, params))
        )
        test = evaluate(trainer, dataset, "test")
        if test is not None:
            tell(f"test: {_figures(test.loss, test.auc)} on {test.events} events that no epoch has seen")
        summary = _summary(dataset, name, epochs, test)
        published = _export_and_publish(options, trainer, dataset, name, summary, params, tell)
    summary |= {
        "version": published.version if published else None,
        "seconds": round(time.perf_counter() - started, 3),
    }
    if options.summary:
        _write_whole(options.summary, (json.dumps(summary, indent=1) + "\n").encode())
    return summary


def _model_name(options: TrainOptions) -> str:
    given = options.name is not None
    try:
        return check_name(options.name if options.name is not None else options.model.stem)
    except InvalidRequest as error:
        where = "--name" if given else f"--model {options.model}, give a --name"
        raise ParameterError(f"{where}: {error}") from error


def _check_outputs(options: TrainOptions) -> None:
    """Find out before the training that what it gives can be written."""
    for option, path in (("--fout", options.fout), ("--summary", options.summary)):
        if path is None:
            continue
        folder = path.resolve().parent
        if not folder.is_dir():
            raise ParameterError(f"{option} {path}: there is no folder {folder}")
        if path.is_dir():
            raise ParameterError(f"{option} {path} is a folder: expected the name of a file")
        if not os.access(folder, os.W_OK):
            raise ParameterError(f"{option} {path}: folder {folder} can't be written to")
    if options.fout and not options.fout.name.endswith(FOUT_SUFFIXES):
        raise ParameterError(f"--fout {options.fout}: expected a name that ends in {', '.join(FOUT_SUFFIXES)}")


def _open_dataset(options: TrainOptions, params: TrainParams, selection: Selection) -> EventData:
    if is_prepared(options.files):
        for name in ("labels", "specs", "dtype", "skip_bad_files"):
            if getattr(options, name):
                option = name.replace("_", "-")
                raise ParameterError(f"--{option}: {options.files} was prepared with its own; leave it out")
        return open_prepared(options.files, dataset_params(params, options.seed), params, selection)
    if not options.labels:
        raise ParameterError("--labels is missing: expected a label for each file, or the branch that holds it")
    files, labels = parse_files(options.files, params.redirector), parse_labels(options.labels)
    wanted = dataset_params(params, options.seed)
    bad: dict[str, str] = {}
    if options.skip_bad_files:
        files, labels, bad = leave_out_bad_files(files, labels, wanted, params.branch, options.dtype, selection)
    with progress_bar("first pass") as update:
        dataset = Dataset(
            files,
            labels,
            wanted,
            tree=params.branch,
            dtype=options.dtype,
            selection=selection,
            specs_path=options.specs,
            progress=update,
        )
    dataset.notes += [f"left out: {reason}" for reason in bad.values()]
    return dataset


def _epoch_line(result: EpochResult, params: TrainParams) -> str:
    line = f"epoch {result.epoch}/{params.epochs}: loss {result.loss:.4f}"
    if result.validation_loss is not None:
        line += f", validation {_figures(result.validation_loss, result.validation_auc)}"
    return f"{line}, {result.events_per_second:,.0f} events/s"


def _figures(loss: float, auc: float | None) -> str:
    return f"loss {loss:.4f}" + ("" if auc is None else f", AUC {auc:.4f}")


def _summary(dataset: EventData, name: str, epochs: list[EpochResult], test: Evaluation | None) -> dict[str, Any]:
    return {
        "model": name,
        "test_auc": test and test.auc,
        "test_loss": test and test.loss,
        "events": sum(dataset.counts.values()),
        "events_by_part": dict(dataset.counts),
        "features": [feature.name for feature in dataset.features],
        "columns": len(dataset.columns),
        "classes": list(dataset.classes),
        "cutflow": dict(dataset.cutflow),
        "cutflow_by_file": dataset.cutflows,
        "notes": list(dataset.notes),
        "epochs": [asdict(result) for result in epochs],
    }


def _export_and_publish(
    options: TrainOptions,
    trainer: Trainer,
    dataset: EventData,
    name: str,
    summary: dict[str, Any],
    params: TrainParams,
    tell: Tell,
) -> Published | None:
    about = {
        "description": f"trained by mlaas on {summary['events']} events",
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "metrics": {key: summary[key] for key in ("test_auc", "test_loss", "epochs")},
        "lineage": _lineage(options, dataset, params),
    }
    labels = [f"{label:g}" for label in dataset.classes] if trainer.classifies and len(dataset.classes) > 2 else []
    with tempfile.TemporaryDirectory(prefix="mlaas-") as folder:
        reference = reference_events(trainer, dataset)
        bundle = export_bundle(trainer, dataset.assembler, reference, name, labels, about, Path(folder))
        if options.fout:
            _save(trainer, bundle, options.fout)
            tell(f"saved as {options.fout}")
        if not options.publish:
            return None
        try:
            published = publish_bundle(bundle, options.publish)
        except PublishError as error:
            raise PublishError(f"{error}; {_keep(bundle, options)}") from error
    tell(f"published as {published.model}:{published.version}, served by {published.runtime}: {published.reason}")
    return published


def _keep(bundle: Path, options: TrainOptions) -> str:
    """Put a bundle that could not be published where it is not lost; how to publish it later."""
    if options.fout and options.fout.suffix == ".gz":
        kept = options.fout.resolve()
    else:
        kept = Path(tempfile.mkdtemp(prefix="mlaas-kept-")) / bundle.name
        shutil.copyfile(bundle, kept)
    target = str(options.publish)
    how = (
        f"curl --data-binary @{kept} {target.rstrip('/')}/upload"
        if target.startswith("http")
        else f"tfaas upload {kept} --database {target}"
    )
    return f"the trained model is kept, publish it by: {how}"


def _lineage(options: TrainOptions, dataset: EventData, params: TrainParams) -> dict[str, Any]:
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


def _save(trainer: Trainer, bundle: Path, target: Path) -> None:
    """Write what `--fout` names: the bundle, the ONNX file alone, or the framework's own format."""
    names = {".onnx": "model.onnx", f".{trainer.framework}": f"model.{trainer.framework}"}
    source = bundle.parent / names.get(target.suffix, bundle.name)
    if not source.is_file():
        raise MlaasError(f"--fout {target}: {trainer.framework} can't save this model; expected .tar.gz or .onnx")
    _write_whole(target, source)


def _write_whole(target: Path, content: bytes | Path) -> None:
    """Write a file that is there as a whole or not at all; raises MlaasError."""
    partial = target.with_name(f".{target.name}.partial")
    try:
        if isinstance(content, Path):
            shutil.copyfile(content, partial)
        else:
            partial.write_bytes(content)
        partial.replace(target)
    except OSError as error:
        raise MlaasError(f"{target}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
