"""How much each event counts in training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlaas.dataset.sources import Source
from mlaas.errors import DataError, ParameterError
from mlaas.readers.arrays import flat_values
from mlaas.readers.base import Events


@dataclass(frozen=True)
class Weights:
    """The weight of an event: what its branch says, times that of its file, times that of its class.

    Attributes:
        branch: Holds a weight for each event, which may be negative; None is 1 for all.
        by_file: Factor of each file.
        by_class: Label → factor; empty is 1 for all.
    """

    branch: str | None
    by_file: tuple[float, ...]
    by_class: dict[float, float]

    @property
    def trivial(self) -> bool:
        """Whether all events have the weight 1."""
        return self.branch is None and set(self.by_file) <= {1.0} and set(self.by_class.values()) <= {1.0}

    def of(self, number: int, events: Events, labels: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (n,): the weights of ``events`` of file ``number``, whose ``labels`` are (n,)."""
        weights = np.full(len(labels), self.by_file[number])
        if self.branch is not None:
            weights *= flat_values(events[self.branch])
        if self.by_class:
            classes = np.array(sorted(self.by_class), dtype=np.float32)
            factors = np.array([self.by_class[label] for label in sorted(self.by_class)])
            weights *= factors[np.clip(np.searchsorted(classes, labels), 0, len(classes) - 1)]
        return weights.astype(np.float32)


@dataclass
class WeightSums:
    """Sums of the weights in the branch, seen in the first pass.

    Attributes:
        files: For each file over all its events, before the selection.
        training: For each file, label → over the selected events of the training part.
    """

    files: list[float]
    training: list[dict[float, float]]

    @classmethod
    def of(cls, files: int) -> "WeightSums":
        return cls([0.0] * files, [{} for _ in range(files)])

    def add(self, number: int, weights: NDArray[np.float64]) -> None:
        """Take in events (n,) of file ``number``."""
        self.files[number] += float(weights.sum())

    def add_training(self, number: int, weights: NDArray[np.float64], labels: NDArray[np.float32]) -> None:
        """Take in selected events (n,) of the training part."""
        found, places = np.unique(labels, return_inverse=True)
        sums = np.bincount(places, weights, len(found))
        mine = self.training[number]
        for label, total in zip(found.tolist(), sums.tolist(), strict=True):
            mine[label] = mine.get(label, 0.0) + total

    def merge(self, other: "WeightSums") -> None:
        """Take in the sums over other events of the same files."""
        self.files = [mine + others for mine, others in zip(self.files, other.files, strict=True)]
        for mine, others in zip(self.training, other.training, strict=True):
            for label, total in others.items():
                mine[label] = mine.get(label, 0.0) + total


def base_weights(source: Source, branch: str | None, events: Events, entries: int) -> NDArray[np.float64]:
    """float64 (entries,): what ``branch`` says.

    Raises:
        DataError: A weight is not finite.
    """
    if branch is None:
        return np.ones(entries)
    weights = flat_values(events[branch]).astype(np.float64)
    if not np.isfinite(weights).all():
        entry = int(np.flatnonzero(~np.isfinite(weights))[0])
        raise DataError(f"{source.reader.path}: branch {branch} has the weight {weights[entry]}; expected a number")
    return weights


def make_weights(
    files: Sequence[Source],
    branch: str | None,
    cross_sections: Sequence[float],
    luminosity: float,
    classes: Sequence[float],
    events: int,
    sums: WeightSums,
) -> Weights:
    """The weights that the parameters ask for.

    Args:
        cross_sections: Of each file in pb, or empty; ``luminosity`` in 1/pb.
        classes: Labels that are to count the same, ``events`` in all; empty leaves them as they are.

    Raises:
        DataError: The weights of a file or a class do not add up to more than 0.
    """
    by_file = [1.0] * len(files)
    for number, cross_section in enumerate(cross_sections):
        by_file[number] = cross_section * luminosity / _positive(sums.files[number], files[number].reader.path)
    by_class = {}
    for label in classes:
        total = sum(factor * mine.get(label, 0.0) for factor, mine in zip(by_file, sums.training, strict=True))
        by_class[label] = events / len(classes) / _positive(total, f"label {label:g}")
    return Weights(branch, tuple(by_file), by_class)


def check_cross_sections(cross_sections: Sequence[float], files: int) -> None:
    """There is none, or one for each file; raises ParameterError."""
    if cross_sections and len(cross_sections) != files:
        raise ParameterError(f"cross_sections: {len(cross_sections)} are given for {files} files; expected one each")


def _positive(total: float, whose: str) -> float:
    if total <= 0:
        raise DataError(f"{whose}: the weights add up to {total:g}; expected more than 0")
    return total
