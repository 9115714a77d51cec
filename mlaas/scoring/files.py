"""Files that fit the model, and their events as the model takes them."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlaas.assembly import Assembler
from mlaas.blocks import block_ranges
from mlaas.dataset.split import remainders
from mlaas.errors import DataError, SelectionError, listing, suggestion
from mlaas.features import columns
from mlaas.normalisation import Scaling
from mlaas.prefetch import read_ahead
from mlaas.readers import Reader
from mlaas.readers.arrays import flat_values
from mlaas.readers.base import Branch
from mlaas.readers.encoded import open_encoded
from mlaas.scoring.identifiers import check_identifiers, exact_values, usual_identifiers
from mlaas.scoring.model import FloatArray, Model

# Uncompressed bytes that are read at a time, and what they may become as raw values of a very wide model.
BLOCK_BYTES, RAW_BYTES = 16 << 20, 64 << 20

Range = tuple[int, int]


@dataclass(frozen=True)
class EventFile:
    """A file that has all branches that the model and the output need.

    Attributes:
        path, tree, dtype: As they were given; see :func:`mlaas.readers.open_reader`.
        names: Branches to read.
        identifiers: Branches that are kept → dtype of their numbers in this file.
        categories: See :class:`mlaas.scoring.model.Model`.
    """

    path: str
    tree: str | None
    dtype: str | None
    identity: str
    entries: int
    names: tuple[str, ...]
    identifiers: dict[str, np.dtype[np.generic]]
    categories: dict[str, tuple[str, ...]]

    def open(self) -> Reader:
        """Open it again.

        Raises:
            DataError: It is gone, or holds other events than before.
        """
        reader = open_encoded(self.path, self.tree, self.dtype, self.categories)
        if reader.identity != self.identity:
            reader.close()
            raise DataError(f"{self.path}: the file has changed since it was looked at")
        return reader

    def ranges(self, reader: Reader, step: int | None, width: int) -> list[Range]:
        """The blocks to read, each from its first entry to past its last.

        Args:
            step: Events in each; None goes by their size.
            width: Numbers in one event, as the model takes it.
        """
        if not self.entries:
            return []
        if step is not None:
            return [(start, min(start + step, self.entries)) for start in range(0, self.entries, step)]
        ranges = block_ranges(reader, self.names, self.entries, BLOCK_BYTES)
        raw = 4 * width * (ranges[0][1] - ranges[0][0])
        if raw <= RAW_BYTES:
            return ranges
        return reader.blocks(self.names, self.entries, max(1, BLOCK_BYTES * RAW_BYTES // raw))


@dataclass(frozen=True)
class Block:
    """Events from ``start`` up to ``stop``, raw (n, width) with NaN for what is missing."""

    start: int
    stop: int
    raw: FloatArray
    identifiers: dict[str, NDArray[np.generic]]


def examine_file(
    path: str, tree: str | None, dtype: str | None, model: Model, identifiers: Sequence[str] | None
) -> EventFile:
    """Look whether a file has all that is needed.

    Args:
        identifiers: Branches to keep; None are those with the usual names.

    Raises:
        DataError: It can't be read, or lacks a branch, or has one of another kind or with the name of a new one.
    """
    with open_encoded(path, tree, dtype, model.categories) as reader:
        with _naming(path):
            required = model.selection.required(reader.branches)
            branches = model.selection.branches(reader.branches)
        _check_features(reader, model, branches)
        kept = usual_identifiers(reader.branches) if identifiers is None else list(identifiers)
        check_identifiers(reader, kept)
        features = [feature.name for feature in model.features if feature.name in reader.branches]
        return EventFile(
            path, tree, dtype, reader.identity, reader.entries,
            tuple(dict.fromkeys([*features, *required, *kept])),
            {name: np.dtype(reader.branches[name].dtype) for name in kept},
            model.categories,
        )  # fmt: skip


def read_blocks(
    file: EventFile,
    reader: Reader,
    ranges: Sequence[Range],
    model: Model,
    identifiers: dict[str, np.dtype[np.generic]],
) -> Generator[Block, None, None]:
    """The events of ``ranges``, while one thread reads ahead and another one assembles.

    Args:
        identifiers: Branches that are kept → dtype of their numbers in the output.
    """
    assembler = Assembler(model.features, [Scaling(0.0, 1.0)] * len(model.features))
    places = columns(model.features)
    required = (
        None
        if model.missing
        else np.repeat([one.kind == "flat" for one in model.features], [one.dimension for one in model.features])
    )

    def assembled() -> Iterator[Block]:
        reading = ((start, stop, reader.read(file.names, start, stop)) for start, stop in ranges)
        for start, stop, events in read_ahead(reading):
            kept = exact_values(file.path, events, identifiers)
            with _naming(file.path):
                events = model.selection.apply(events, stop - start).events
            raw = assembler.raw(events)
            for name, modulo in model.moduli.items():
                what = f"{file.path}: branch {name}"
                raw[:, places.index(name)] = remainders(flat_values(events[name]), modulo, what)
            if required is not None:
                _check_missing(file, model, raw, required, start)
            yield Block(start, stop, raw, kept)

    yield from read_ahead(assembled())


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """Say of which file it is that new branches can't be computed."""
    try:
        yield
    except SelectionError as error:
        raise DataError(f"{path}: {error}") from error


def _check_features(reader: Reader, model: Model, branches: dict[str, Branch]) -> None:
    absent = [feature for feature in model.features if feature.name not in branches]
    for feature in absent:
        if feature.name in reader.skipped:
            raise DataError(f"{reader.path}: branch {feature.name} cannot be used: {reader.skipped[feature.name]}")
    if absent:
        names = [f"{one.name} ({one.kind})" for one in absent]
        what = "branch" if len(absent) == 1 else f"{len(absent)} branches:"
        where = f" in {reader.tree}" if reader.tree else ""
        them = "it" if len(absent) == 1 else "them"
        close = suggestion(absent[0].name, branches)
        raise DataError(f"{reader.path}: no {what} {listing(names)}{where}; {model.reference} expects {them}{close}")
    for feature in model.features:
        kind = branches[feature.name].kind
        if kind != feature.kind:
            raise DataError(
                f"{reader.path}: branch {feature.name} is {kind}; {model.reference} expects it {feature.kind}"
            )


def _check_missing(file: EventFile, model: Model, raw: FloatArray, required: NDArray[np.bool_], start: int) -> None:
    wrong = np.isnan(raw) & required
    if wrong.any():
        event, column = np.argwhere(wrong)[0].tolist()
        raise DataError(
            f"{file.path}: branch {columns(model.features)[column]} has no finite float32 in entry {start + event};"
            f" expected a number, {model.reference} has no rule for missing values"
        )
