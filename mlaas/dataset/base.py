"""What training needs of its data, wherever they come from."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlaas.assembly import Assembler
from mlaas.closing import Closing
from mlaas.dataset.chunks import Chunk, Mixer
from mlaas.dataset.frameworks import Batch, batches, tensorflow_dataset, torch_dataset
from mlaas.dataset.split import PARTS, Part
from mlaas.errors import DataError, ParameterError, listing
from mlaas.features import Feature, columns
from mlaas.selection import Selection
from mlaas.specs import Specs


class EventData(Closing):
    """Events in three parts, as chunks and as batches.

    Attributes:
        features: Inputs of the model, in order; ``columns`` names each of their columns.
        assembler: Places and normalises the features.
        specs: Result of the first pass.
        selection: New branches and cuts.
        entries: Path of each file → events used of it, before the selection.
        label_branch: Branch that holds the label; None where each file has one label.
        cutflows: Path of each file → text of each cut → events left after it.
        counts: Part → events after the selection.
        class_counts: Part → label → events after the selection; empty where the label is a quantity.
        weighted: Whether the events have weights.
        notes: What people should know, a line each.
    """

    features: tuple[Feature, ...]
    assembler: Assembler
    specs: Specs
    selection: Selection
    entries: dict[str, int]
    label_branch: str | None
    cutflows: dict[str, dict[str, int]]
    counts: dict[Part, int]
    class_counts: dict[Part, dict[float, int]]
    weighted: bool
    notes: list[str]
    shuffle: bool
    mixer: Mixer

    @property
    def columns(self) -> list[str]:
        """Names of the columns of the matrices."""
        return columns(self.features)

    @property
    def classes(self) -> tuple[float, ...]:
        """Labels in order; empty where the label is a quantity."""
        return tuple(sorted({label for counts in self.class_counts.values() for label in counts}))

    @property
    def cutflow(self) -> dict[str, int]:
        """Text of each cut → events of all files left after it."""
        flows = list(self.cutflows.values())
        return {cut: sum(flow[cut] for flow in flows) for cut in flows[0]}

    def chunks(self, part: Part, epoch: int = 0) -> Iterator[Chunk]:
        """Yield all events of ``part``, each once, while threads read ahead.

        Every chunk takes events from all files in proportion to their sizes. Those of ``train`` are in
        an order that depends on the seed and the epoch; the others are in the order of the files.

        Raises:
            DataError: A file has become unreadable.
        """
        return self.mixer.chunks(_checked(part), epoch if part == "train" and self.shuffle else None)

    def raw_chunks(self, part: Part) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Yield all events of ``part`` in the order of the files, as values that are not normalised.

        Returns:
            float32 (n, width) with NaN for what is missing, and float32 (n,) labels, for each chunk.
        """
        return self.mixer.raw(_checked(part))

    def batches(self, part: Part, batch_size: int, epoch: int = 0) -> Iterator[Batch]:
        """All events of ``part`` in batches of equal size; see :func:`mlaas.dataset.frameworks.batches`."""
        return batches(self, _checked(part), batch_size, epoch)

    def tensorflow(self, part: Part, batch_size: int) -> Any:
        """The batches of ``part`` as a ``tf.data.Dataset``, ready for ``fit``; every iteration is the next epoch.

        Its elements are those of :meth:`batches`.
        """
        return tensorflow_dataset(self, _checked(part), batch_size)

    def torch(self, part: Part, batch_size: int) -> Any:
        """The batches of ``part`` as a ``torch.utils.data.IterableDataset``; every iteration is the next epoch.

        Give it to a ``DataLoader`` with ``batch_size=None`` and no workers: it reads ahead by itself.
        """
        return torch_dataset(self, _checked(part), batch_size)

    def require_every_class(self) -> None:
        """Check what a classifier needs: the training part has events of every label.

        Raises:
            DataError: It has none of one label.
        """
        missing = set(self.classes) - set(self.class_counts["train"])
        if missing:
            raise DataError(f"the training part has no event of label {min(missing):g}; expected more events")


def _checked(part: Part) -> Part:
    if part not in PARTS:
        raise ParameterError(f"part {part!r} is not known; expected one of {listing(PARTS)}")
    return part
