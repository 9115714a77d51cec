"""Files and labels in, mixed, shuffled and split chunks of events out."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from mlaas.assembly import Assembler
from mlaas.cluster import Cluster
from mlaas.dataset.base import EventData
from mlaas.dataset.chunks import EventFiles, Mixer
from mlaas.dataset.firstpass import Examination, first_pass
from mlaas.dataset.params import DatasetParams
from mlaas.dataset.recipe import Recipe
from mlaas.dataset.roles import check_role
from mlaas.dataset.sources import open_sources
from mlaas.dataset.split import PARTS, Split
from mlaas.dataset.tally import Tally
from mlaas.dataset.weights import check_cross_sections, make_weights
from mlaas.errors import DataError, SpecsError, listing
from mlaas.features import common_branches
from mlaas.normalisation import checked, scalings
from mlaas.readers import Branch
from mlaas.selection import Selection
from mlaas.specs import Progress, Specs, specs_identity


class Dataset(EventData):
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
        cluster: Where to make the first pass; None is this process, with the same result.

    Attributes:
        sources: The open files. dtype: their format, None where their suffixes tell.
        recipe: What becomes of the events of a file.

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
        cluster: Cluster | None = None,
    ) -> None:
        self.params = params or DatasetParams()
        self.selection = selection or Selection()
        self.notes: list[str] = []
        self.dtype = dtype
        self._split = Split(
            self.params.seed, self.params.test, self.params.validation,
            self.params.event_number, self.params.folds, self.params.fold,
        )  # fmt: skip
        self.shuffle = self.params.shuffle
        self.sources = open_sources(files, labels, tree, dtype, self.params.nevts)
        self.entries = {source.reader.path: source.limit for source in self.sources.files}
        self.label_branch = self.sources.label_branch
        try:
            if self.sources.note:
                self.notes.append(self.sources.note)
            self.sources = self.sources.encoded(self.params.encode)
            self._check_roles()
            branches, unusable = common_branches(
                self.sources.readers, self.selection, self._roles, self.params.selected, self.params.excluded
            )
            if unusable:
                listed = listing((f"{name} ({why})" for name, why in unusable.items()), 5)
                self.notes.append(f"not used: {listed}")
            self._first_pass(branches, specs_path, progress, cluster)
            self._set_features()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all files."""
        self.sources.close()

    def _first_pass(
        self,
        branches: dict[str, Branch],
        specs_path: str | Path | None,
        progress: Progress | None,
        cluster: Cluster | None,
    ) -> None:
        """Load or compute the specs, and count the events of each part."""
        readers, limits = self.sources.readers, self.sources.limits
        path = None if specs_path is None else Path(specs_path)
        known = path is not None and path.exists()
        identity = specs_identity(readers, branches, self.selection, limits)
        if path is not None and known:
            self.specs = Specs.load(path)
            try:
                self.specs.require(identity)
            except SpecsError as error:
                raise SpecsError(f"{path}: {error}") from error
        elif path is not None and not path.parent.is_dir():
            raise SpecsError(f"{path}: the specs cannot be written, there is no folder {path.parent}")
        wanted = {} if known else branches
        examination = Examination(
            wanted, self._needed(wanted), self.selection, self._split, self.params.weight_branch, len(readers)
        )
        found = first_pass(examination, self.sources.files, self.dtype, cluster, progress)
        tally = found.tally
        if not known:
            self.specs = found.specs
            self.specs.identity = identity
            for name, categories in self.sources.categories.items():
                if name in self.specs.branches:
                    self.specs.branches[name].categories = categories
        self.cutflows = {reader.path: flow for reader, flow in zip(readers, tally.cutflows, strict=True)}
        self.counts = tally.counts
        self.class_counts = tally.class_counts
        self._check_counts(tally.labels)
        self._set_weights(tally)
        if path is not None and not known:
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
            self.sources.files, params.weight_branch, params.cross_sections, params.luminosity,
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
        constant = [one for one in self.features if used[one.name].minimum == used[one.name].maximum]
        if constant:
            listed = listing((f"{one.name} ({used[one.name].minimum:g})" for one in constant), 5)
            self.notes.append(f"always of one value, from which nothing can be learned: {listed}")
        self.assembler = Assembler(self.features, scalings(used, checked(self.params.normalisation)), self.params.fill)
        names = self._needed(feature.name for feature in self.features)
        self.recipe = Recipe(names, self.selection, self._split, self.assembler, self.weights)
        self.weighted = not self.weights.trivial
        source = EventFiles(self.sources.files, self.recipe)
        self.mixer = Mixer(source, self.assembler, self.weighted, self.params.chunk_size, self.params.seed)

    def _needed(self, features: Iterable[str]) -> list[str]:
        """Branches of the files to read for ``features``, the selection and the branches that have a role."""
        in_files = self.sources.readers[0].branches
        names = dict.fromkeys([*features, *self.selection.required(in_files), *self._roles])
        return [name for name in names if name in in_files]

    def _check_roles(self) -> None:
        """Check the branches that hold weights and event numbers; labels have been."""
        check_cross_sections(self.params.cross_sections, len(self.sources.files))
        readers = self.sources.readers
        if self.params.weight_branch:
            check_role(readers, self.selection, self.params.weight_branch, "the weight")
        if self.params.event_number:
            check_role(readers, self.selection, self.params.event_number, "the event number", integer=True)
        roles = (self.label_branch, self.params.weight_branch, self.params.event_number)
        self._roles = tuple(name for name in roles if name is not None)
