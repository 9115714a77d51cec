"""The pipeline as functions, for notebooks and scripts.

Each takes what the command of the same name takes: files and labels as lists, or as the command line has them;
parameters and selections as paths or as what is in such files. What a person should read goes to `tell`, or nowhere
where that is None. Everything that the user can mend is an :class:`mlaas.errors.MlaasError`, whose one line says how.
"""

import json
import logging
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlaas import crossvalidation
from mlaas.errors import ParameterError
from mlaas.inspection import Inspection, inspect_file
from mlaas.options import TrainOptions
from mlaas.prepare import PrepareOptions, prepare_events
from mlaas.scoring import Scored, ScoreOptions, score_files
from mlaas.sweep import SweepOptions, resume_sweep
from mlaas.sweep import sweep as run_sweep

FilePath = str | os.PathLike[str]
Paths = FilePath | Iterable[FilePath]
Labels = str | float | Iterable[str | float]
Content = FilePath | Mapping[str, Any] | None
Tell = Callable[[str], None] | None
LARGEST_SEED = 2**32 - 1

__all__ = ["inspect", "prepare", "resume", "score", "sweep", "train"]


def train(
    files: Paths,
    labels: Labels | None,
    model: FilePath,
    *,
    params: Content = None,
    preproc: Content = None,
    name: str | None = None,
    publish: str | None = None,
    alias: str | None = None,
    promote_if: str | None = None,
    any_owner: bool = False,
    folds: int | None = None,
    fold: str | None = None,
    seed: int = 0,
    run: FilePath | None = None,
    specs: FilePath | None = None,
    dtype: str | None = None,
    fout: FilePath | None = None,
    summary: FilePath | None = None,
    skip_bad_files: bool = False,
    tell: Tell = print,
) -> dict[str, Any]:
    """Train a model, export it, and publish it.

    Args:
        files: Paths or URLs of files of events, or a folder of :func:`prepare`.
        labels: A number for each file, or the branch that holds the label; None for a folder of :func:`prepare`.
        model: Python file that defines ``model(idim)``.
        params, preproc: Path, or content, of params.json and preproc.json.
        name: Of the model; by default that of its file.
        publish: Database (sqlite:///FILE, postgresql://…) or server (http://…).
        alias, promote_if: The alias that moves to the new version, and the condition for it.
        any_owner: Publish although the model's name is somebody else's.
        folds, fold: Train a model for each of so many folds, or only that of one, such as ``2/5``.
        seed: Of all that is random, the split into training, validation and test included.
        run: New folder for all of this run; ``mlaas-runs/<name>-<time>`` by default.
        specs: Statistics of the first pass: used if the file is there, else written.
        dtype: Format of the files; by default their suffix tells.
        fout, summary: Where to save the model, and the summary as JSON, besides the folder of the run.
        skip_bad_files: Leave out files that can't be used.
        tell: Called with each line that a person should read.

    Returns:
        The summary: ``test_auc``, ``events``, ``features``, ``model``, ``version``, ``epochs``, ``run`` and more.

    Raises:
        MlaasError: In one line, what the user can mend.
        Interrupted: It was asked to stop; :func:`resume` goes on.
    """
    options = TrainOptions(
        files=_files(files), labels=_labels(labels), model=_model(model), params=_content(params, "params"),
        preproc=_content(preproc, "preproc"), specs=_path(specs), dtype=dtype, fout=_path(fout), name=name,
        publish=_registry(publish), seed=_seed(seed), summary=_path(summary), skip_bad_files=skip_bad_files,
        run=_path(run), alias=alias, promote_if=promote_if, any_owner=any_owner,
        folds=folds, fold=fold,
    )  # fmt: skip
    with _quiet_tensorflow():
        return crossvalidation.train_and_publish(options, _told(tell), _call("train", options))


def resume(run: FilePath, tell: Tell = print) -> dict[str, Any]:
    """Go on with the training, or the sweep, in a folder; see :func:`train` and :func:`sweep`."""
    path = Path(run)
    with _quiet_tensorflow():
        if (path / "options.json").is_file():
            return resume_sweep(path, _told(tell))
        return crossvalidation.resume(path, _told(tell), f"mlaas.api.resume({str(path)!r})")


