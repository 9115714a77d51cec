"""What a folder of prepared events is: the JSON file beside them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from mlaas.dataset.arrowfiles import BatchEntry
from mlaas.errors import DataError
from mlaas.features import Feature

FORMAT = 1
NAME = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """Everything about prepared events but the events and their specs.

    Attributes:
        features: Inputs of the model, in order.
        batches: For each file of events, where its events are.
        labels: Of each file; None where a branch holds the label.
        settings: Parameters of the preparation that training cannot change any more.
        others: See :class:`mlaas.dataset.base.EventData`.
    """

    features: tuple[Feature, ...]
    batches: list[list[BatchEntry]]
    labels: list[float | None]
    label_branch: str | None
    entries: dict[str, int]
    cutflows: dict[str, dict[str, int]]
    counts: dict[str, int]
    class_counts: dict[str, list[tuple[float, int]]]
    weighted: bool
    notes: list[str]
    preproc: dict[str, Any]
    settings: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Write it; raises OSError."""
        content = {"format": FORMAT, **asdict(self)}
        (folder / NAME).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", "utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` has written.

        Raises:
            DataError: Missing, damaged, or of another version.
        """
        path = folder / NAME
        try:
            content = json.loads(path.read_text("utf-8"))
            if (found := content.pop("format")) != FORMAT:
                raise DataError(f"{path}: prepared events of format {found}; expected {FORMAT}, prepare them again")
            content["features"] = tuple(
                Feature(**one | {"categories": tuple(one.get("categories", ()))}) for one in content["features"]
            )
            content["batches"] = [[BatchEntry(**one) for one in file] for file in content["batches"]]
            return cls(**content)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(f"{path}: not a manifest as mlaas prepare writes it") from error


def is_prepared(folder: str) -> bool:
    """Whether ``folder`` holds prepared events."""
    return (Path(folder) / NAME).is_file()
