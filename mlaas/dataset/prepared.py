"""Events that were assembled before, to train on many times."""

from collections.abc import Sequence
from pathlib import Path

from mlaas.assembly import Assembler
from mlaas.dataset.arrowfiles import BatchEntry, read_batch
from mlaas.dataset.base import EventData
from mlaas.dataset.chunks import Mixer
from mlaas.dataset.manifest import Manifest
from mlaas.dataset.params import DatasetParams
from mlaas.dataset.split import PARTS, Part
from mlaas.dataset.stream import Prepared
from mlaas.normalisation import checked, scalings
from mlaas.selection import Selection
from mlaas.specs import Specs

SPECS = "specs.json"
# Files of events are mixed as so many groups, since a record batch of each is in memory.
MAX_GROUPS = 32


class PreparedDataset(EventData):
    """A folder that :func:`mlaas.dataset.preparation.prepare` has written.

    Args:
        params: Of these, chunk_size, shuffle, seed (of the order), fill and normalisation count; all others were
            settled by the preparation.

    Attributes:
        manifest: What is in the folder.

    Raises:
        DataError, SpecsError: It is missing or damaged.
    """

    def __init__(self, folder: str | Path, params: DatasetParams | None = None) -> None:
        params = params or DatasetParams()
        folder = Path(folder)
        self.manifest = manifest = Manifest.load(folder)
        self.specs = Specs.load(folder / SPECS)
        self.features = manifest.features
        self.selection = Selection.from_dict(manifest.preproc)
        self.entries, self.cutflows, self.label_branch = manifest.entries, manifest.cutflows, manifest.label_branch
        self.counts = {part: manifest.counts[part] for part in PARTS}
        self.class_counts = {part: dict(manifest.class_counts[part]) for part in PARTS}
        self.weighted = manifest.weighted
        self.notes = list(manifest.notes)
        self.shuffle = params.shuffle
        used = {feature.name: self.specs.branches[feature.name] for feature in self.features}
        self.assembler = Assembler(self.features, scalings(used, checked(params.normalisation)), params.fill)
        source = ArrowFiles(folder, _groups(manifest), self.assembler)
        self.mixer = Mixer(source, self.assembler, self.weighted, params.chunk_size, params.seed)

    def close(self) -> None:
        """Nothing is open between reads."""


class ArrowFiles:
    """Record batches of groups of files; see :class:`mlaas.dataset.chunks.BlockSource`."""

    def __init__(self, folder: Path, groups: Sequence[Sequence[BatchEntry]], assembler: Assembler) -> None:
        self._folder = folder
        self._groups = groups
        self._assembler = assembler

    def sizes(self, part: Part) -> list[int]:
        return [sum(entry.rows for entry in group if entry.part == part) for group in self._groups]

    def ranges(self, number: int, part: Part) -> list[tuple[int, int]]:
        return list(self._by_range(number, part))

    def read(self, number: int, part: Part, start: int, stop: int, normalise: bool) -> Prepared:
        return read_batch(self._folder, self._by_range(number, part)[start, stop], self._assembler, normalise)

    def _by_range(self, number: int, part: Part) -> dict[tuple[int, int], BatchEntry]:
        """Where the batches of ``part`` are when they follow each other."""
        found, start = {}, 0
        for entry in self._groups[number]:
            if entry.part == part:
                found[start, start + entry.rows] = entry
                start += entry.rows
        return found


def _groups(manifest: Manifest) -> list[list[BatchEntry]]:
    """At most ``MAX_GROUPS`` groups of files, with those of a label together as far as possible."""
    files = sorted(range(len(manifest.batches)), key=lambda number: (manifest.labels[number] or 0.0, number))
    groups: list[list[BatchEntry]] = [[] for _ in range(min(MAX_GROUPS, len(files)))]
    for rank, number in enumerate(files):
        groups[rank * len(groups) // len(files)] += manifest.batches[number]
    return groups
