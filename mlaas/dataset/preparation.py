"""Assemble all events once, into a folder that training reads."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlaas.cluster import Cluster
from mlaas.dataset.arrowfiles import BatchEntry, write_batches
from mlaas.dataset.dataset import Dataset
from mlaas.dataset.firstpass import Opening
from mlaas.dataset.manifest import Manifest
from mlaas.dataset.prepared import SPECS
from mlaas.dataset.recipe import Recipe
from mlaas.dataset.sources import Source
from mlaas.dataset.split import PARTS
from mlaas.dataset.stream import Prepared
from mlaas.errors import DataError, ParameterError
from mlaas.prefetch import read_ahead
from mlaas.specs import Progress, Unit, units


@dataclass(frozen=True)
class _Task:
    """Events to assemble, and the file to write them to."""

    recipe: Recipe
    opening: Opening
    unit: Unit
    path: Path


def prepare(
    dataset: Dataset,
    folder: Path,
    settings: Mapping[str, Any],
    cluster: Cluster | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Write the events of ``dataset`` to ``folder``, which is there as a whole afterwards or not at all.

    Args:
        settings: What training has to agree with.
        cluster: Where to do it; None is this process. The files are the same, byte for byte.
        progress: Called with events done and events in all.

    Raises:
        ParameterError: The folder is there already, or its parent is not.
        DataError: A file has become unreadable, or the folder cannot be written to.
    """
    check_folder(folder)
    try:
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror}") from error
    try:
        batches = _write_all(dataset, unfinished, cluster, progress)
        manifest = _manifest(dataset, batches, settings)
        manifest.save(unfinished)
        dataset.specs.save(unfinished / SPECS)
        unfinished.chmod(0o755)
        unfinished.rename(folder)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return manifest


def check_folder(folder: Path) -> None:
    """Find out before the work whether ``folder`` can be made; raises ParameterError."""
    if folder.exists():
        raise ParameterError(f"{folder} is there already; expected a new folder")
    if not folder.resolve().parent.is_dir():
        raise ParameterError(f"{folder}: there is no folder {folder.resolve().parent}")


def _write_all(
    dataset: Dataset, folder: Path, cluster: Cluster | None, progress: Progress | None
) -> list[list[BatchEntry]]:
    """For each file of events, the record batches that hold them."""
    sources = dataset.sources.files
    todo = units(dataset.sources.readers, dataset.sources.limits, dataset.recipe.names)
    tasks = [
        _Task(dataset.recipe, Opening.of(sources[unit.number], dataset.dtype), unit, folder / f"{number:06d}.arrow")
        for number, unit in enumerate(todo)
    ]
    results: Iterator[list[BatchEntry]]
    if cluster is None:
        results = (_assemble(task, sources[task.unit.number]) for task in tasks)
    else:
        results = cluster.map(_assemble_elsewhere, tasks)
    batches: list[list[BatchEntry]] = [[] for _ in sources]
    done, total = 0, sum(dataset.sources.limits)
    for unit, entries in zip(todo, results, strict=True):
        batches[unit.number] += entries
        done += unit.entries
        if progress is not None:
            progress(done, total)
    return batches


def _assemble_elsewhere(task: _Task) -> list[BatchEntry]:
    return _assemble(task, task.opening.open())


def _assemble(task: _Task, source: Source) -> list[BatchEntry]:
    recipe = task.recipe

    def blocks() -> Iterator[Prepared]:
        for start, stop in task.unit.ranges:
            yield recipe.read(source, task.unit.number, start, stop, normalise=False)

    return write_batches(task.path, read_ahead(blocks()), recipe.assembler, not recipe.weights.trivial)


def _manifest(dataset: Dataset, batches: list[list[BatchEntry]], settings: Mapping[str, Any]) -> Manifest:
    return Manifest(
        features=dataset.features,
        batches=batches,
        labels=[None if isinstance(source.label, str) else source.label for source in dataset.sources.files],
        label_branch=dataset.label_branch,
        entries=dataset.entries,
        cutflows=dataset.cutflows,
        counts={part: dataset.counts[part] for part in PARTS},
        class_counts={part: sorted(dataset.class_counts[part].items()) for part in PARTS},
        weighted=dataset.weighted,
        notes=dataset.notes,
        preproc=dict(dataset.selection.content),
        settings=dict(settings),
    )
