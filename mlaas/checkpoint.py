"""How far a training has come, in a file from which it goes on."""

import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mlaas.errors import MlaasError


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
        losses, sizes: Mean loss and events of each chunk of the next epoch that is done.
        best: State of the trainer after the epoch with the best validation loss.
        state: State of the trainer after the last chunk.
    """

    results: list[EpochResult] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    best: bytes = b""
    state: bytes = b""

    def save(self, path: Path) -> None:
        """Write the file, or leave the one that is there as it was; raises MlaasError."""
        partial = path.with_name(f".{path.name}.partial")
        figures = {"results": [asdict(result) for result in self.results], "losses": self.losses, "sizes": self.sizes}
        try:
            with partial.open("wb") as file:
                with zipfile.ZipFile(file, "w") as archive:
                    archive.writestr("progress.json", json.dumps(figures))
                    archive.writestr("state", self.state)
                    archive.writestr("best", self.best)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError as error:
            raise MlaasError(f"{path}: the checkpoint can't be written: {error.strerror}") from error
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> "Checkpoint":
        """Read what :meth:`save` has written; raises MlaasError."""
        try:
            with zipfile.ZipFile(path) as archive:
                figures = json.loads(archive.read("progress.json"))
                results = [EpochResult(**result) for result in figures["results"]]
                best, state = archive.read("best"), archive.read("state")
                return cls(results, figures["losses"], figures["sizes"], best, state)
        except OSError as error:
            raise MlaasError(f"{path}: {error.strerror}") from error
        except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
            raise MlaasError(f"{path} is no checkpoint, or a damaged one: {error}") from error