def sweep(
    files: Paths,
    labels: Labels | None,
    model: FilePath,
    space: Content,
    output: FilePath,
    *,
    params: Content = None,
    preproc: Content = None,
    name: str | None = None,
    publish: str | None = None,
    alias: str | None = None,
    any_owner: bool = False,
    trials: int = 20,
    metric: str = "validation_loss",
    processes: int = 1,
    dask: str | None = None,
    seed: int = 0,
    specs: FilePath | None = None,
    dtype: str | None = None,
    summary: FilePath | None = None,
    skip_bad_files: bool = False,
    tell: Tell = print,
) -> dict[str, Any]:
    """Train with other parameters, and publish the best model.

    Args:
        space: Path, or content: parameter → list of choices, or ``{"low": …, "high": …, "log": …}``.
        output: New folder for all trials.
        trials: How many trainings.
        metric: ``validation_loss`` or ``validation_auc``.
        processes, dask: Trainings at the same time on this machine, or the address of a Dask scheduler.
        files, labels, model, params, preproc, specs, dtype, skip_bad_files: Of every trial; see :func:`train`.
        name, publish, alias, any_owner, seed, summary, tell: See :func:`train`.

    Returns:
        ``best`` and ``trials``: each with its ``values``, the ``value`` of the metric, ``test_auc`` and ``folder``.

    Raises:
        MlaasError: In one line, what the user can mend.
    """
    wanted = _content(space, "space")
    if wanted is None:
        raise ParameterError("space is None: expected a path, or parameters with choices or ranges")
    training = TrainOptions(
        files=_files(files), labels=_labels(labels), model=_model(model), params=_content(params, "params"),
        preproc=_content(preproc, "preproc"), specs=_path(specs), dtype=dtype, name=name, publish=_registry(publish),
        seed=_seed(seed), summary=_path(summary), skip_bad_files=skip_bad_files, alias=alias, any_owner=any_owner,
    )  # fmt: skip
    return run_sweep(SweepOptions(training, wanted, Path(output), trials, metric, processes, dask), _told(tell))


def prepare(
    files: Paths,
    labels: Labels,
    output: FilePath,
    *,
    params: Content = None,
    preproc: Content = None,
    seed: int = 0,
    processes: int | None = None,
    dask: str | None = None,
    specs: FilePath | None = None,
    dtype: str | None = None,
    tell: Tell = print,
) -> None:
    """Read, select and assemble events once, to train on them many times.

    Args:
        output: New folder, which :func:`train` takes as ``files``.
        processes, dask: How many processes of this machine do the work, or the address of a Dask scheduler.
        files, labels, params, preproc, seed, specs, dtype, tell: See :func:`train`.

    Raises:
        MlaasError: In one line, what the user can mend.
    """
    given = _labels(labels)
    if given is None:
        raise ParameterError("labels is None: expected a label for each file, or the branch that holds it")
    options = PrepareOptions(
        files=_files(files), labels=given, output=Path(output), params=_content(params, "params"),
        preproc=_content(preproc, "preproc"), specs=_path(specs), dtype=dtype, seed=_seed(seed), dask=dask,
        processes=processes,
    )  # fmt: skip
    prepare_events(options, _told(tell))


def score(
    model: FilePath,
    files: Paths,
    out: FilePath,
    registry: str | None = None,
    *,
    tree: str | None = None,
    dtype: str | None = None,
    identifier: str | Iterable[str] | None = None,
    format: str | None = None,
    step: int | None = None,
    resume: bool = False,
    force: bool = False,
    skip_bad_files: bool = False,
    tell: Tell = print,
) -> Scored:
    """Score every event of some files.

    Args:
        model: ``net``, ``net:3`` or ``net@alias`` in ``registry``, or the path of a bundle.
        out: ``.root`` or ``.parquet``, or a folder for a file of scores for each file.
        registry: Database (sqlite:///FILE, postgresql://…) or server (http://…).
        tell: See :func:`train`.

    The other arguments and what is returned: see :class:`mlaas.scoring.ScoreOptions` and :class:`mlaas.scoring.Scored`.

    Raises:
        MlaasError: In one line, what the user can mend.
    """
    kept = identifier if identifier is None or isinstance(identifier, str) else ",".join(identifier)
    options = ScoreOptions(
        model=os.fspath(model), files=_files(files), out=Path(out), registry=_registry(registry), tree=tree,
        dtype=dtype, identifier=kept, format=format, step=step, resume=resume, force=force,
        skip_bad_files=skip_bad_files,
    )  # fmt: skip
    return score_files(options, _told(tell))


