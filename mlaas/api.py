"""The pipeline as functions, for notebooks and scripts.

Each takes what the command of the same name takes: files and labels as lists, or as the command line has them;
parameters and selections as paths or as what is in such files. What a person should read goes to `tell`. Everything
that the user can mend is an :class:`mlaas.errors.MlaasError` with one line that says how.
"""

import os
from collections.abc import Callable, Mapping, Sequence
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

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Labels = str | float | Sequence[str | float]
Content = str | os.PathLike[str] | Mapping[str, Any] | None
Tell = Callable[[str], None]

__all__ = ["inspect", "prepare", "resume", "score", "sweep", "train"]


def train(
    files: Paths,
    labels: Labels | None,
    model: str | os.PathLike[str],
    *,
    params: Content = None,
    preproc: Content = None,
    publish: str | None = None,
    name: str | None = None,
    alias: str | None = None,
    promote_if: str | None = None,
    seed: int = 0,
    run: str | os.PathLike[str] | None = None,
    tell: Tell = print,
    **options: Any,
) -> dict[str, Any]:
    """Train a model, export it, and publish it.

    Args:
        files: Paths or URLs of files of events, or a folder of :func:`prepare`.
        labels: A number for each file, or the branch that holds the label.
        model: Python file that defines ``model(idim)`` or ``model(features)``.
        params, preproc: Path, or content, of params.json and preproc.json.
        publish: Database (sqlite:///FILE, postgresql://…) or server (http://…).
        name: Of the model; by default that of its file.
        alias, promote_if: The alias that moves to the new version, and the condition for it.
        run: New folder for all of this run; ``mlaas-runs/<name>-<time>`` by default.
        options: Of :class:`mlaas.options.TrainOptions`: ``specs``, ``dtype``, ``fout``, ``summary``,
            ``skip_bad_files``, ``any_owner``, ``folds``, ``fold``.

    Returns:
        The summary: ``test_auc``, ``events``, ``features``, ``model``, ``version``, ``epochs``, ``run`` and more.

    Raises:
        MlaasError: In one line, what the user can mend.
        Interrupted: It was asked to stop; :func:`resume` goes on.
    """
    return crossvalidation.train_and_publish(
        TrainOptions(
            _files(files), _labels(labels), Path(model), _content(params), _content(preproc), publish=publish,
            name=name, alias=alias, promote_if=promote_if, seed=seed, run=None if run is None else Path(run),
            **_paths(options),
        ),
        tell,
    )  # fmt: skip


def resume(run: str | os.PathLike[str], tell: Tell = print) -> dict[str, Any]:
    """Go on with the training, or the sweep, in a folder; see :func:`train` and :func:`sweep`."""
    path = Path(run)
    return resume_sweep(path, tell) if (path / "options.json").is_file() else crossvalidation.resume(path, tell)


def sweep(
    files: Paths,
    labels: Labels | None,
    model: str | os.PathLike[str],
    space: Content,
    output: str | os.PathLike[str],
    *,
    params: Content = None,
    preproc: Content = None,
    publish: str | None = None,
    trials: int = 20,
    metric: str = "validation_loss",
    processes: int = 1,
    dask: str | None = None,
    seed: int = 0,
    tell: Tell = print,
    **options: Any,
) -> dict[str, Any]:
    """Train with other parameters, and publish the best model.

    Args:
        space: Path, or content: parameter → list of choices, or ``{"low": …, "high": …, "log": …}``.
        output: New folder for all trials.
        metric: ``validation_loss`` or ``validation_auc``.
        processes, dask: Trainings at the same time on this machine, or the address of a Dask scheduler.
        files, labels, model, params, preproc, publish, seed, options: Of every trial; see :func:`train`.

    Returns:
        ``best`` and ``trials``: each with its ``values``, the ``value`` of the metric, ``test_auc`` and ``folder``.

    Raises:
        MlaasError: In one line, what the user can mend.
    """
    training = TrainOptions(
        _files(files), _labels(labels), Path(model), _content(params), _content(preproc), publish=publish, seed=seed,
        **_paths(options),
    )  # fmt: skip
    wanted = _content(space)
    if wanted is None:
        raise ParameterError("space is None: expected a path, or parameters with choices or ranges")
    return run_sweep(SweepOptions(training, wanted, Path(output), trials, metric, processes, dask), tell)


def prepare(
    files: Paths,
    labels: Labels,
    output: str | os.PathLike[str],
    *,
    params: Content = None,
    preproc: Content = None,
    seed: int = 0,
    processes: int | None = None,
    dask: str | None = None,
    tell: Tell = print,
    **options: Any,
) -> None:
    """Read, select and assemble events once, to train on them many times.

    Args:
        output: New folder, which :func:`train` takes as ``files``.
        processes, dask: How many processes of this machine do the work, or the address of a Dask scheduler.
        files, labels, params, preproc, seed: See :func:`train`.
        options: ``specs`` and ``dtype``.

    Raises:
        MlaasError: In one line, what the user can mend.
    """
    prepare_events(
        PrepareOptions(
            _files(files), str(_labels(labels)), Path(output), _content(params), _content(preproc), seed=seed,
            processes=processes, dask=dask, **_paths(options),
        ),
        tell,
    )  # fmt: skip


def score(
    model: str,
    files: Paths,
    out: str | os.PathLike[str],
    registry: str | None = None,
    *,
    tell: Tell = print,
    **options: Any,
) -> Scored:
    """Score every event of some files.

    Args:
        model: ``net``, ``net:3`` or ``net@alias`` in ``registry``, or the path of a bundle.
        out: ``.root`` or ``.parquet``, or a folder for a file of scores for each file.
        registry: Database (sqlite:///FILE, postgresql://…) or server (http://…).
        options: Of :class:`mlaas.scoring.ScoreOptions`.

    Raises:
        MlaasError: In one line, what the user can mend.
    """
    return score_files(ScoreOptions(model, _files(files), Path(out), registry, **options), tell)


def inspect(
    file: str | os.PathLike[str],
    tree: str | None = None,
    branches: Sequence[str] = (),
    nevts: int = -1,
    dtype: str | None = None,
) -> Inspection:
    """Trees and branches of a file: type, kind, dimension, range, share of missing values.

    Raises:
        MlaasError: In one line, what the user can mend.
    """
    return inspect_file(os.fspath(file), tree, dtype, list(branches), nevts)


def _files(files: Paths) -> str:
    if isinstance(files, str | os.PathLike):
        return os.fspath(files)
    names = [os.fspath(file) for file in files]
    if odd := [name for name in names if "," in name]:
        raise ParameterError(f"file {odd[0]!r} has a comma in its name: expected none")
    return ",".join(names)


def _labels(labels: Labels | None) -> str | None:
    if labels is None or isinstance(labels, str):
        return labels
    return ",".join(map(str, labels)) if isinstance(labels, Sequence) else str(labels)


def _content(given: Content) -> Path | Mapping[str, Any] | None:
    return given if given is None or isinstance(given, Mapping) else Path(given)


def _paths(options: dict[str, Any]) -> dict[str, Any]:
    """Options with paths where people give texts."""
    paths = ("specs", "fout", "summary")
    return {name: Path(value) if name in paths and value is not None else value for name, value in options.items()}
