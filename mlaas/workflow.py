"""From files to a published model, every step in order."""

import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlaas.checkpoint import EpochResult
from mlaas.dataset import Dataset, EventData, is_prepared
from mlaas.dataset.bad_files import leave_out_bad_files
from mlaas.errors import MlaasError, ModelError, ParameterError
from mlaas.export import check_exportable, export_bundle
from mlaas.fitting import train_on_sample
from mlaas.inputs import parse_files, parse_labels
from mlaas.interrupts import Interrupted
from mlaas.modelarguments import with_arguments
from mlaas.options import TrainOptions
from mlaas.params import TrainParams, chosen_fold, read_params
from mlaas.prepare import dataset_params, open_prepared, tell_dataset
from mlaas.progress import progress_bar
from mlaas.publication import check_publication, model_name, publish_trained
from mlaas.reporting import report_training
from mlaas.runfolder import RunFolder
from mlaas.selection import Selection
from mlaas.summary import lineage_of, metrics_of, summary_of
from mlaas.trainers import TRAINERS, Trainer, is_sample_trainer, make_trainer
from mlaas.trainers.precision import FULL_PRECISION, copy_weights, in_precision
from mlaas.trainers.repeatable import make_repeatable
from mlaas.training import Trained, Training, evaluate, reference_events
from mlaas.usercode import build_model, check_syntax, load_model_function
from mlaas.wholefile import write_whole

Tell = Callable[[str], None]
FOUT_SUFFIXES = (".tar.gz", ".onnx", *(framework.suffix for framework in TRAINERS.values()))


def train_and_publish(options: TrainOptions, tell: Tell, command: str | None = None) -> dict[str, Any]:
    """Run the whole pipeline, in a new folder of its own.

    Args:
        tell: called with each line that a person should read.
        command: what the report says about how this was asked for; by default the command line.

    Returns:
        The summary, which is also written to the folder and to `options.summary`.

    Raises:
        MlaasError: in one line, what the user can mend.
        Interrupted: it was asked to stop; the folder has what `resume` needs.
    """
    return _run(options, tell, None, command)


def resume(path: Path, tell: Tell, command: str | None = None) -> dict[str, Any]:
    """Go on with a run that was stopped or killed, to the same result as if it had been left alone.

    Args:
        path: the folder of the run.

    Other arguments, returns, raises: see `train_and_publish`.
    """
    run = RunFolder.open(path)
    require_unfinished(run)
    return _run(run.options, tell, run, command)


def require_unfinished(run: RunFolder) -> None:
    """Raise ParameterError where nothing of a run is left to do."""
    if run.summary.exists():
        raise ParameterError(f"{run.path}: this run has ended; nothing is left to do")


def _run(options: TrainOptions, tell: Tell, run: RunFolder | None, command: str | None) -> dict[str, Any]:
    started = time.perf_counter()
    params = chosen_fold(read_params(options.params), options.fold)
    name = model_name(options)
    check_outputs(options)
    condition = check_publication(options, name)
    selection = Selection.read(options.preproc)
    check_syntax(options.model)
    with _open_dataset(options, params, selection) as dataset:
        tell_dataset(dataset, params, tell)
        trainer, served = _make_trainers(options, params, dataset)
        with _folder(options, name, dataset, run) as folder:
            epochs = _fit(trainer, dataset, params, folder, tell)
            if served is not trainer:
                copy_weights(trainer, served)
            trained = _evaluated(name, served, dataset, params, epochs, tell)
            if options.fold is not None and trained.test is not None:
                trained.test.save(folder.test)
            lineage = lineage_of(options, dataset, params)
            try:
                _export(options, trained, lineage, folder.bundle, tell)
            except ModelError as error:
                dataset.notes.append(f"not exported: {error}")
                report_training(folder.path, trained, lineage, command or shlex.join(sys.argv))
                raise
            report_training(folder.path, trained, lineage, command or shlex.join(sys.argv))
            tell(f"report: {folder.path / 'report.html'}")
            published = publish_trained(options, trained, folder.bundle, condition, tell)
            summary = summary_of(trained) | published
            summary |= {"run": str(folder.path), "seconds": round(time.perf_counter() - started, 3)}
            for path in (folder.summary, options.summary):
                if path:
                    write_whole(path, (json.dumps(summary, indent=1) + "\n").encode())
            folder.checkpoint.unlink(missing_ok=True)
    return summary


