"""How many events there are, by part and label, and after each cut."""

import numpy as np

from mlaas.dataset.sources import Source
from mlaas.dataset.split import PARTS, Part, Split
from mlaas.dataset.weights import WeightSums, base_weights
from mlaas.errors import DataError
from mlaas.selection import Selected, Selection

# A label branch with more different values than this is taken for a quantity, not for classes.
MAX_CLASSES = 100


class Tally:
    """Counts events by part and label, and those left after each cut.

    Attributes:
        cutflows: For each file, text of each cut → events left after it.
        counts: Part → events after the selection.
        class_counts: Part → label → events after the selection; empty where the label is a quantity.
        labels: The labels seen, at least ``MAX_CLASSES`` where there are more.
        weights: Sums of the weights in ``weight_branch``.
    """

    def __init__(self, files: int, split: Split, selection: Selection, weight_branch: str | None = None) -> None:
        self._split = split
        self._weight_branch = weight_branch
        self.cutflows = [dict.fromkeys(selection.labels(), 0) for _ in range(files)]
        self.weights = WeightSums.of(files)
        self.counts: dict[Part, int] = dict.fromkeys(PARTS, 0)
        self.class_counts: dict[Part, dict[float, int]] = {part: {} for part in PARTS}
        self.labels: set[float] = set()

    @property
    def cutflow(self) -> dict[str, int]:
        """Text of each cut → events of all files left after it."""
        return {text: sum(cutflow[text] for cutflow in self.cutflows) for text in self.cutflows[0]}

    def add(self, number: int, source: Source, start: int, selected: Selected) -> None:
        """Take in a block of events of file ``number``, ``source``, that begins at entry ``start``.

        Raises:
            DataError: A label or a weight is not finite.
        """
        cutflow = self.cutflows[number]
        for text, left in zip(cutflow, selected.left, strict=True):
            cutflow[text] += left
        entries = len(selected.kept)
        labels = source.labels(selected.events, entries)
        if not np.isfinite(labels[selected.kept]).all():
            raise DataError(f"{source.reader.path}: branch {source.label_branch} has a label that is not finite")
        parts = self._split.of(source.reader.path, start, entries, selected.events)
        weights = base_weights(source, self._weight_branch, selected.events, entries)
        self.weights.add(number, weights)
        if len(self.labels) <= MAX_CLASSES:
            train = selected.kept & (parts == PARTS.index("train"))
            self.weights.add_training(number, weights[train], labels[train])
        for place, part in enumerate(PARTS):
            found, counts = np.unique(labels[selected.kept & (parts == place)], return_counts=True)
            self.counts[part] += int(counts.sum())
            self._add_labels(part, dict(zip(found.tolist(), counts.tolist(), strict=True)))

    def merge(self, other: "Tally") -> None:
        """Take in what was counted of other events of the same files."""
        for mine, others in zip(self.cutflows, other.cutflows, strict=True):
            for text, left in others.items():
                mine[text] += left
        self.weights.merge(other.weights)
        for part in PARTS:
            self.counts[part] += other.counts[part]
            self._add_labels(part, other.class_counts[part])
        if len(other.labels) > MAX_CLASSES:
            self._add_labels("train", dict.fromkeys(other.labels, 0))

    def _add_labels(self, part: Part, counts: dict[float, int]) -> None:
        if len(self.labels) > MAX_CLASSES:
            return
        self.labels.update(counts)
        for label, count in counts.items():
            self.class_counts[part][label] = self.class_counts[part].get(label, 0) + count
        if len(self.labels) > MAX_CLASSES:
            self.class_counts = {part: {} for part in PARTS}
