"""First pass over the data: range, moments, quantiles and numbers of objects of each branch."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from mlaas.blocks import block_ranges
from mlaas.branchspecs import BranchSpecs
from mlaas.errors import SpecsError, listing
from mlaas.features import Feature
from mlaas.prefetch import read_ahead
from mlaas.readers import basename
from mlaas.readers.arrays import flat_values, jagged_values
from mlaas.readers.base import Branch, Events, Reader
from mlaas.sample import Column, EventSample, event_priorities
from mlaas.selection import Selected, Selection
from mlaas.wholefile import whole_file

FORMAT = 2
# Bytes of uncompressed branches that are read at a time.
BLOCK_BYTES = 16 << 20

# Blocks that are examined together before what they showed is merged: always the same, so that the specs are.
UNIT_BLOCKS = 8

Progress = Callable[[int, int], None]


class Unit(NamedTuple):
    """Some blocks of a file, from the first entry to past the last; a task where there are many processes."""

    number: int
    ranges: tuple[tuple[int, int], ...]

    @property
    def entries(self) -> int:
        return sum(stop - start for start, stop in self.ranges)


@dataclass
class Specs:
    """The specs of all branches, and which data they were computed from.

    Attributes:
        branches: In the order of the features.
        entries: Events that were kept.
        sampled: Events that the quantiles were computed from: all, or so many taken at random.
        identity: See :func:`specs_identity`.
    """

    branches: dict[str, BranchSpecs]
    identity: dict[str, Any]
    entries: int = 0
    sampled: int = 0
    _sample: EventSample = field(default_factory=EventSample, compare=False, repr=False)

    @classmethod
    def empty(cls, branches: Mapping[str, Branch], identity: dict[str, Any]) -> Self:
        """Specs of ``branches`` before any event."""
        return cls({name: BranchSpecs(one.kind, one.dtype) for name, one in branches.items()}, identity)

    def add(self, selected: Selected, priorities: NDArray[np.uint64]) -> None:
        """Take in the events that are kept.

        Args:
            priorities: uint64 (n,) of all events; see :func:`mlaas.sample.event_priorities`.
        """
        kept = selected.kept
        self.entries += int(np.count_nonzero(kept))
        columns = _columns(selected.events, self.branches, kept)
        for name, column in columns.items():
            self.branches[name].add(column)
        self._sample.add(priorities[kept], columns)

    def merge(self, other: "Specs") -> None:
        """Take in those of other events of the same branches."""
        self.entries += other.entries
        for name, branch in self.branches.items():
            branch.merge(other.branches[name])
        self._sample.merge(other._sample)

    def successor(self) -> "Specs":
        """Specs of the same branches before any event, which leave out of their sample what could not stay in it."""
        branches = {name: BranchSpecs(one.kind, one.dtype) for name, one in self.branches.items()}
        return Specs(branches, self.identity, _sample=self._sample.successor())

    def finish(self) -> None:
        """Compute the quantiles, when all events are in."""
        self.sampled = min(self.entries, self._sample.size)
        for name, column in self._sample.columns().items():
            self.branches[name].describe(column)

    @property
    def dropped(self) -> dict[str, str]:
        """Branches that cannot be features → why: they are empty in every event."""
        reasons = {}
        for name, branch in self.branches.items():
            if branch.dimension == 0:
                reasons[name] = "it is empty in every event"
            elif branch.minimum is None:
                reasons[name] = "it has no finite value in any event"
        return reasons

    @property
    def features(self) -> tuple[Feature, ...]:
        """All branches that are not dropped."""
        return self.features_for(1.0)

    def features_for(self, fraction: float) -> tuple[Feature, ...]:
        """All branches that are not dropped, each with the dimension that holds ``fraction`` of the events."""
        dropped = self.dropped
        return tuple(
            Feature(name, branch.kind, branch.dimension_for(fraction), branch.categories)
            for name, branch in self.branches.items()
            if name not in dropped
        )

    def require(self, identity: Mapping[str, Any]) -> None:
        """Check that the specs belong to the data that ``identity`` describes.

        Raises:
            SpecsError: Names everything that differs.
        """
        differing = [
            _difference(what, self.identity.get(what), expected)
            for what, expected in identity.items()
            if self.identity.get(what) != expected
        ]
        if differing:
            raise SpecsError(
                f"the specs are of other data: {'; '.join(differing)}; expected specs of these data, remove "
                "the file to compute them again"
            )

    def save(self, path: str | Path) -> None:
        """Write JSON; a reader sees the old file or the new one, never a part.

        Raises:
            SpecsError: The file cannot be written.
        """
        branches = {name: asdict(branch) for name, branch in self.branches.items()}
        content = {
            "format": FORMAT, "identity": self.identity, "entries": self.entries, "sampled": self.sampled,
            "branches": branches,
        }  # fmt: skip
        try:
            with whole_file(Path(path)) as unfinished:
                unfinished.write_text(json.dumps(content, indent=1, allow_nan=False), "utf-8")
        except OSError as error:
            raise SpecsError(f"{path}: the specs cannot be written: {error.strerror}") from error

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what ``save`` has written.

        Raises:
            SpecsError: Missing, damaged, or of another version.
        """
        try:
            content = json.loads(Path(path).read_text("utf-8"))
            if content["format"] != FORMAT:
                raise SpecsError(f"{path}: specs of format {content['format']}; expected {FORMAT}")
            branches = {name: BranchSpecs(**one) for name, one in content["branches"].items()}
            return cls(branches, content["identity"], content["entries"], content["sampled"])
        except OSError as error:
            raise SpecsError(f"{path}: {error.strerror}") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SpecsError(f"{path}: not specs as mlaas writes them, remove the file") from error


def units(readers: Sequence[Reader], limits: Sequence[int], names: Sequence[str]) -> list[Unit]:
    """All events of ``readers``, up to the ``limits``, in order.

    Args:
        names: Branches that will be read.
    """
    found = []
    for number, (reader, limit) in enumerate(zip(readers, limits, strict=True)):
        ranges = block_ranges(reader, names, limit, BLOCK_BYTES)
        found += [Unit(number, tuple(ranges[at : at + UNIT_BLOCKS])) for at in range(0, len(ranges), UNIT_BLOCKS)]
    return found


def selected_blocks(
    reader: Reader, unit: Unit, names: Sequence[str], selection: Selection
) -> Iterator[tuple[int, Selected]]:
    """First entry and events of every block of ``unit``, while a thread reads ahead."""
    blocks = ((start, stop, reader.values(names, start, stop)) for start, stop in unit.ranges)
    for start, stop, events in read_ahead(blocks):
        yield start, selection.apply(events, stop - start)


def compute_specs(
    readers: Sequence[Reader],
    branches: Mapping[str, Branch],
    selection: Selection,
    limits: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> Specs:
    """Read every event once.

    Args:
        readers: The files, whose branches are alike.
        branches: Those to describe, new ones of ``selection`` included.
        limits: For each reader how many of its first events to take; None takes all.
    """
    limits = [reader.entries for reader in readers] if limits is None else limits
    specs = Specs.empty(branches, specs_identity(readers, branches, selection, limits))
    in_files = readers[0].branches
    names = [name for name in dict.fromkeys([*branches, *selection.required(in_files)]) if name in in_files]
    done, total = 0, sum(limits)
    for unit in units(readers, limits, names):
        reader = readers[unit.number]
        part = specs.successor()
        for start, selected in selected_blocks(reader, unit, names, selection):
            part.add(selected, event_priorities(reader.identity, start, start + len(selected.kept)))
            done += len(selected.kept)
            if progress is not None:
                progress(done, total)
        specs.merge(part)
    specs.finish()
    return specs


def specs_identity(
    readers: Sequence[Reader], branches: Mapping[str, Branch], selection: Selection, limits: Sequence[int]
) -> dict[str, Any]:
    """What the specs depend on: the same for the same data under another path or from a server."""
    files = [
        {"file": basename(reader.path), "identity": reader.identity, "events": limit}
        for reader, limit in zip(readers, limits, strict=True)
    ]
    return {
        "tree": sorted({reader.tree for reader in readers}),
        "files": sorted(files, key=lambda one: str(one["identity"])),
        "nevts": sum(limits),
        "branches": [f"{branch.name} ({branch.kind})" for branch in branches.values()],
        "selection": selection.digest,
    }


def _columns(events: Events, branches: Mapping[str, BranchSpecs], kept: NDArray[np.bool_]) -> dict[str, Column]:
    """The events that are ``kept``, bool (n,); branches whose objects sit at the same offsets share their counts."""
    every = bool(kept.all())
    columns = {}
    before: NDArray[np.int64] | None = None
    for name, branch in branches.items():
        if branch.kind == "flat":
            numbers = flat_values(events[name])
            columns[name] = Column(None, numbers if every else numbers[kept])
            continue
        offsets, content = jagged_values(events[name])
        if before is None or not np.array_equal(offsets, before):
            before, counts = offsets, np.diff(offsets)
            objects = slice(None) if every else np.repeat(kept, counts)
            counts = counts if every else counts[kept]
        columns[name] = Column(counts, content[offsets[0] : offsets[-1]][objects])
    return columns


def _difference(what: str, had: Any, expected: Any) -> str:
    """``what`` differs, and how, in a few words."""
    if what == "selection":
        return "selection (other new branches or cuts)"
    if not isinstance(had, list) or not isinstance(expected, list):
        return f"{what} ({had!r} instead of {expected!r})"
    before = [one["file"] if isinstance(one, dict) else one for one in had if one not in expected]
    after = [one["file"] if isinstance(one, dict) else one for one in expected if one not in had]
    if not before and not after:
        return f"{what} (in another order)"
    return f"{what} ({listing(before, 3)} instead of {listing(after, 3)})"
