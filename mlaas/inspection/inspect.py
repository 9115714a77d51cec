"""One pass over the events of a file, for the range of every branch."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlaas.errors import DataError, ParameterError, listing
from mlaas.features import choose
from mlaas.readers import Branch, Reader, list_trees, open_reader
from mlaas.readers.arrays import flat_values, jagged_values

# Bytes of uncompressed branches that are read at a time.
BLOCK_BYTES = 16 << 20

Progress = Callable[[int, int], None]


@dataclass
class BranchSummary:
    """A branch over all events that were read.

    Attributes:
        minimum: Smallest finite value; None where there is none. maximum: largest.
        dimension: Most numbers in an event; 1 for flat.
        values: Numbers seen, missing ones included.
        missing: How many of them are missing or not finite.
        empty: Events without any number, of a jagged branch.
    """

    branch: Branch
    minimum: float | None = None
    maximum: float | None = None
    dimension: int = 0
    values: int = 0
    missing: int = 0
    empty: int = 0

    def add(self, array: Any) -> None:
        """Take in an awkward array of events."""
        numbers, counts = numbers_of(array, self.branch)
        finite = numbers[np.isfinite(numbers)]
        self.values += len(numbers)
        self.missing += len(numbers) - len(finite)
        self.empty += int(np.count_nonzero(counts == 0))
        self.dimension = max(self.dimension, int(counts.max(initial=0)))
        if len(finite):
            low, high = float(finite.min()), float(finite.max())
            self.minimum = low if self.minimum is None else min(self.minimum, low)
            self.maximum = high if self.maximum is None else max(self.maximum, high)

    @property
    def missing_share(self) -> float | None:
        """Share of the numbers that are missing or not finite; None where there is no number."""
        return self.missing / self.values if self.values else None


@dataclass
class Inspection:
    """What is in a file.

    Attributes:
        trees: Name of every tree → its events; one without a name where the format has no trees.
        tree: The one whose branches follow; None where several are there and none was asked for.
        entries: Events of that tree.
        read: How many of them were read.
        seconds: How long reading them took.
        branches: By name, in the order of the file.
        skipped: Branch name → why it cannot be a feature.
    """

    path: str
    trees: dict[str, int]
    tree: str | None = None
    entries: int = 0
    read: int = 0
    seconds: float = 0.0
    branches: dict[str, BranchSummary] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def events_per_second(self) -> float | None:
        """None where no event was read."""
        return self.read / self.seconds if self.read and self.seconds else None


def inspect_file(
    path: str,
    tree: str | None = None,
    dtype: str | None = None,
    selected: Sequence[str] = (),
    nevts: int = -1,
    progress: Progress | None = None,
) -> Inspection:
    """Read the events of a file once.

    Args:
        path, tree, dtype: See :func:`mlaas.readers.open_reader`.
        selected: Names and patterns of branches; empty takes all.
        nevts: How many of the first events to read; -1 reads all.
        progress: Called with events done and events in all.

    Raises:
        DataError: The file or the tree cannot be used.
        ParameterError: A name or pattern fits no branch.
    """
    if nevts < -1:
        raise ParameterError(f"--nevts {nevts}: expected -1 for all events, or a number of events")
    trees = list_trees(path, dtype)
    if not trees:
        raise DataError(f"{path}: holds no TTree and no RNTuple")
    if tree is None and len(trees) > 1:
        return Inspection(path, trees)
    with open_reader(path, tree, dtype) as reader:
        names = _chosen(reader, selected)
        read = reader.entries if nevts < 0 else min(nevts, reader.entries)
        found = Inspection(path, trees, reader.tree, reader.entries, read, skipped=dict(reader.skipped))
        found.branches = {name: BranchSummary(reader.branches[name]) for name in names}
        for events, seconds in _timed_blocks(reader, names, read, progress):
            found.seconds += seconds
            for name, summary in found.branches.items():
                summary.add(events[name])
    return found


def event_blocks(
    path: str, tree: str | None, dtype: str | None, names: Sequence[str], nevts: int
) -> Iterator[dict[str, Any]]:
    """The first ``nevts`` events of a file, block by block."""
    with ExitStack() as stack:
        reader = stack.enter_context(open_reader(path, tree, dtype))
        for events, _ in _timed_blocks(reader, names, nevts, None):
            yield events


def numbers_of(array: Any, branch: Branch) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """All numbers of the events in ``array``, and int64 (n,) how many each has."""
    if branch.kind == "flat":
        numbers = flat_values(array)
        return numbers, np.ones(len(numbers), dtype=np.int64)
    offsets, content = jagged_values(array)
    return content[offsets[0] : offsets[-1]], np.diff(offsets)


def _chosen(reader: Reader, selected: Sequence[str]) -> list[str]:
    if not reader.branches:
        why = listing((f"{name} ({reason})" for name, reason in reader.skipped.items()), 3)
        raise DataError(f"{reader.path}: no branch holds numbers: {why}")
    return choose(reader.branches, selected, (), reader.skipped)


def _timed_blocks(
    reader: Reader, names: Sequence[str], stop: int, progress: Progress | None
) -> Iterator[tuple[dict[str, Any], float]]:
    """The events of each block, and the seconds that reading them took."""
    for start, end in reader.blocks(names, stop, BLOCK_BYTES):
        before = time.perf_counter()
        events = reader.values(names, start, end)
        yield events, time.perf_counter() - before
        if progress is not None:
            progress(end, stop)
