"""Strings as numbers: a branch of strings becomes that of their places among all strings, in order."""

from collections.abc import Mapping, Sequence

import numpy as np

from mlaas.closing import Closing
from mlaas.errors import DataError, suggestion
from mlaas.readers import open_reader
from mlaas.readers.arrays import Strings, Values, as_awkward
from mlaas.readers.base import Branch, Events, Reader, cut_blocks

# More different strings than this are taken for names or texts, of which no order is a feature.
MAX_CATEGORIES = 1000
_ENTRIES = 100_000

Categories = Mapping[str, tuple[str, ...]]


class EncodedReader(Closing):
    """A file some of whose strings are offered as flat branches; see :class:`mlaas.readers.base.Reader`.

    Args:
        reader: The file.
        categories: Branch of strings → its strings in order, of which the first is 0; others are missing.

    Raises:
        DataError: The file has no such branch of strings.

    Attributes:
        categories: As they were given.
    """

    def __init__(self, reader: Reader, categories: Categories) -> None:
        for name in categories:
            _check(reader, name)
        self._reader = reader
        self.categories = categories
        self._places = {name: {one: place for place, one in enumerate(found)} for name, found in categories.items()}
        self.path, self.tree, self.entries, self.identity = reader.path, reader.tree, reader.entries, reader.identity
        self.branches = reader.branches | {name: Branch(name, "flat", "float32") for name in categories}
        self.skipped = {name: why for name, why in reader.skipped.items() if name not in categories}
        self.texts = reader.texts - set(categories)

    def read(self, names: Sequence[str], start: int, stop: int) -> Events:
        """See :meth:`mlaas.readers.base.Reader.read`."""
        return {name: as_awkward(values) for name, values in self.values(names, start, stop).items()}

    def values(self, names: Sequence[str], start: int, stop: int) -> dict[str, Values]:
        """See :meth:`mlaas.readers.base.Reader.values`."""
        found = self._reader.values([name for name in names if name not in self._places], start, stop)
        for name in names:
            if (places := self._places.get(name)) is not None:
                strings = self._reader.strings(name, start, stop)
                found[name] = np.array([places.get(one, np.nan) for one in strings], np.float32)
        return found

    def strings(self, name: str, start: int, stop: int) -> Strings:
        """See :meth:`mlaas.readers.base.Reader.strings`."""
        return self._reader.strings(name, start, stop)

    def blocks(self, names: Sequence[str], stop: int, max_bytes: int) -> list[tuple[int, int]]:
        """See :meth:`mlaas.readers.base.Reader.blocks`."""
        others = [name for name in names if name not in self._places]
        if names and not others:
            return cut_blocks((), min(stop, self.entries), _ENTRIES)
        return self._reader.blocks(others, stop, max_bytes)

    def close(self) -> None:
        """Close the file; the arrays read from it stay valid."""
        self._reader.close()


def open_encoded(path: str, tree: str | None, dtype: str | None, categories: Categories) -> Reader:
    """Open a file as :func:`mlaas.readers.open_reader` does, with ``categories`` in the place of some strings."""
    reader = open_reader(path, tree, dtype)
    try:
        return EncodedReader(reader, categories) if categories else reader
    except DataError:
        reader.close()
        raise


def find_categories(readers: Sequence[Reader], limits: Sequence[int], names: Sequence[str]) -> Categories:
    """All strings of the branches ``names``, in order.

    Args:
        limits: For each reader how many of its first events to look at.

    Raises:
        DataError: A file has no such branch of strings, or there are too many different ones.
    """
    found: dict[str, set[str]] = {name: set() for name in names}
    for reader, limit in zip(readers, limits, strict=True):
        for name, strings in found.items():
            _check(reader, name)
            for start in range(0, limit, _ENTRIES):
                strings |= {one for one in reader.strings(name, start, min(limit, start + _ENTRIES)) if one is not None}
                if len(strings) > MAX_CATEGORIES:
                    raise DataError(
                        f"{reader.path}: branch {name} has more than {MAX_CATEGORIES} different strings; expected a"
                        " category, leave it out of encode"
                    )
    return {name: tuple(sorted(strings)) for name, strings in found.items()}


def _check(reader: Reader, name: str) -> None:
    if name in reader.branches:
        raise DataError(f"{reader.path}: branch {name} holds numbers; expected strings to encode")
    if name not in reader.texts:
        why = f": {reader.skipped[name]}" if name in reader.skipped else suggestion(name, reader.texts)
        raise DataError(f"{reader.path}: no branch {name} with a string an event to encode{why}")