def inspect(
    file: FilePath,
    tree: str | None = None,
    branches: str | Iterable[str] = (),
    nevts: int = -1,
    dtype: str | None = None,
) -> Inspection:
    """Trees and branches of a file: type, kind, dimension, range, share of missing values.

    Args:
        branches: Names and patterns such as ``Jet_*``; all by default.
        nevts: How many of the first events to read; -1 reads all.

    Raises:
        MlaasError: In one line, what the user can mend.
    """
    selected = branches.split(",") if isinstance(branches, str) else branches
    return inspect_file(_files(file), tree, dtype, [name.strip() for name in selected], nevts)


def _files(files: Paths) -> str:
    if isinstance(files, str | os.PathLike):
        return _file(files)
    if not isinstance(files, Iterable):
        raise ParameterError(f"files is {files!r}: expected a path, or a list of them")
    names = [_file(file) for file in files]
    if odd := [name for name in names if "," in name]:
        raise ParameterError(f"file {odd[0]!r} has a comma in its name: expected none")
    if len(names) == 1 and not names[0].strip():
        raise ParameterError("files has an empty name")
    return ",".join(names)


def _file(file: FilePath) -> str:
    if not isinstance(file, str | os.PathLike):
        raise ParameterError(f"file {file!r} is of type {type(file).__name__}: expected a path or URL")
    name = os.fspath(file)
    if isinstance(file, Path) and file.parts and file.parts[0].endswith(":"):
        raise ParameterError(f"file {name}: expected a URL as text, since a Path takes away one of its slashes")
    return name


def _labels(labels: Labels | None) -> str | None:
    if labels is None or isinstance(labels, str):
        return labels
    if isinstance(labels, Iterable) and getattr(labels, "ndim", 1) > 0:
        return ",".join(map(_label, labels))
    return _label(labels)


def _label(label: object) -> str:
    return str(int(label)) if isinstance(label, bool) else str(label)


def _model(model: FilePath) -> Path:
    if not isinstance(model, str | os.PathLike):
        raise ParameterError(
            f"model is of type {type(model).__name__}: expected the path of a Python file that defines model(idim);"
            " in a notebook, %%writefile net.py makes one of a cell"
        )
    return Path(model)


def _registry(target: str | None) -> str | None:
    if target is None or isinstance(target, str):
        return target
    raise ParameterError(f"registry {target}: expected a text such as sqlite:///{target} or http://host:8083")


def _seed(seed: int) -> int:
    try:
        number = operator.index(seed)
    except TypeError as error:
        raise ParameterError(f"seed {seed!r}: expected a whole number") from error
    if not 0 <= number <= LARGEST_SEED:
        raise ParameterError(f"seed {number}: expected 0 to {LARGEST_SEED}")
    return number


def _path(given: FilePath | None) -> Path | None:
    return None if given is None else Path(given)


def _content(given: Content, name: str) -> Path | Mapping[str, Any] | None:
    """A path, or content as JSON has it: numpy's numbers and arrays, paths and tuples are taken for what they mean."""
    if given is None or isinstance(given, str | os.PathLike):
        return _path(given)
    if not isinstance(given, Mapping):
        raise ParameterError(f"{name} is of type {type(given).__name__}: expected a path, or a dictionary")
    try:
        content: dict[str, Any] = json.loads(json.dumps(dict(given), default=_plain))
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{name}: {error}; expected what JSON has") from error
    return content


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{value!r} is of type {type(value).__name__}")


def _told(tell: Tell) -> Callable[[str], None]:
    return tell if tell is not None else lambda line: None


def _call(function: str, options: TrainOptions) -> str:
    """How Python asked for a training, less what is as by default."""
    plain = TrainOptions("", None, Path()).to_json()
    given = {name: value for name, value in options.to_json().items() if value != plain[name]}
    return f"mlaas.api.{function}({', '.join(f'{name}={value!r}' for name, value in given.items())})"


@contextmanager
def _quiet_tensorflow() -> Iterator[None]:
    """Keep its warnings about itself from burying what is told, as the command does."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logger = logging.getLogger("tensorflow")
    logger.addFilter(_is_error)  # while it is imported into a notebook, it sets its level itself
    try:
        yield
    finally:
        logger.removeFilter(_is_error)


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR
