"""How events become chunks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlaas.errors import ParameterError
from mlaas.normalisation import checked


@dataclass(frozen=True)
class DatasetParams:
    """How events become chunks.

    Attributes:
        selected: Names and glob patterns of the branches to use; empty uses all.
        excluded: Names and glob patterns of branches to leave out.
        encode: Names of branches of strings to use as the places of the strings in alphabetical order.
        nevts: Events to use of all files together; -1 uses all.
        chunk_size: Events for a chunk, of all files together and before the selection and the split.
        shuffle: Whether the events of the training part are in random order, another one in every epoch.
        test: Fraction of all events in the test part.
        validation: Fraction of the other events in the validation part.
        seed: Of the split and of the order.
        fill: Normalised value of what is missing.
        normalisation: See :func:`mlaas.normalisation.checked`.
        jagged_quantile: Fraction of the events whose objects a jagged feature holds all of; 1 takes the maximum.
        weight_branch: Branch with the weight of each event; None gives all the weight 1.
        cross_sections: Of each file in pb, to weight its events to ``luminosity`` in 1/pb; empty does not.
        balance: Whether to scale the weights so that all classes count the same in training.
        event_number: Branch of integers that folds go by.
        folds: 0, or into how many folds the events are cut; the test part is then number ``fold`` of them,
            the events whose number is ``fold`` modulo ``folds``.
    """

    selected: Sequence[str] = ()
    excluded: Sequence[str] = ()
    encode: Sequence[str] = ()
    nevts: int = -1
    chunk_size: int = 10_000
    shuffle: bool = True
    test: float = 0.2
    validation: float = 0.2
    seed: int = 0
    fill: float = 0.0
    normalisation: str | Mapping[str, str] = field(default_factory=dict)
    jagged_quantile: float = 1.0
    weight_branch: str | None = None
    cross_sections: Sequence[float] = ()
    luminosity: float = 1.0
    balance: bool = False
    event_number: str | None = None
    folds: int = 0
    fold: int = 0

    def __post_init__(self) -> None:
        if self.nevts != -1 and self.nevts < 1:
            raise ParameterError(f"nevts: {self.nevts} is given; expected -1 for all events, or at least 1")
        if self.chunk_size < 1:
            raise ParameterError(f"chunk_size: {self.chunk_size} is given; expected at least 1")
        for name, fraction in (("test", self.test), ("validation", self.validation)):
            if not 0 <= fraction < 1:
                raise ParameterError(f"{name}: {fraction} is given; expected a fraction from 0 to below 1")
        if self.seed < 0:
            raise ParameterError(f"seed: {self.seed} is given; expected at least 0")
        if not 0 < self.jagged_quantile <= 1:
            raise ParameterError(f"jagged_quantile: {self.jagged_quantile} is given; expected above 0, at most 1")
        for value in (self.luminosity, *self.cross_sections):
            if not (value > 0 and math.isfinite(value)):
                raise ParameterError(f"cross_sections and luminosity: {value} is given; expected a number above 0")
        self._check_folds()
        checked(self.normalisation)

    def _check_folds(self) -> None:
        if self.folds == 0 and self.fold == 0:
            return
        if self.folds < 2:
            raise ParameterError(f"folds: {self.folds} is given; expected at least 2")
        if not 0 <= self.fold < self.folds:
            raise ParameterError(f"fold: {self.fold} is given; expected 0 to {self.folds - 1}")
        if self.event_number is None:
            raise ParameterError("folds: expected event_number, the branch of integers that folds go by")
