"""First pass over the data: smallest and largest value and most objects of each branch."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mlaas.errors import SpecsError, listing
from mlaas.features import Feature
from mlaas.readers import basename
from mlaas.readers.arrays import flat_values, jagged_values
from mlaas.readers.base import Branch, Events, Kind, Reader
from mlaas.selection import Selected, Selection

FORMAT = 1
# Bytes of uncompressed branches that are read at a time.
BLOCK_BYTES = 16 << 20

Progress = Callable[[int, int], None]
Visitor = Callable[[int, int, Selected], None]


@dataclass
class BranchSpecs:
    """What the first pass saw of one branch, over the events that the selection keeps.

    Attributes:
        dtype: numpy name of the numbers in the file.
        minimum: Smallest value that is finite in float32; None where there is none. maximum: largest.
        dimension: Most objects in an event; 1 for flat.
        values: Numbers seen, those that are not finite included.
        not_finite: How many are NaN, infinite, or too large for float32.
    """

    kind: Kind
    dtype: str
    minimum: float | None = None
    maximum: float | None = None
    dimension: int = 0
    values: int = 0
    not_finite: int = 0

    def add(self, array: Any, kept: NDArray[np.bool_]) -> None:
        """Take in the events of ``array`` that are ``kept``, bool (n,)."""
        if self.kind == "flat":
            dimension, numbers = 1, flat_values(array)
            numbers = numbers if kept.all() else numbers[kept]
        else:
            offsets, content = jagged_values(array)
            counts = np.diff(offsets)
            dimension = int(counts[kept].max(initial=0))
            numbers = content[offsets[0] : offsets[-1]]
            numbers = numbers if kept.all() else numbers[np.repeat(kept, counts)]
        finite = _finite(numbers)
        seen = BranchSpecs(self.kind, self.dtype, dimension=dimension, values=len(numbers))
        seen.not_finite = len(numbers) - len(finite)
        if len(finite):
            seen.minimum, seen.maximum = float(finite.min()), float(finite.max())
        self.merge(seen)

    def merge(self, other: "BranchSpecs") -> None:
        """Take in what was seen of the same branch elsewhere."""
        lows = [low for low in (self.minimum, other.minimum) if low is not None]
        highs = [high for high in (self.maximum, other.maximum) if high is not None]
        self.minimum = min(lows, default=None)
        self.maximum = max(highs, default=None)
        self.dimension = max(self.dimension, other.dimension)
        self.values += other.values
        self.not_finite += other.not_finite


@dataclass
class Specs:
    """The specs of all branches, and which data they were computed from.

    Attributes:
        branches: In the order of the features.
        entries: Events that were kept.
        identity: See :func:`specs_identity`.
    """

    branches: dict[str, BranchSpecs]
    identity: dict[str, Any]
    entries: int = 0

    @classmethod
    def empty(cls, branches: Mapping[str, Branch], identity: dict[str, Any]) -> Self:
        """Specs of ``branches`` before any event."""
        return cls({name: BranchSpecs(one.kind, one.dtype) for name, one in branches.items()}, identity)

    def add(self, events: Events, kept: NDArray[np.bool_]) -> None:
        """Take in those ``events`` that are ``kept``, bool (n,)."""
        self.entries += int(np.count_nonzero(kept))
        for name, branch in self.branches.items():
            branch.add(events[name], kept)

    @property
    def dropped(self) -> dict[str, str]:
        """Branches that cannot be features → why: they are empty in every event."""
        reasons = {}
        for name, branch in self.branches.items():
            if branch.dimension == 0:
                reasons[name] = "it is empty in every event"
            elif branch.minimum is None:
                reasons[name] = "it has no finite value in any event"
        return reasons

    @property
    def features(self) -> tuple[Feature, ...]:
        """All branches that are not dropped."""
        dropped = self.dropped
        return tuple(
            Feature(name, branch.kind, branch.dimension)
            for name, branch in self.branches.items()
            if name not in dropped
        )

    def require(self, identity: Mapping[str, Any]) -> None:
        """Check that the specs belong to the data that ``identity`` describes.

        Raises:
            SpecsError: Names everything that differs.
        """
        differing = [
            _difference(what, self.identity.get(what), expected)
            for what, expected in identity.items()
            if self.identity.get(what) != expected
        ]
        if differing:
            raise SpecsError(
                f"the specs are of other data: {'; '.join(differing)}; expected specs of these data, remove "
                "the file to compute them again"
            )

    def save(self, path: str | Path) -> None:
        """Write JSON; a reader sees the old file or the new one, never a part.

        Raises:
            SpecsError: The file cannot be written.
        """
        content = {"format": FORMAT, **asdict(self)}
        unfinished = Path(f"{path}.{os.getpid()}.part")
        try:
            unfinished.write_text(json.dumps(content, indent=1, allow_nan=False), "utf-8")
            unfinished.replace(path)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise SpecsError(f"{path}: the specs cannot be written: {error.strerror}") from error

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what ``save`` has written.

        Raises:
            SpecsError: Missing, damaged, or of another version.
        """
        try:
            content = json.loads(Path(path).read_text("utf-8"))
            if content["format"] != FORMAT:
                raise SpecsError(f"{path}: specs of format {content['format']}; expected {FORMAT}")
            branches = {name: BranchSpecs(**one) for name, one in content["branches"].items()}
            return cls(branches, content["identity"], content["entries"])
        except OSError as error:
            raise SpecsError(f"{path}: {error.strerror}") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SpecsError(f"{path}: not specs as mlaas writes them, remove the file") from error


