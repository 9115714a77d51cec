"""Which part of the data an event belongs to: a fixed function of file name, entry and seed."""

import hashlib
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mlaas.readers import basename

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class Split:
    """Shares the events out to the parts.

    Attributes:
        test: Fraction of all events.
        validation: Fraction of the events that are not in the test part.
    """

    seed: int
    test: float
    validation: float

    def parts(self, path: str, start: int, stop: int) -> NDArray[np.int8]:
        """Part of each of the entries of a file from ``start`` up to ``stop``, as its place in ``PARTS``.

        Args:
            path: Only its last part counts, so that the split is the same wherever the file lies.

        Returns:
            int8 (stop - start,)
        """
        name = f"{self.seed}/{basename(path)}"
        key = np.uint64(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little"))
        bits = _splitmix64(np.arange(start, stop, dtype=np.uint64), key)
        uniform = (bits >> np.uint64(11)) * 2.0**-53
        parts = np.zeros(stop - start, dtype=np.int8)
        parts[uniform < self.test + (1 - self.test) * self.validation] = PARTS.index("validation")
        parts[uniform < self.test] = PARTS.index("test")
        return parts


def _splitmix64(counter: NDArray[np.uint64], state: np.uint64) -> NDArray[np.uint64]:
    """The ``counter``-th numbers of the SplitMix64 generator with ``state`` (Steele et al., OOPSLA 2014)."""
    bits = counter * np.uint64(0x9E3779B97F4A7C15) + state
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = bits ^ (bits >> np.uint64(31))
    return mixed
