"""A random sample of events that does not depend on how the events are read, in which order or by how many."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SAMPLE_EVENTS = 10_000


class Column(NamedTuple):
    """A branch of some events.

    Attributes:
        counts: int64 (n,), objects of each event; None for flat.
        numbers: Of all events one after the other.
    """

    counts: NDArray[np.int64] | None
    numbers: NDArray[np.generic]

    def take(self, rows: NDArray[np.int64]) -> "Column":
        """Those of the events ``rows``."""
        if self.counts is None:
            return Column(None, self.numbers[rows])
        counts = self.counts[rows]
        first = (np.cumsum(self.counts) - self.counts)[rows]
        before = np.cumsum(counts) - counts
        return Column(counts, self.numbers[np.repeat(first - before, counts) + np.arange(int(counts.sum()))])


class _Part(NamedTuple):
    """Sampled events and their priorities uint64 (n,)."""

    priorities: NDArray[np.uint64]
    columns: dict[str, Column]


@dataclass
class EventSample:
    """The ``size`` events of lowest priority; priorities are a fixed random function of file and entry.

    Samples of parts of the data, merged, are therefore the sample of all of it.
    """

    size: int = SAMPLE_EVENTS
    _parts: list[_Part] = field(default_factory=list)
    _bound: int = 2**64 - 1

    def add(self, priorities: NDArray[np.uint64], columns: Mapping[str, Column]) -> None:
        """Take in events with ``priorities`` (n,)."""
        rows = np.flatnonzero(priorities <= np.uint64(self._bound))
        if len(rows) > self.size:
            rows = rows[_lowest(priorities[rows], self.size)]
        if len(rows):
            self._parts.append(_Part(priorities[rows], {name: column.take(rows) for name, column in columns.items()}))
        if sum(len(part.priorities) for part in self._parts) > 2 * self.size:
            self._compact()

    def merge(self, other: "EventSample") -> None:
        """Take in the sample of other events."""
        self._parts += other._parts
        self._compact()

    def columns(self) -> dict[str, Column]:
        """The sampled events; empty where there are none."""
        self._compact()
        return self._parts[0].columns if self._parts else {}

    def _compact(self) -> None:
        if not self._parts:
            return
        priorities = np.concatenate([part.priorities for part in self._parts])
        rows = _lowest(priorities, self.size) if len(priorities) > self.size else np.arange(len(priorities))
        columns = {}
        for name in self._parts[0].columns:
            joined = _joined([part.columns[name] for part in self._parts])
            columns[name] = joined if len(rows) == len(priorities) else joined.take(rows)
        self._parts = [_Part(priorities[rows], columns)]
        if len(rows) == self.size:
            self._bound = int(priorities[rows].max())


def event_priorities(identity: str, start: int, stop: int) -> NDArray[np.uint64]:
    """uint64 (stop - start,): random numbers for entries of the file with ``identity``."""
    key = int.from_bytes(hashlib.blake2b(identity.encode(), digest_size=8).digest(), "little")
    return splitmix64(np.arange(start, stop, dtype=np.uint64), np.uint64(key))


def splitmix64(counter: NDArray[np.uint64], state: np.uint64) -> NDArray[np.uint64]:
    """The ``counter``-th numbers of the SplitMix64 generator with ``state`` (Steele et al., OOPSLA 2014)."""
    bits = counter * np.uint64(0x9E3779B97F4A7C15) + state
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = bits ^ (bits >> np.uint64(31))
    return mixed


def _lowest(priorities: NDArray[np.uint64], size: int) -> NDArray[np.int64]:
    """Rows of the ``size`` lowest, in their order."""
    return np.sort(np.argpartition(priorities, size)[:size])


def _joined(columns: list[Column]) -> Column:
    counts = [column.counts for column in columns if column.counts is not None]
    numbers = np.concatenate([column.numbers for column in columns])
    return Column(np.concatenate(counts) if counts else None, numbers)
