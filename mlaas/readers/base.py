"""What every format offers to the rest of the pipeline."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeAlias

from mlaas.readers.arrays import Values

Kind = Literal["flat", "jagged"]
# Branch name → its values in some events, as plain numpy arrays, or as an awkward array where expressions need it.
Events: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Branch:
    """A branch that can be a feature.

    Attributes:
        name: As the file has it, ``Jet_pt`` or ``Jet.PT``.
        kind: ``flat`` is one number an event, ``jagged`` a list of numbers an event.
        dtype: numpy name of the numbers in the file, such as ``float32``.
    """

    name: str
    kind: Kind
    dtype: str


class Reader(Protocol):
    """An open file with one table of events.

    Attributes:
        path: As it was given.
        tree: Name of the table inside the file; empty where the format has no trees.
        entries: Number of events; 0 is legal.
        branches: By name, in the order of the file.
        skipped: Branch name → why it cannot be a feature.
        identity: Equal for the same data wherever it is read from.
    """

    path: str
    tree: str
    entries: int
    branches: dict[str, Branch]
    skipped: dict[str, str]
    identity: str

    def read(self, names: Sequence[str], start: int, stop: int) -> Events:
        """Read the events from ``start`` up to ``stop``, which may lie past the end.

        Returns:
            Branch name → awkward array of the events: numbers for flat, lists of numbers for jagged.

        Raises:
            DataError: A branch is not there, or the file is damaged or out of reach.
        """
        ...

    def values(self, names: Sequence[str], start: int, stop: int) -> dict[str, Values]:
        """As ``read``, without awkward arrays, which take longer to make than small branches to read."""
        ...

    def blocks(self, names: Sequence[str], stop: int, max_bytes: int) -> list[tuple[int, int]]:
        """Cut the events from 0 up to ``stop`` where the file can be read without reading anything twice.

        Returns:
            Ranges of entries of about ``max_bytes`` uncompressed bytes, never above four times that
            unless a single event is that large.
        """
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class FileReader(Reader, Protocol):
    """Reads files of one format; see ``READERS``."""

    def __init__(self, path: str, tree: str | None = None) -> None: ...

    @classmethod
    def trees(cls, path: str) -> dict[str, int]:
        """Name of every tree in a file → its number of events; one without a name where the format has no trees.

        Raises:
            DataError: The file is missing, damaged, of another format or out of reach.
        """
        ...


def cut_blocks(boundaries: Sequence[int], stop: int, target: int) -> list[tuple[int, int]]:
    """Ranges of about ``target`` entries up to ``stop`` that end on ``boundaries`` where one is near.

    Args:
        boundaries: Sorted entry numbers that are good to stop at.
        stop: End of the last range.
        target: Entries a range should have; at least 1. Up to four times as many reach a boundary.
    """
    ranges = []
    start, following = 0, 0
    while start < stop:
        while following < len(boundaries) and boundaries[following] <= start:
            following += 1
        end = start + target
        if following < len(boundaries) and boundaries[following] <= start + 4 * target:
            end = boundaries[following]
            while following < len(boundaries) and boundaries[following] <= start + target:
                end = boundaries[following]
                following += 1
        ranges.append((start, min(end, stop)))
        start = end
    return ranges
