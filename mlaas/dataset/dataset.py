"""Files and labels in, mixed, shuffled and split chunks of events out."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mlaas.assembly import Assembler
from mlaas.dataset.chunks import Chunk, ChunkMaker
from mlaas.dataset.frameworks import Batch, batches, tensorflow_dataset, torch_dataset
from mlaas.dataset.params import DatasetParams
from mlaas.dataset.roles import check_role
from mlaas.dataset.sources import open_sources
from mlaas.dataset.split import PARTS, Part, Split
from mlaas.dataset.tally import Tally
from mlaas.dataset.weights import check_cross_sections, make_weights
from mlaas.errors import DataError, ParameterError, SpecsError, listing
from mlaas.features import columns, common_branches
from mlaas.normalisation import checked, scalings
from mlaas.readers import Branch
from mlaas.selection import Selection
from mlaas.specs import Pass, Progress, Specs, compute_specs, specs_identity


class Dataset:
    """Opens all files, makes the first pass over them, and then yields chunks as often as wanted.

    Args:
        files: Local paths and ``root://`` URLs.
        labels: A number for each file, or the name of the branch that holds the label.
        params: See :class:`DatasetParams`.
        tree: Name of the tree; None takes the only one of each file.
        dtype: Format of the files; None goes by their suffixes.
        selection: New branches and cuts.
        specs_path: Specs to use; where the file does not exist they are computed and written to it.
        progress: Called during the first pass with events done and events in all.

    Attributes:
        features: Inputs of the model, in order; ``columns`` names each of their columns.
        assembler: Places and normalises the features.
        specs: Result of the first pass.
        cutflow: Text of each cut → events left after it. cutflows: the same for the path of each file.
        counts: Part → events after the selection.
        weights: How much each event counts.
        class_counts: Part → label → events after the selection; empty where the label is a quantity.
        notes: What people should know, a line each.

    Raises:
        MlaasError: Of the kind that names what has to be mended.
    """

    def __init__(
        self,
        files: Sequence[str],
        labels: Sequence[str | float],
        params: DatasetParams | None = None,
        *,
        tree: str | None = None,
        dtype: str | None = None,
        selection: Selection | None = None,
        specs_path: str | Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.params = params or DatasetParams()
        self.selection = selection or Selection()
        self.notes: list[str] = []
        self._split = Split(
            self.params.seed, self.params.test, self.params.validation,
            self.params.event_number, self.params.folds, self.params.fold,
        )  # fmt: skip
        self._sources = open_sources(files, labels, tree, dtype, self.params.nevts)
        try:
            if self._sources.note:
                self.notes.append(self._sources.note)
            self._check_roles()
            branches, unusable = common_branches(
                self._sources.readers, self.selection, self._roles, self.params.selected, self.params.excluded
            )
            if unusable:
                listed = listing((f"{name} ({why})" for name, why in unusable.items()), 5)
                self.notes.append(f"not used: {listed}")
            self._first_pass(branches, specs_path, progress)
            self._set_features()
        except BaseException:
            self.close()
            raise

    @property
    def entries(self) -> dict[str, int]:
        """Path of each file → events used of it, before the selection."""
        return {source.reader.path: source.limit for source in self._sources.files}

    @property
    def columns(self) -> list[str]:
        """Names of the columns of the matrices."""
        return columns(self.features)

    @property
    def label_branch(self) -> str | None:
        """Branch that holds the label; None where each file has one label."""
        return self._sources.label_branch

    @property
    def classes(self) -> tuple[float, ...]:
        """Labels in order; empty where the label is a quantity."""
        return tuple(sorted({label for counts in self.class_counts.values() for label in counts}))

    def chunks(self, part: Part, epoch: int = 0) -> Iterator[Chunk]:
        """Yield all events of ``part``, each once, while threads read ahead.

        Every chunk takes events from all files in proportion to their sizes. Those of ``train`` are in
        an order that depends on the seed and the epoch; the others are in the order of the files.

        Raises:
            DataError: A file has become unreadable.
        """
        return self._maker.chunks(_checked(part), epoch if part == "train" and self.params.shuffle else None)

    def raw_chunks(self, part: Part) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Yield all events of ``part`` in the order of the files, as values that are not normalised.

        Returns:
            float32 (n, width) with NaN for what is missing, and float32 (n,) labels, for each chunk.
        """
        return self._maker.raw(_checked(part))

    def batches(self, part: Part, batch_size: int, epoch: int = 0) -> Iterator[Batch]:
        """All events of ``part`` in batches of equal size; see :func:`mlaas.dataset.frameworks.batches`."""
        return batches(self, _checked(part), batch_size, epoch)

    def tensorflow(self, part: Part, batch_size: int) -> Any:
        """The batches of ``part`` as a ``tf.data.Dataset``, ready for ``fit``; every iteration is the next epoch.

        Its elements are those of :meth:`batches`.
        """
        return tensorflow_dataset(self, _checked(part), batch_size)

    def torch(self, part: Part, batch_size: int) -> Any:
        """The batches of ``part`` as a ``torch.utils.data.IterableDataset``; every iteration is the next epoch.

        Give it to a ``DataLoader`` with ``batch_size=None`` and no workers: it reads ahead by itself.
        """
        return torch_dataset(self, _checked(part), batch_size)

    def require_every_class(self) -> None:
        """Check what a classifier needs: the training part has events of every label.

        Raises:
            DataError: It has none of one label.
        """
        missing = set(self.classes) - set(self.class_counts["train"])
        if missing:
            raise DataError(f"the training part has no event of label {min(missing):g}; expected more events")

    def close(self) -> None:
        """Close all files."""
        self._sources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _first_pass(
        self, branches: dict[str, Branch], specs_path: str | Path | None, progress: Progress | None
    ) -> None:
        """Load or compute the specs, and count the events of each part."""
        readers, limits = self._sources.readers, self._sources.limits
        tally = Tally(self._sources.files, self._split, self.selection, self.params.weight_branch)
        path = None if specs_path is None else Path(specs_path)
        if path is not None and path.exists():
            self.specs = Specs.load(path)
            try:
                self.specs.require(specs_identity(readers, branches, self.selection, limits))
            except SpecsError as error:
                raise SpecsError(f"{path}: {error}") from error
            Pass(readers, limits, self._needed([]), self.selection, progress).run(tally.add)
        else:
            if path is not None and not path.parent.is_dir():
                raise SpecsError(f"{path}: the specs cannot be written, there is no folder {path.parent}")
            self.specs = compute_specs(
                readers, branches, self.selection, limits, progress, [tally.add], list(self._roles)
            )
        self.cutflows = {reader.path: flow for reader, flow in zip(readers, tally.cutflows, strict=True)}
        self.cutflow = tally.cutflow
        self.counts = tally.counts
        self.class_counts = tally.class_counts
        self._check_counts(tally.labels)
        self._set_weights(tally)
        if path is not None and not path.exists():
            self.specs.save(path)

    def _check_counts(self, labels: set[float]) -> None:
        if not sum(self.counts.values()):
            flow = ", ".join(f"{left} after '{cut}'" for cut, left in self.cutflow.items())
            raise DataError(f"no event is left after the selection: {flow}")
        if len(labels) == 1:
            raise DataError(f"all events that are left have the label {labels.pop():g}; expected at least two labels")
        for part in PARTS:
            if not self.counts[part]:
                if part == "train":
                    raise DataError("the training part has no event; expected more events")
                self.notes.append(f"the {part} part has no event")

    def _set_weights(self, tally: Tally) -> None:
        params = self.params
        if params.balance:
            if not self.classes:
                raise DataError("balance: the label is a quantity; expected classes")
            self.require_every_class()
        self.weights = make_weights(
            self._sources.files, params.weight_branch, params.cross_sections, params.luminosity,
            self.classes if params.balance else (), self.counts["train"], tally.weights,
        )  # fmt: skip

    def _set_features(self) -> None:
        for name, why in self.specs.dropped.items():
            self.notes.append(f"{name} is not used: {why}")
        self.features = self.specs.features_for(self.params.jagged_quantile)
        if not self.features:
            raise DataError("no feature is left: all are empty in every event")
        used = {feature.name: self.specs.branches[feature.name] for feature in self.features}
        for feature in self.features:
            branch = used[feature.name]
            if branch.not_finite:
                self.notes.append(f"{feature.name}: {branch.not_finite} of {branch.values} values are not finite")
            events, objects = branch.truncated(feature.dimension)
            if events:
                self.notes.append(
                    f"{feature.name}: {feature.dimension} of at most {branch.dimension} objects are used, {events}"
                    f" of {self.specs.entries} events have {objects} more"
                )
        self.assembler = Assembler(self.features, scalings(used, checked(self.params.normalisation)), self.params.fill)
        self._maker = ChunkMaker(
            self._sources.files, self._needed([feature.name for feature in self.features]), self.selection,
            self._split, self.assembler, self.weights, self.params.chunk_size, self.params.seed,
        )  # fmt: skip

    def _needed(self, features: Sequence[str]) -> list[str]:
        """Branches of the files to read for ``features``, the selection and the branches that have a role."""
        in_files = self._sources.readers[0].branches
        names = dict.fromkeys([*features, *self.selection.required(in_files), *self._roles])
        return [name for name in names if name in in_files]

    def _check_roles(self) -> None:
        """Check the branches that hold weights and event numbers; labels have been."""
        check_cross_sections(self.params.cross_sections, len(self._sources.files))
        readers = self._sources.readers
        if self.params.weight_branch:
            check_role(readers, self.selection, self.params.weight_branch, "the weight")
        if self.params.event_number:
            check_role(readers, self.selection, self.params.event_number, "the event number", integer=True)
        roles = (self.label_branch, self.params.weight_branch, self.params.event_number)
        self._roles = tuple(name for name in roles if name is not None)


def _checked(part: Part) -> Part:
    if part not in PARTS:
        raise ParameterError(f"part {part!r} is not known; expected one of {listing(PARTS)}")
    return part
