"""Files and their labels, opened and checked against each other."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mlaas.errors import DataError, suggestion
from mlaas.readers import Reader, open_reader
from mlaas.readers.arrays import flat_values
from mlaas.readers.base import Events
from mlaas.readers.encoded import Categories, EncodedReader, find_categories


@dataclass(frozen=True)
class Source:
    """An open file.

    Attributes:
        label: Of all its events, or the name of the branch that holds the label.
        limit: How many of its first events are used.
    """

    reader: Reader
    label: float | str
    limit: int

    @property
    def label_branch(self) -> str | None:
        """Branch that holds the label; None where all events have the same."""
        return self.label if isinstance(self.label, str) else None

    def labels(self, events: Events, entries: int) -> NDArray[np.float32]:
        """float32 (entries,): the labels of ``events``, which are that many."""
        if isinstance(self.label, str):
            return flat_values(events[self.label]).astype(np.float32)
        return np.full(entries, self.label, dtype=np.float32)


@dataclass(frozen=True)
class Sources:
    """All files of a training.

    Attributes:
        note: What people should know about the number of events; empty when there is nothing.
        categories: Branches of strings that are encoded → their strings in order.
    """

    files: tuple[Source, ...]
    note: str = ""
    categories: Categories = field(default_factory=dict)

    @property
    def label_branch(self) -> str | None:
        """Branch that holds the label; None where every file has one label."""
        return self.files[0].label_branch

    @property
    def readers(self) -> list[Reader]:
        return [source.reader for source in self.files]

    @property
    def limits(self) -> list[int]:
        return [source.limit for source in self.files]

    def encoded(self, names: Sequence[str]) -> "Sources":
        """The same files, with the branches of strings ``names`` as numbers; raises DataError."""
        if not names:
            return self
        categories = find_categories(self.readers, self.limits, names)
        files = tuple(replace(one, reader=EncodedReader(one.reader, categories)) for one in self.files)
        return Sources(files, self.note, categories)

    def close(self) -> None:
        for reader in self.readers:
            reader.close()


def open_sources(
    files: Sequence[str], labels: Sequence[str | float], tree: str | None, dtype: str | None, nevts: int
) -> Sources:
    """Open all ``files``.

    Args:
        labels: A number for each file, or the name of the one branch that holds the label.
        tree, dtype: See :func:`mlaas.readers.open_reader`.
        nevts: Events to use of all files together, shared out by their sizes; -1 uses all.

    Raises:
        DataError: A file cannot be used, or files and labels do not fit together.
    """
    if not files:
        raise DataError("no files are given; expected at least one")
    parsed = _parse_labels(files, labels)
    readers: list[Reader] = []
    try:
        for path in files:
            readers.append(open_reader(path, tree, dtype))
            check_new(readers)
        for reader, label in zip(readers, parsed, strict=True):
            if isinstance(label, str):
                check_label_branch(reader, label)
    except BaseException:
        for reader in readers:
            reader.close()
        raise
    entries = [reader.entries for reader in readers]
    limits = share(nevts, entries) if 0 <= nevts < sum(entries) else entries
    note = f"nevts is {nevts}, but the files have {sum(entries)} events: all are used"
    return Sources(tuple(map(Source, readers, parsed, limits)), note if nevts > sum(entries) else "")


def share(total: int, sizes: Sequence[int]) -> list[int]:
    """Share ``total`` out in proportion to ``sizes``; the shares add up to it, none is above its size."""
    everything = sum(sizes)
    shares = [total * size // everything for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda one: -(total * sizes[one] % everything))
    for one in by_remainder[: total - sum(shares)]:
        shares[one] += 1
    return shares


def _parse_labels(files: Sequence[str], labels: Sequence[str | float]) -> Sequence[str | float]:
    """A number for each file, or for each file the name of the label branch."""
    if len(labels) == 1 and as_number(labels[0]) is None:
        return [str(labels[0])] * len(files)
    if len(labels) != len(files):
        raise DataError(
            f"{len(labels)} labels are given for {len(files)} files; expected a label for each file, or "
            "the name of the branch that holds it"
        )
    numbers = []
    for path, label in zip(files, labels, strict=True):
        number = as_number(label)
        if number is None or not math.isfinite(number):
            raise DataError(f"label {label!r} of {path} is not a number")
        numbers.append(number)
    if len(set(numbers)) == 1:
        raise DataError(f"all files have the label {numbers[0]:g}; expected at least two different labels")
    return numbers


def as_number(label: str | float) -> float | None:
    try:
        return float(label)
    except ValueError:
        return None


def check_new(readers: Sequence[Reader]) -> None:
    """Check that the last of ``readers`` has events, and not those of one before."""
    last = readers[-1]
    if not last.entries:
        raise DataError(f"{last.path}: {last.tree} has no events: leave the file out, or train with --skip-bad-files")
    for before in readers[:-1]:
        if before.identity == last.identity:
            same = "is given twice" if before.path == last.path else f"holds the same data as {before.path}"
            raise DataError(f"{last.path}: the file {same}")


def check_label_branch(reader: Reader, name: str) -> None:
    if name in reader.skipped:
        raise DataError(f"{reader.path}: branch {name} cannot be the label: {reader.skipped[name]}")
    if name not in reader.branches:
        raise DataError(f"{reader.path}: no branch {name} to take the label from{suggestion(name, reader.branches)}")
    if reader.branches[name].kind != "flat":
        raise DataError(f"{reader.path}: branch {name} is jagged; a label is one number an event")
