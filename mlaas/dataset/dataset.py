"""Files and labels in, mixed, shuffled and split chunks of events out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mlaas.assembly import Assembler
from mlaas.dataset.prefetch import read_ahead
from mlaas.dataset.sources import Source, open_sources
from mlaas.dataset.split import PARTS, Part, Split
from mlaas.dataset.stream import Prepared, Segment, Stream, chunk_bounds
from mlaas.dataset.tally import Tally
from mlaas.errors import DataError, ParameterError, SpecsError, listing
from mlaas.features import columns, common_branches
from mlaas.readers import Branch
from mlaas.readers.base import Events
from mlaas.selection import Selection
from mlaas.specs import Pass, Progress, Specs, compute_specs, specs_identity


@dataclass(frozen=True)
class DatasetParams:
    """How events become chunks.

    Attributes:
        selected: Names and glob patterns of the branches to use; empty uses all.
        excluded: Names and glob patterns of branches to leave out.
        nevts: Events to use of all files together; -1 uses all.
        chunk_size: Events for a chunk, of all files together and before the selection and the split.
        shuffle: Whether the events of a training chunk are in random order.
        test: Fraction of all events in the test part.
        validation: Fraction of the other events in the validation part.
        seed: Of the split and of the order.
        fill: Normalised value of what is missing.
    """

    selected: Sequence[str] = ()
    excluded: Sequence[str] = ()
    nevts: int = -1
    chunk_size: int = 10_000
    shuffle: bool = True
    test: float = 0.2
    validation: float = 0.2
    seed: int = 0
    fill: float = 0.0

    def __post_init__(self) -> None:
        if self.nevts != -1 and self.nevts < 1:
            raise ParameterError(f"nevts: {self.nevts} is given; expected -1 for all events, or at least 1")
        if self.chunk_size < 1:
            raise ParameterError(f"chunk_size: {self.chunk_size} is given; expected at least 1")
        for name, fraction in (("test", self.test), ("validation", self.validation)):
            if not 0 <= fraction < 1:
                raise ParameterError(f"{name}: {fraction} is given; expected a fraction from 0 to below 1")
        if self.seed < 0:
            raise ParameterError(f"seed: {self.seed} is given; expected at least 0")


@dataclass(frozen=True)
class Chunk:
    """A block of events that looks like the whole.

    Attributes:
        x: float32 (n, width), normalised and filled.
        mask: bool (n, width), True where there is a value.
        y: float32 (n,), labels.
    """

    x: NDArray[np.float32]
    mask: NDArray[np.bool_]
    y: NDArray[np.float32]


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
        cutflow: Text of each cut → events left after it.
        counts: Part → events after the selection.
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
        self._split = Split(self.params.seed, self.params.test, self.params.validation)
        self._sources = open_sources(files, labels, tree, dtype, self.params.nevts)
        try:
            if self._sources.note:
                self.notes.append(self._sources.note)
            branches, unusable = common_branches(
                self._sources.readers, self.selection, self.label_branch, self.params.selected, self.params.excluded
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
        """Yield all events of ``part``, each once, while one thread reads ahead.

        Every chunk takes events from all files in proportion to their sizes. Those of ``train`` are in
        an order that depends on the seed, the epoch and the chunk; the others are in the order of the files.

        Raises:
            DataError: A file has become unreadable.
        """
        return read_ahead(self._normalised(_checked(part), epoch))

    def raw_chunks(self, part: Part) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Yield all events of ``part`` in the order of the files, as values that are not normalised.

        Returns:
            float32 (n, width) with NaN for what is missing, and float32 (n,) labels, for each chunk.
        """
        for raw, y in self._matrices(_checked(part), None):
            raw[~np.isfinite(raw)] = np.nan
            yield raw, y

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
        tally = Tally(self._sources.files, self._split, self.selection)
        path = None if specs_path is None else Path(specs_path)
        also = [self.label_branch] if self.label_branch else []
        if path is not None and path.exists():
            self.specs = Specs.load(path)
            try:
                self.specs.require(specs_identity(readers, branches, self.selection, limits))
            except SpecsError as error:
                raise SpecsError(f"{path}: {error}") from error
            names = list(dict.fromkeys([*self.selection.required(readers[0].branches), *also]))
            Pass(readers, limits, names, self.selection, progress).run(tally.add)
        else:
            if path is not None and not path.parent.is_dir():
                raise SpecsError(f"{path}: the specs cannot be written, there is no folder {path.parent}")
            self.specs = compute_specs(readers, branches, self.selection, limits, progress, [tally.add], also)
        self.cutflow = tally.cutflow
        self.counts = tally.counts
        self.class_counts = tally.class_counts
        self._check_counts(tally.labels)
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
        if self.classes and set(self.class_counts["train"]) != set(self.classes):
            missing = set(self.classes) - set(self.class_counts["train"])
            raise DataError(f"the training part has no event of label {min(missing):g}; expected more events")

    def _set_features(self) -> None:
        for name, why in self.specs.dropped.items():
            self.notes.append(f"{name} is not used: {why}")
        self.features = self.specs.features
        if not self.features:
            raise DataError("no feature is left: all are empty in every event")
        for name, branch in self.specs.branches.items():
            if branch.not_finite and branch.minimum is not None:
                self.notes.append(f"{name}: {branch.not_finite} of {branch.values} values are not finite")
        used = [self.specs.branches[feature.name] for feature in self.features]
        self.assembler = Assembler(
            self.features,
            [branch.minimum or 0.0 for branch in used],
            [branch.maximum or 0.0 for branch in used],
            self.params.fill,
        )

    def _normalised(self, part: Part, epoch: int) -> Iterator[Chunk]:
        for raw, y in self._matrices(part, epoch if part == "train" and self.params.shuffle else None):
            x, mask = self.assembler.normalise(raw, out=raw)
            yield Chunk(x, mask, y)

    def _matrices(self, part: Part, epoch: int | None) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Raw matrix and labels of each chunk, in random order where an epoch is given."""
        streams = [self._stream(source, part) for source in self._sources.files]
        bounds = chunk_bounds(self._sources.limits, self.params.chunk_size)
        for index in range(len(bounds) - 1):
            segments = [
                segment
                for stream, start, stop in zip(streams, bounds[index], bounds[index + 1], strict=True)
                for segment in stream.take(int(start), int(stop))
            ]
            targets = np.arange(sum(len(segment.rows) for segment in segments))
            if epoch is not None:
                targets = np.random.default_rng([self.params.seed, epoch, index]).permutation(targets)
            if len(targets):
                yield self._matrix(segments, targets)

    def _matrix(
        self, segments: Sequence[Segment], targets: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        raw = np.full((len(targets), self.assembler.width), np.nan, dtype=np.float32)
        y = np.empty(len(targets), dtype=np.float32)
        start = 0
        for segment in segments:
            places = targets[start : start + len(segment.rows)]
            self.assembler.place(segment.prepared.block, segment.rows, raw, places)
            y[places] = segment.prepared.labels[segment.rows]
            start += len(segment.rows)
        return raw, y

    def _stream(self, source: Source, part: Part) -> Stream:
        in_file = source.reader.branches
        needed = [feature.name for feature in self.features] + self.selection.required(in_file)
        needed += [self.label_branch] if self.label_branch else []
        names = [name for name in dict.fromkeys(needed) if name in in_file]

        def prepare(events: Events, start: int, stop: int) -> Prepared:
            selected = self.selection.apply(events, stop - start)
            parts = self._split.parts(source.reader.path, start, stop)
            wanted = selected.kept & (parts == PARTS.index(part))
            labels = source.labels(selected.events, stop - start)
            return Prepared(self.assembler.prepare(selected.events), wanted, labels)

        return Stream(source.reader, names, source.limit, len(self._sources.files), prepare)


def _checked(part: Part) -> Part:
    if part not in PARTS:
        raise ParameterError(f"part {part!r} is not known; expected one of {listing(PARTS)}")
    return part
