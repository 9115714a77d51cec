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


def take(columns: Mapping[str, Column], rows: NDArray[np.int64]) -> dict[str, Column]:
    """The events ``rows`` of ``columns``; those of branches that share their counts are found once."""
    taken = {}
    before: NDArray[np.int64] | None = None
    for name, (counts, numbers) in columns.items():
        if counts is None:
            taken[name] = Column(None, numbers[rows])
            continue
        if counts is not before:
            before, chosen, objects = counts, counts[rows], _objects(counts, rows)
        taken[name] = Column(chosen, numbers[objects])
    return taken


def _objects(counts: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of the objects of the events ``rows``, where event i has ``counts[i]``."""
    chosen = counts[rows]
    first = (np.cumsum(counts) - counts)[rows]
    places: NDArray[np.int64] = np.repeat(first - (np.cumsum(chosen) - chosen), chosen)
    places += np.arange(len(places))
    return places


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
            self._parts.append(_Part(priorities[rows], take(columns, rows)))
        self._compact_when_large()

    def successor(self) -> "EventSample":
        """An empty sample that is only good to be merged into this one."""
        return EventSample(self.size, _bound=self._bound)

    def merge(self, other: "EventSample") -> None:
        """Take in the sample of other events."""
        self._parts += other._parts
        self._compact_when_large()

    def columns(self) -> dict[str, Column]:
        """The sampled events; empty where there are none."""
        self._compact()
        return self._parts[0].columns if self._parts else {}

    def _compact_when_large(self) -> None:
        if sum(len(part.priorities) for part in self._parts) > 2 * self.size:
            self._compact()

    def _compact(self) -> None:
        if not self._parts:
            return
        priorities = np.concatenate([part.priorities for part in self._parts])
        rows = _lowest(priorities, self.size) if len(priorities) > self.size else np.arange(len(priorities))
        columns = _joined([part.columns for part in self._parts])
        self._parts = [_Part(priorities[rows], columns if len(rows) == len(priorities) else take(columns, rows))]
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


def _joined(parts: list[dict[str, Column]]) -> dict[str, Column]:
    """The events of all ``parts``; branches that share their counts go on doing so."""
    joined = {}
    before: list[int] = []
    for name in parts[0]:
        columns = [part[name] for part in parts]
        numbers = np.concatenate([column.numbers for column in columns])
        counts = [column.counts for column in columns if column.counts is not None]
        if not counts:
            joined[name] = Column(None, numbers)
            continue
        if [id(one) for one in counts] != before:
            before, shared = [id(one) for one in counts], np.concatenate(counts)
        joined[name] = Column(shared, numbers)
    return joined
