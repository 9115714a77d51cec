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


def remainders(numbers: NDArray[Any], modulo: int, what: str) -> NDArray[np.uint64]:
    """What is left of event numbers (n,) after division, with all their digits: a server does the same.

    Args:
        what: Holds the numbers; it begins the message of an error.

    Raises:
        DataError: One is negative, or they are no integers.
    """
    if numbers.dtype.kind not in "iu":
        raise DataError(f"{what} is {numbers.dtype}; the event number is an integer")
    if len(numbers) and numbers.min() < 0:
        raise DataError(f"{what} holds {numbers.min()}; expected event numbers from 0 on")
    return numbers.astype(np.uint64) % np.uint64(modulo)


@dataclass(frozen=True)
class Split:
    """Shares the events out to the parts.

    Attributes:
        test: Fraction of all events.
        validation: Fraction of the events that are not in the test part.
        event_number: Branch that tells events apart; with ``folds`` the test part has those events whose number
            is ``fold`` modulo ``folds``, instead of a fraction.
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
        folds = None
        if self.folds and self.event_number:
            folds = remainders(
                flat_values(events[self.event_number]), self.folds, f"{path}: branch {self.event_number}"
            )
        return self.parts(path, start, start + entries, folds)

    def parts(self, path: str, start: int, stop: int, folds: NDArray[np.uint64] | None = None) -> NDArray[np.int8]:
        """Part of each of the entries of a file from ``start`` up to ``stop``, as its place in ``PARTS``.

        Args:
            path: Only its last part counts, so that the split is the same wherever the file lies.
            folds: That of each event (stop - start,); None where there are none.

        Returns:
            int8 (stop - start,)
        """
        name = f"{self.seed}/{basename(path)}"
        key = np.uint64(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little"))
        bits = splitmix64(np.arange(start, stop, dtype=np.uint64), key)
        uniform = (bits >> np.uint64(11)) * 2.0**-53
        parts = np.zeros(stop - start, dtype=np.int8)
        if folds is not None:
            parts[uniform < self.validation] = PARTS.index("validation")
            parts[folds == self.fold] = PARTS.index("test")
            return parts
        parts[uniform < self.test + (1 - self.test) * self.validation] = PARTS.index("validation")
        parts[uniform < self.test] = PARTS.index("test")
        return parts
