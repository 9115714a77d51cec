"""What a client has to know about a version of a model to send events to it."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ._columns import Column, Jagged
from ._exceptions import InputError

SHOWN_NAMES = 50


@dataclass(frozen=True)
class Feature:
    """One named value of an event.

    Attributes:
        name: the branch.
        jagged: whether an event has a list of numbers for it.
        dim: how many numbers of an event reach the model; 1 for a flat feature.
        modulo: the model takes the remainder of an integer, such as the number of an event; None for the number itself.
    """

    name: str
    jagged: bool
    dim: int
    modulo: int | None = None

    def __str__(self) -> str:
        return f"{self.name} (up to {self.dim} values)" if self.jagged else self.name


@dataclass(frozen=True)
class Description:
    """One version of a model.

    Attributes:
        name: the model.
        version: its number; the bytes behind it never change.
        features: in the order in which the model takes them; empty where it declares none.
        outputs: the names of what it can answer.
        width: how many numbers an event is, objects of jagged features included.
    """

    name: str
    version: int
    features: tuple[Feature, ...]
    outputs: tuple[str, ...]
    width: int

    @property
    def reference(self) -> str:
        """The name by which servers know this version and no other."""
        return f"{self.name}:{self.version}"

    @classmethod
    def parse(cls, answer: Mapping[str, Any]) -> Self:
        """From the server's description; raises KeyError, TypeError or ValueError where it is none."""
        features = tuple(
            Feature(
                str(feature["name"]),
                feature["kind"] == "jagged",
                int(feature["dim"]),
                int(feature["modulo"]) if feature.get("modulo") else None,
            )
            for feature in answer["features"]
        )
        inputs = [prod(map(int, spec["shape"][1:])) for spec in answer["signature"]["inputs"]]
        outputs = tuple(str(spec["name"]) for spec in answer["signature"]["outputs"])
        width = sum(feature.dim for feature in features) if features else sum(inputs)
        if width < 1:
            raise ValueError(f"the model takes {width} numbers an event")
        return cls(str(answer["name"]), int(answer["version"]), features, outputs, width)

    def bind(self, events: Mapping[str, Column] | NDArray[Any]) -> "Events":
        """Checks names and shapes before anything is sent.

        Raises:
            InputError: they do not fit; the message says what is expected.
        """
        if isinstance(events, np.ndarray):
            if events.shape[1] != self.width:
                raise InputError(f"rows of {events.shape[1]} values: expected {self.width}{self._expected(', ')}")
            return Events(len(events), self.width, self._with_remainders(events), ())
        if not self.features:
            raise InputError(f"{self.reference} declares no features: expected an array (events, {self.width})")
        self._check_names(list(events))
        lengths = {name: len(column) for name, column in events.items()}
        if len(set(lengths.values())) > 1:
            shortest, longest = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
            raise InputError(
                f"{shortest} has {lengths[shortest]} events and {longest} has {lengths[longest]}: expected as many"
            )
        columns = [(feature, events[feature.name]) for feature in self.features]
        for feature, column in columns:
            _check_kind(feature, column)
        columns = [
            (feature, column if feature.modulo is None or isinstance(column, Jagged) else _remainders(feature, column))
            for feature, column in columns
        ]
        return Events(next(iter(lengths.values())), self.width, None, columns)

    def _with_remainders(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Rows that may hold event numbers, which float32 does not carry."""
        place = 0
        for feature in self.features:
            if feature.modulo is not None:
                rows = rows.copy()
                rows[:, place] = _remainders(feature, rows[:, place])
            place += feature.dim
        return rows

    def _check_names(self, given: Sequence[str]) -> None:
        known = [feature.name for feature in self.features]
        unknown = [name for name in given if name not in set(known)]
        missing = [name for name in known if name not in set(given)]
        if not unknown and not missing:
            return
        problems = []
        if unknown:
            meant = difflib.get_close_matches(unknown[0], missing, n=1)
            hint = f" (did you mean {meant[0]!r}?)" if meant else ""
            problems.append(f"unknown feature {', '.join(map(repr, unknown[:10]))}{hint}")
        if missing:
            problems.append(f"missing feature {', '.join(map(repr, missing[:10]))}")
        raise InputError(f"{'; '.join(problems)}: {self.reference} expects {self._expected()}")

    def _expected(self, before: str = "") -> str:
        more = len(self.features) - SHOWN_NAMES
        names = ", ".join(map(str, self.features[:SHOWN_NAMES])) + (f" and {more} more" if more > 0 else "")
        return before + names if names else ""


@dataclass(frozen=True)
class Events:
    """Events that fit a model: rows in its order, or a column for each of its features."""

    count: int
    width: int
    rows: NDArray[Any] | None
    columns: Sequence[tuple[Feature, Column]]

    def __len__(self) -> int:
        return self.count

    def matrix(self, start: int, stop: int) -> NDArray[np.float32]:
        """Events start to stop as float32 (stop - start, width); absent objects are NaN."""
        with np.errstate(over="ignore"):
            if self.rows is not None:
                return self.rows[start:stop].astype(np.float32, copy=False)
            matrix = np.full((stop - start, self.width), np.nan, dtype=np.float32)
            place = 0
            for feature, column in self.columns:
                if isinstance(column, Jagged):
                    column.pad_into(matrix[:, place : place + feature.dim], start, stop)
                else:
                    matrix[:, place] = column[start:stop]
                place += feature.dim
            return matrix


def _check_kind(feature: Feature, column: Column) -> None:
    if not len(column):
        return  # a column without events has no kind
    if feature.jagged and not isinstance(column, Jagged):
        raise InputError(
            f"{feature.name} has a number for each event: expected a list for each, the feature is jagged"
            " (one event goes to `classify`)"
        )
    if isinstance(column, Jagged) and not feature.jagged:
        raise InputError(f"{feature.name} has a list for each event: expected a number, the feature is flat")


def _remainders(feature: Feature, numbers: NDArray[Any]) -> NDArray[Any]:
    """What the model takes of event numbers, while they have all their digits; raises InputError where they haven't."""
    right, expected = numbers >= 0, "an integer from 0 on"
    if numbers.dtype.kind == "f":
        exact = 2 ** (np.finfo(numbers.dtype).nmant + 1)
        right &= (numbers < exact) & (np.floor(numbers) == numbers)
        expected += f", which {numbers.dtype} holds below {exact} only"
    if not right.all():
        event = int(right.argmin())
        raise InputError(f"{feature.name} of event {event} is {numbers[event]}: expected {expected}")
    return numbers.astype(np.uint64) % np.uint64(feature.modulo or 1)
