"""What becomes of the events of a file."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlaas.assembly import Assembler
from mlaas.dataset.sources import Source
from mlaas.dataset.split import Split
from mlaas.dataset.stream import Prepared
from mlaas.dataset.weights import Weights
from mlaas.selection import Selection


@dataclass(frozen=True)
class Recipe:
    """How events are read, selected, split, weighted and assembled.

    Attributes:
        names: Branches to read.
    """

    names: Sequence[str]
    selection: Selection
    split: Split
    assembler: Assembler
    weights: Weights

    def read(self, source: Source, number: int, start: int, stop: int, normalise: bool = True) -> Prepared:
        """Entries from ``start`` to ``stop`` of file ``number``, which is ``source``."""
        events = source.reader.values(self.names, start, stop)
        selected = self.selection.apply(events, stop - start)
        parts = self.split.of(source.reader.path, start, stop - start, selected.events)
        labels = source.labels(selected.events, stop - start)
        return Prepared(
            self.assembler.prepare(selected.events, normalise),
            np.where(selected.kept, parts, np.int8(-1)),
            labels,
            None if self.weights.trivial else self.weights.of(number, selected.events, labels),
        )
