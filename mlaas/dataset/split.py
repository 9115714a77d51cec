"""Which part of the data an event belongs to: a fixed function of file name, entry and seed, or of its number."""

import hashlib
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mlaas.errors import DataError
from mlaas.readers import basename
from mlaas.readers.arrays import flat_values
from mlaas.readers.base import Events
from mlaas.sample import splitmix64

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class Split:
    """Shares the events out to the parts.

    Attributes:
        test: Fraction of all events.
        validation: Fraction of the events that are not in the test part.
        event_number: Branch that tells events apart; with ``folds`` the test part has those events whose number
            is ``fold`` modulo ``folds``, instead of a fraction. A server that holds the models of all folds computes
            the same, and takes no negative number either.
    """

    seed: int
    test: float
    validation: float
    event_number: str | None = None
    folds: int = 0
    fold: int = 0

    def of(self, path: str, start: int, entries: int, events: Events) -> NDArray[np.int8]:
        """As :meth:`parts`, for ``events`` that are ``entries`` many from ``start`` on.

        Raises:
            DataError: An event number is negative.
        """
        numbers = flat_values(events[self.event_number]) if self.folds and self.event_number else None
        if numbers is not None and len(numbers) and numbers.min() < 0:
            raise DataError(
                f"{path}: branch {self.event_number} holds {numbers.min()}; expected event numbers from 0 on,"
                " for folds to go by"
            )
        return self.parts(path, start, start + entries, numbers)

    def parts(self, path: str, start: int, stop: int, numbers: NDArray[Any] | None = None) -> NDArray[np.int8]:
        """Part of each of the entries of a file from ``start`` up to ``stop``, as its place in ``PARTS``.

        Args:
            path: Only its last part counts, so that the split is the same wherever the file lies.
            numbers: Event numbers (stop - start,), none negative; None where there are no folds.

        Returns:
            int8 (stop - start,)
        """
        name = f"{self.seed}/{basename(path)}"
        key = np.uint64(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little"))
        bits = splitmix64(np.arange(start, stop, dtype=np.uint64), key)
        uniform = (bits >> np.uint64(11)) * 2.0**-53
        parts = np.zeros(stop - start, dtype=np.int8)
        if numbers is not None:
            parts[uniform < self.validation] = PARTS.index("validation")
            parts[numbers.astype(np.uint64) % np.uint64(self.folds) == self.fold] = PARTS.index("test")
            return parts
        parts[uniform < self.test + (1 - self.test) * self.validation] = PARTS.index("validation")
        parts[uniform < self.test] = PARTS.index("test")
        return parts
