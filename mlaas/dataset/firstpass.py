"""The first pass over the events of a dataset, on this machine or on many."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from mlaas.cluster import Cluster
from mlaas.dataset.sources import Source
from mlaas.dataset.split import Split
from mlaas.dataset.tally import Tally
from mlaas.errors import DataError
from mlaas.readers import Branch
from mlaas.readers.encoded import EncodedReader, open_encoded
from mlaas.sample import event_priorities
from mlaas.selection import Selection
from mlaas.specs import Progress, Specs, Unit, selected_blocks, units


@dataclass
class Findings:
    """What the first pass has seen."""

    specs: Specs
    tally: Tally

    def merge(self, other: "Findings") -> None:
        """Take in what was seen of other events."""
        self.specs.merge(other.specs)
        self.tally.merge(other.tally)


_kept = threading.local()


@dataclass(frozen=True)
class Opening:
    """What a process needs to open a file that another one has open; see :func:`mlaas.readers.open_reader`."""

    path: str
    tree: str
    dtype: str | None
    label: float | str
    limit: int
    identity: str
    categories: tuple[tuple[str, tuple[str, ...]], ...]

    @classmethod
    def of(cls, source: Source, dtype: str | None) -> Self:
        """What opens the same file, whose format is ``dtype``, again."""
        reader = source.reader
        categories = tuple(reader.categories.items()) if isinstance(reader, EncodedReader) else ()
        return cls(reader.path, reader.tree, dtype, source.label, source.limit, reader.identity, categories)

    def open(self) -> Source:
        """The open file; a thread keeps the last one open, whose next task is most likely of the same file."""
        if getattr(_kept, "opening", None) != self:
            if hasattr(_kept, "source"):
                _kept.source.reader.close()
            _kept.source, _kept.opening = self._opened(), self
        return _kept.source  # type: ignore[no-any-return]

    def _opened(self) -> Source:
        reader = open_encoded(self.path, self.tree, self.dtype, dict(self.categories))
        if reader.identity != self.identity:
            reader.close()
            raise DataError(f"{self.path}: is another file where it was opened last; expected one that all workers see")
        return Source(reader, self.label, self.limit)


@dataclass(frozen=True)
class Examination:
    """What to look for.

    Attributes:
        branches: To describe in the specs; empty where these are known.
        names: Branches of the files that have to be read.
        files: How many there are.
    """

    branches: Mapping[str, Branch]
    names: Sequence[str]
    selection: Selection
    split: Split
    weight_branch: str | None
    files: int

    def nothing(self) -> Findings:
        """Findings before any event."""
        tally = Tally(self.files, self.split, self.selection, self.weight_branch)
        return Findings(Specs.empty(self.branches, {}), tally)

    def examine(self, source: Source, unit: Unit, specs: Specs) -> Findings:
        """Go through the events of ``unit``, which are in ``source``; ``specs`` begin without events."""
        findings = self.nothing()
        findings.specs = specs
        reader = source.reader
        for start, selected in selected_blocks(reader, unit, self.names, self.selection):
            specs.add(selected, event_priorities(reader.identity, start, start + len(selected.kept)))
            findings.tally.add(unit.number, source, start, selected)
        return findings


def first_pass(
    examination: Examination,
    sources: Sequence[Source],
    dtype: str | None,
    cluster: Cluster | None,
    progress: Progress | None,
) -> Findings:
    """Read every event once.

    Args:
        cluster: Where to do it; None is this process. The findings are the same.
        progress: Called with events done and events in all.
    """
    limits = [source.limit for source in sources]
    todo = units([source.reader for source in sources], limits, examination.names)
    found = examination.nothing()
    parts: Iterator[Findings]
    if cluster is None:
        parts = (examination.examine(sources[unit.number], unit, found.specs.successor()) for unit in todo)
    else:
        openings = [Opening.of(source, dtype) for source in sources]
        # Made when they are handed out: by then what was found bounds the samples that are worth sending back.
        tasks = ((examination, openings[unit.number], unit, found.specs.successor()) for unit in todo)
        parts = cluster.map(_examined, tasks)
    done = 0
    for unit, part in zip(todo, parts, strict=True):
        found.merge(part)
        done += unit.entries
        if progress is not None:
            progress(done, sum(limits))
    found.specs.finish()
    return found


def _examined(task: tuple[Examination, Opening, Unit, Specs]) -> Findings:
    examination, opening, unit, specs = task
    return examination.examine(opening.open(), unit, specs)
