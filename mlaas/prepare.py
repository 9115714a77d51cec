"""Events assembled once, to train on many times: every step in order."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlaas.cluster import open_cluster
from mlaas.dataset import Dataset, DatasetParams, EventData, PreparedDataset, prepare
from mlaas.dataset.preparation import check_folder
from mlaas.errors import ParameterError
from mlaas.inputs import parse_files, parse_labels
from mlaas.inspection import draw_histograms
from mlaas.params import TrainParams, read_params
from mlaas.progress import Update, progress_bar
from mlaas.selection import Selection

Tell = Callable[[str], None]
# Parameters that training cannot choose any more; it only can agree.
SETTLED = (
    "nevts", "branch", "identifier", "selected_branches", "exclude_branches", "split", "jagged_quantile", "weight",
    "cross_sections", "luminosity", "balance", "event_number", "folds", "fold",
)  # fmt: skip


@dataclass(frozen=True)
class PrepareOptions:
    """What `mlaas prepare` is asked for; see its `--help`."""

    files: str
    labels: str
    output: Path
    params: Path | Mapping[str, Any] | None = None
    preproc: Path | Mapping[str, Any] | None = None
    specs: Path | None = None
    dtype: str | None = None
    seed: int = 0
    dask: str | None = None
    processes: int | None = None


def prepare_events(options: PrepareOptions, tell: Tell) -> None:
    """Assemble all events and write them to a new folder.

    Args:
        tell: called with each line that a person should read.

    Raises:
        MlaasError: in one line, what the user can mend.
    """
    if options.dask and options.processes:
        raise ParameterError("--dask and --processes are both given: expected one of them")
    params = read_params(options.params)
    check_folder(options.output)
    selection = Selection.read(options.preproc)
    files, labels = parse_files(options.files, params.redirector), parse_labels(options.labels)
    with open_cluster(options.dask, options.processes) as cluster:
        with progress_bar("first pass") as update:
            dataset = Dataset(
                files, labels, dataset_params(params, options.seed), tree=params.branch, dtype=options.dtype,
                selection=selection, specs_path=options.specs, progress=update, cluster=cluster,
            )  # fmt: skip
        with dataset:
            tell_dataset(dataset, params, tell)
            with progress_bar("preparing") as update:
                prepare(dataset, options.output.resolve(), _settings(params), cluster, update)
    size = sum(path.stat().st_size for path in options.output.iterdir())
    tell(f"prepared {sum(dataset.counts.values())} events in {options.output}, {size / 1e6:.1f} MB")


def open_prepared(folder: str, dataset: DatasetParams, params: TrainParams, selection: Selection) -> PreparedDataset:
    """Open what `mlaas prepare` has written, to train with `params` and `selection`.

    Raises:
        ParameterError: It was prepared with other parameters, or another selection.
        DataError, SpecsError: It is damaged.
    """
    prepared = PreparedDataset(folder, dataset)
    for name, value in _settings(params).items():
        had = prepared.manifest.settings.get(name)
        if had != value:
            raise ParameterError(
                f"{folder}: prepared with {name} {had!r}, not {value!r}; prepare it again, or train so"
            )
    if selection != Selection() and selection.digest != prepared.selection.digest:
        raise ParameterError(f"{folder}: prepared with another preproc (other new branches or cuts); leave it out")
    return prepared


def dataset_params(params: TrainParams, seed: int) -> DatasetParams:
    """The part of `params` that makes chunks of events."""
    return DatasetParams(
        selected=params.selected_branches,
        excluded=(*params.exclude_branches, *params.identifier),
        nevts=params.nevts,
        chunk_size=params.chunk_size,
        shuffle=params.shuffle,
        test=params.split,
        seed=seed,
        fill=params.nan,
        normalisation=params.normalisation,
        jagged_quantile=params.jagged_quantile,
        weight_branch=params.weight,
        cross_sections=params.cross_sections,
        luminosity=params.luminosity,
        balance=params.balance,
        event_number=params.event_number,
        folds=params.folds,
        fold=params.fold,
    )


def tell_dataset(dataset: EventData, params: TrainParams, tell: Tell) -> None:
    """Say what the data are, and draw them where `params` ask for it."""
    for path, entries in dataset.entries.items():
        tell(f"{path}: {entries} events")
    for cut, left in dataset.cutflow.items():
        by_file = ", ".join(f"{flow[cut]} of {path}" for path, flow in dataset.cutflows.items())
        tell(f"cut {cut}: {left} events left" + (f" ({by_file})" if len(dataset.cutflows) > 1 else ""))
    jagged = sum(feature.kind == "jagged" for feature in dataset.features)
    tell(
        f"{len(dataset.features) - jagged} flat and {jagged} jagged features in {len(dataset.columns)} columns;"
        f" {', '.join(f'{count} {part}' for part, count in dataset.counts.items())} events"
    )
    for note in dataset.notes:
        tell(f"note: {note}")
    if params.hist:
        with progress_bar("histograms") as update:
            drawn = _draw(dataset, Path(params.hist), update)
        tell(f"drawn: {', '.join(str(path) for path in drawn)}")


def _draw(dataset: EventData, target: Path, progress: Update) -> list[Path]:
    """Draw the features of the training part before and after normalisation; the files that were written."""
    used = {feature.name: dataset.specs.branches[feature.name] for feature in dataset.features}
    ranges = {name: (branch.minimum or 0.0, branch.maximum or 0.0) for name, branch in used.items()}
    done = 0

    def chunks() -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        nonlocal done
        for raw, labels in dataset.raw_chunks("train"):
            yield raw, labels
            done += len(labels)
            progress(done, dataset.counts["train"])

    return draw_histograms(target, dataset.features, ranges, chunks(), dataset.assembler.normalise)


def _settings(params: TrainParams) -> dict[str, Any]:
    """As JSON has them."""
    values = params.model_dump(mode="json")
    return {name: values[name] for name in SETTLED}
