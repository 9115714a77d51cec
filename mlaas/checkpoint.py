"""How far a training has come, in a file from which it goes on."""

import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from mlaas.errors import MlaasError
from mlaas.wholefile import whole_file


@dataclass(frozen=True)
class EpochResult:
    """Figures after one epoch; those of the validation part are None where it is empty."""

    epoch: int
    loss: float
    validation_loss: float | None
    validation_auc: float | None
    events_per_second: float


def best_epoch(results: Sequence[EpochResult]) -> int | None:
    """The epoch with the smallest validation loss, the first one of equals; None where no epoch was validated."""
    losses = [(result.validation_loss, result.epoch) for result in results if result.validation_loss is not None]
    return min(losses)[1] if losses else None


@dataclass
class Checkpoint:
    """How far a training has come.

    Attributes:
        results: Of the epochs that are done.
        chunks, events, loss: Of the next epoch that are done, and the sum of the losses of these events.
        best: State of the trainer after the epoch with the best validation loss.
        state: State of the trainer after the last chunk.
    """

    results: list[EpochResult] = field(default_factory=list)
    chunks: int = 0
    events: int = 0
    loss: float = 0.0
    best: bytes = b""
    state: bytes = b""

    def save(self, path: Path) -> None:
        """Write the file, or leave the one that is there as it was; raises MlaasError."""
        figures = asdict(replace(self, best=b"", state=b""))
        del figures["best"], figures["state"]
        try:
            with whole_file(path) as partial, partial.open("wb") as file:
                with zipfile.ZipFile(file, "w") as archive:
                    archive.writestr("progress.json", json.dumps(figures))
                    archive.writestr("state", self.state)
                    archive.writestr("best", self.best)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise MlaasError(f"{path}: the checkpoint can't be written: {error.strerror}") from error

    @classmethod
    def load(cls, path: Path) -> "Checkpoint":
        """Read what :meth:`save` has written; raises MlaasError."""
        try:
            with zipfile.ZipFile(path) as archive:
                figures = json.loads(archive.read("progress.json"))
                figures["results"] = [EpochResult(**result) for result in figures["results"]]
                return cls(**figures, best=archive.read("best"), state=archive.read("state"))
        except OSError as error:
            raise MlaasError(f"{path}: {error.strerror}") from error
        except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
            raise MlaasError(f"{path} is no checkpoint, or a damaged one: {error}") from error