@dataclass(frozen=True)
class Pass:
    """One pass over the events of several files.

    Attributes:
        limits: For each reader how many of its first events to read.
        names: Branches to read.
        selection: Applied to every block of events.
        progress: Called with events done and events in all.
    """

    readers: Sequence[Reader]
    limits: Sequence[int]
    names: Sequence[str]
    selection: Selection = field(default_factory=Selection)
    progress: Progress | None = None

    def run(self, *visitors: Visitor) -> None:
        """Call each of ``visitors`` with file number, first entry and selected events of every block."""
        done, total = 0, sum(self.limits)
        for number, (reader, limit) in enumerate(zip(self.readers, self.limits, strict=True)):
            for start, stop in reader.blocks(self.names, limit, BLOCK_BYTES):
                events = reader.read(self.names, start, stop)
                selected = self.selection.apply(events, stop - start)
                for visit in visitors:
                    visit(number, start, selected)
                done += stop - start
                if self.progress is not None:
                    self.progress(done, total)


def compute_specs(
    readers: Sequence[Reader],
    branches: Mapping[str, Branch],
    selection: Selection,
    limits: Sequence[int] | None = None,
    progress: Progress | None = None,
    visitors: Sequence[Visitor] = (),
    also: Sequence[str] = (),
) -> Specs:
    """Read every event once.

    Args:
        readers: The files, whose branches are alike.
        branches: Those to describe, new ones of ``selection`` included.
        limits: For each reader how many of its first events to take; None takes all.
        visitors: See :meth:`Pass.run`; they see the same events, for a pass less.
        also: Branches that the visitors need besides.
    """
    limits = [reader.entries for reader in readers] if limits is None else limits
    specs = Specs.empty(branches, specs_identity(readers, branches, selection, limits))
    in_files = readers[0].branches
    needed = [*branches, *selection.required(in_files), *also]
    names = [name for name in dict.fromkeys(needed) if name in in_files]
    Pass(readers, limits, names, selection, progress).run(
        lambda _number, _start, selected: specs.add(selected.events, selected.kept), *visitors
    )
    return specs


def specs_identity(
    readers: Sequence[Reader], branches: Mapping[str, Branch], selection: Selection, limits: Sequence[int]
) -> dict[str, Any]:
    """What the specs depend on: the same for the same data under another path or from a server."""
    files = [
        {"file": basename(reader.path), "identity": reader.identity, "events": limit}
        for reader, limit in zip(readers, limits, strict=True)
    ]
    return {
        "tree": sorted({reader.tree for reader in readers}),
        "files": sorted(files, key=lambda one: str(one["identity"])),
        "nevts": sum(limits),
        "branches": [f"{branch.name} ({branch.kind})" for branch in branches.values()],
        "selection": selection.digest,
    }


def _finite(numbers: NDArray[Any]) -> NDArray[Any]:
    """Those of ``numbers`` that are finite in float32; bool as 0 and 1."""
    if numbers.dtype.kind == "b":
        return numbers.view(np.uint8)
    if numbers.dtype.kind != "f" or not len(numbers):
        return numbers
    with np.errstate(over="ignore", invalid="ignore"):
        # One NaN or infinity shows in the extremes, so most arrays need no mask.
        extremes = np.array([numbers.min(), numbers.max()]).astype(np.float32)
        if np.isfinite(extremes).all():
            return numbers
        return numbers[np.isfinite(numbers.astype(np.float32))]


def _difference(what: str, had: Any, expected: Any) -> str:
    """``what`` differs, and how, in a few words."""
    if what == "selection":
        return "selection (other new branches or cuts)"
    if not isinstance(had, list) or not isinstance(expected, list):
        return f"{what} ({had!r} instead of {expected!r})"
    before = [one["file"] if isinstance(one, dict) else one for one in had if one not in expected]
    after = [one["file"] if isinstance(one, dict) else one for one in expected if one not in had]
    if not before and not after:
        return f"{what} (in another order)"
    return f"{what} ({listing(before, 3)} instead of {listing(after, 3)})"
