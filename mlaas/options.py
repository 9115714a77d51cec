"""What `mlaas train` is asked for."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class TrainOptions:
    """What `mlaas train` is asked for; see its `--help`. Content of a file may stand for its path."""

    files: str
    labels: str | None
    model: Path
    params: Path | Mapping[str, Any] | None = None
    preproc: Path | Mapping[str, Any] | None = None
    specs: Path | None = None
    dtype: str | None = None
    fout: Path | None = None
    name: str | None = None
    publish: str | None = None
    seed: int = 0
    summary: Path | None = None
    skip_bad_files: bool = False
    run: Path | None = None
    alias: str | None = None
    promote_if: str | None = None
    any_owner: bool = False
    fold: str | None = None
    folds: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "TrainOptions":
        """What :meth:`to_json` has given; raises TypeError for anything else."""
        paths = {field.name for field in fields(cls) if "Path" in str(field.type)}
        values: dict[str, Any] = {
            name: Path(value) if name in paths and isinstance(value, str) else value for name, value in content.items()
        }
        return cls(**values)