def _fit(trainer: Trainer, dataset: EventData, params: TrainParams, folder: RunFolder, tell: Tell) -> list[EpochResult]:
    def epoch_is_done(result: EpochResult) -> None:
        tell(_epoch_line(result, params.epochs if trainer.streams else 1))

    if is_sample_trainer(trainer):
        return train_on_sample(trainer, dataset, params, folder.checkpoint, epoch_is_done, tell)
    return Training(trainer, dataset, params, folder.checkpoint, epoch_is_done).run()


def _evaluated(
    name: str, trainer: Trainer, dataset: EventData, params: TrainParams, epochs: list[EpochResult], tell: Tell
) -> Trained:
    """The only look at the test part."""
    test = evaluate(trainer, dataset, "test")
    if test is not None:
        tell(f"test: {_figures(test.loss, test.auc)} on {test.events} events that no epoch has seen")
    return Trained(name, trainer, dataset, params, epochs, test)


@contextmanager
def _folder(options: TrainOptions, name: str, dataset: EventData, run: RunFolder | None) -> Iterator[RunFolder]:
    """The folder of the run, new or gone on with."""
    folder = run or RunFolder.create(options, name)
    with folder.in_use():
        try:
            folder.require_same_data(dataset)
            yield folder
        except Interrupted as error:
            raise Interrupted(f"{error}; to go on: mlaas train --resume {folder.path}") from error
        finally:
            if not run:
                folder.discard_if_empty()


def _make_trainers(options: TrainOptions, params: TrainParams, dataset: EventData) -> tuple[Trainer, Trainer]:
    """The trainer, and that of the model that is served: the same one, but where it is trained in another precision."""
    served = _make_trainer(options, params, dataset)
    check_exportable(served)
    if params.precision == FULL_PRECISION:
        return served, served
    with in_precision(params.precision, served):
        return _make_trainer(options, params, dataset), served


def _make_trainer(options: TrainOptions, params: TrainParams, dataset: EventData) -> Trainer:
    make_repeatable(options.seed)
    model_function = with_arguments(load_model_function(options.model), params.model, options.model)
    make_repeatable(options.seed)  # the frameworks, too, that the file has loaded
    model = build_model(model_function, dataset.features, options.model)
    trainer = make_trainer(model, len(dataset.columns), len(dataset.classes))
    _check_format(trainer, options.fout)
    if trainer.classifies:
        dataset.require_every_class()
    return trainer


def check_outputs(options: TrainOptions) -> None:
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


def _check_format(trainer: Trainer, fout: Path | None) -> None:
    """Find out before the training that the framework has the format that `--fout` names."""
    expected = (".tar.gz", ".onnx", TRAINERS[trainer.framework].suffix)
    if fout and not fout.name.endswith(expected):
        raise ParameterError(f"--fout {fout}: a model of {trainer.framework} is saved as {', '.join(expected)}")


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


def _epoch_line(result: EpochResult, epochs: int) -> str:
    line = f"epoch {result.epoch}/{epochs}: loss {result.loss:.4f}"
    if result.validation_loss is not None:
        line += f", validation {_figures(result.validation_loss, result.validation_auc)}"
    return f"{line}, {result.events_per_second:,.0f} events/s"


def _figures(loss: float, auc: float | None) -> str:
    return f"loss {loss:.4f}" + ("" if auc is None else f", AUC {auc:.4f}")


def _export(options: TrainOptions, trained: Trained, lineage: Mapping[str, Any], target: Path, tell: Tell) -> None:
    """Write the bundle to `target`, and what `--fout` names."""
    trainer, dataset = trained.trainer, trained.dataset
    about = {
        "description": f"trained by mlaas on {sum(dataset.counts.values())} events",
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "metrics": metrics_of(trained),
        "lineage": lineage,
    }
    labels = [f"{label:g}" for label in dataset.classes] if trainer.classifies and len(dataset.classes) > 2 else []
    with tempfile.TemporaryDirectory(prefix="mlaas-") as folder:
        reference = reference_events(trainer, dataset)
        bundle = export_bundle(trainer, dataset.assembler, reference, trained.name, labels, about, Path(folder))
        if options.fout:
            _save(trainer, bundle, options.fout)
            tell(f"saved as {options.fout}")
        write_whole(target, bundle)


def _save(trainer: Trainer, bundle: Path, target: Path) -> None:
    """Write what `--fout` names: the bundle, the ONNX file alone, or the framework's own format."""
    source = bundle if target.suffix == ".gz" else bundle.parent / f"model{target.suffix}"
    if not source.is_file():
        raise MlaasError(f"--fout {target}: {trainer.framework} can't save this model; expected .tar.gz or .onnx")
    write_whole(target, source)
