"""What a report is made of: plain data of one training run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from mlaas.dataset import EventData
from mlaas.features import Feature

ScoredPart = Literal["train", "test"]


@dataclass(frozen=True)
class InputFile:
    """A file of events.

    Attributes:
        entries: Events used of it, before the selection.
        cutflow: Text of each cut → events left after it.
        label: That of all its events; None where a branch holds them, or where it is not known.
    """

    path: str
    entries: int
    cutflow: Mapping[str, int] = field(default_factory=dict)
    label: str | None = None


@dataclass(frozen=True)
class DataSummary:
    """The events and what the model sees of them.

    Attributes:
        counts: Part → events after the selection.
        class_counts: Part → name of the class → events; empty where the label is a quantity.
        label_branch: Holds the label; None where each file has one.
        notes: What people should know, a line each.
    """

    files: Sequence[InputFile]
    features: Sequence[Feature]
    counts: Mapping[str, int]
    class_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    label_branch: str | None = None
    notes: Sequence[str] = ()

    @classmethod
    def of(cls, dataset: EventData, labels: Mapping[str, str] | None = None) -> Self:
        """The summary of ``dataset``; ``labels`` may tell that of each path."""
        files = [
            InputFile(path, entries, dict(dataset.cutflows.get(path, {})), (labels or {}).get(path))
            for path, entries in dataset.entries.items()
        ]
        by_class = {
            str(part): {f"{label:g}": events for label, events in sorted(counts.items())}
            for part, counts in dataset.class_counts.items()
            if counts
        }
        counts = {str(part): events for part, events in dataset.counts.items()}
        return cls(files, dataset.features, counts, by_class, dataset.label_branch, tuple(dataset.notes))


@dataclass(frozen=True)
class Scores:
    """What the model answers to the events of a part, or to a sample of them.

    Attributes:
        truth: (n,) index of the class, or the quantity.
        outputs: float32 (n, k): for two classes the score of the second or of both, else of each class; (n, 1) for a
            quantity.
        weights: (n,), which may be negative; None is 1 for all.
        sampled_of: Events of the part where these are but a sample.
    """

    truth: NDArray[Any]
    outputs: NDArray[np.float32]
    weights: NDArray[np.floating] | None = None
    sampled_of: int | None = None

    def __post_init__(self) -> None:
        events = len(self.truth)
        if self.truth.ndim != 1 or self.outputs.ndim != 2 or len(self.outputs) != events:
            raise ValueError(
                f"truth {self.truth.shape} and outputs {self.outputs.shape}: expected (n,) and (n, outputs)"
            )
        if self.weights is not None and self.weights.shape != (events,):
            raise ValueError(f"weights {self.weights.shape}: expected ({events},)")
        for name, values in (("truth", self.truth), ("outputs", self.outputs), ("weights", self.weights)):
            if values is not None and not np.isfinite(values).all():
                raise ValueError(f"{name}: expected numbers, not NaN or infinite ones")

    @property
    def counted(self) -> NDArray[np.float64]:
        """float64 (n,): the weights, 1 where there are none."""
        return np.ones(len(self.truth)) if self.weights is None else self.weights.astype(np.float64)


@dataclass(frozen=True)
class Importance:
    """How much worse the model becomes when a feature is permuted.

    Attributes:
        loss: Fall of the AUC, or rise of the mean squared error; the mean of the repetitions.
        deviation: Standard deviation of the repetitions; None where there was one.
    """

    feature: str
    loss: float
    deviation: float | None


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        model: Its name.
        data: The events.
        classes: Name of each class in the order of their indices; empty where the model tells a quantity.
        epochs: For each epoch its number ``epoch``, and figures by name: ``loss``, ``validation_loss``,
            ``validation_auc``, ``events_per_second`` and others; None where there is none.
        scores: Of the training part, which may be a sample, and of the test part; either may be missing.
        parameters: Those of the training, by name.
        lineage: Where the model comes from, as it is published with it.
        command: What was typed.
        ranking: See :func:`mlaas.report.permutation_ranking`; None where it was not measured.
        quantity, unit: What a model without classes tells, for the axes.
        created: When, as ISO 8601.
    """

    model: str
    data: DataSummary
    classes: Sequence[str]
    epochs: Sequence[Mapping[str, Any]]
    scores: Mapping[ScoredPart, Scores]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    ranking: Sequence[Importance] | None = None
    quantity: str = "label"
    unit: str = ""
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def __post_init__(self) -> None:
        expected = (1,) if not self.classes else (1, 2) if len(self.classes) == 2 else (len(self.classes),)
        for part, scores in self.scores.items():
            if scores.outputs.shape[1] not in expected:
                raise ValueError(
                    f"{part}: {scores.outputs.shape[1]} outputs for {len(self.classes)} classes: expected"
                    f" {' or '.join(map(str, expected))}"
                )
            truth = scores.truth
            if self.classes and len(truth) and not (truth.min() >= 0 and truth.max() < len(self.classes)):
                raise ValueError(f"{part}: truth {truth.min()} to {truth.max()}: expected indices of the classes")
