"""Where the scores go, and which columns they have there."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from mlaas.errors import DataError, ParameterError, listing
from mlaas.readers import SUFFIXES as FORMATS
from mlaas.readers import basename
from mlaas.readers.locations import COMPRESSED_SUFFIXES, local_path, places_of
from mlaas.scoring.files import EventFile
from mlaas.scoring.writers import SUFFIXES, WRITERS, Dtypes

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_]")


@dataclass(frozen=True)
class Target:
    """What ``--out`` and ``--format`` say.

    Attributes:
        folder: Whether there is an output for each file, in the folder ``path``; else ``path`` is the one output.
        format: One of ``WRITERS``.
    """

    path: Path
    folder: bool
    format: str

    @property
    def state(self) -> Path:
        """Where unfinished scores are kept: a hidden folder of the same disk."""
        return self.path / ".scoring" if self.folder else self.path.with_name(f".{self.path.name}.scoring")


@dataclass(frozen=True)
class Output:
    """A file of scores.

    Attributes:
        number: Of the output.
        files: Number and file of those whose events it has, in their order.
        identifiers: Branches that are kept → dtype of their numbers here.
    """

    number: int
    path: Path
    files: tuple[tuple[int, EventFile], ...]
    identifiers: dict[str, np.dtype[np.generic]]

    def columns(self, scores: Sequence[str]) -> list[str]:
        """Names of the identifiers and then the ``scores`` in the output, all different and valid in ROOT and C++."""
        names: dict[str, None] = {}
        for wanted in [*self.identifiers, *scores]:
            plain = _NOT_IN_NAMES.sub("_", wanted)
            plain = f"_{plain}" if plain[0].isdigit() else plain
            name, again = plain, 1
            while name in names:
                again += 1
                name = f"{plain}_{again}"
            names[name] = None
        return list(names)

    def dtypes(self, scores: Sequence[str]) -> Dtypes:
        """Name in the output → dtype."""
        dtypes = [*self.identifiers.values(), *(np.dtype(np.float32) for _ in scores)]
        return dict(zip(self.columns(scores), dtypes, strict=True))


def find_target(out: Path, form: str | None) -> Target:
    """Check where the scores are to go, and as what.

    Raises:
        ParameterError: They can't be written there.
    """
    if form is not None and form not in WRITERS:
        raise ParameterError(f"--format {form}: expected one of {', '.join(WRITERS)}")
    folder = out.is_dir() or not out.suffix
    fitting = [name for name in WRITERS if folder or SUFFIXES[name] == out.suffix]
    if not fitting:
        raise ParameterError(f"--out {out}: expected a .root or .parquet file, or a folder")
    if form is not None and form not in fitting:
        raise ParameterError(f"--out {out}: expected a name that ends in {SUFFIXES[form]} for {form}, or a folder")
    parent = out if out.is_dir() else out.absolute().parent
    if not parent.is_dir():
        raise ParameterError(f"--out {out}: there is no folder {parent}")
    if not os.access(parent, os.W_OK):
        raise ParameterError(f"--out {out}: folder {parent} can't be written to")
    return Target(out, folder, form or fitting[0])


def plan_outputs(target: Target, files: Sequence[EventFile]) -> list[Output]:
    """The outputs for ``files``.

    Raises:
        ParameterError: Two would have one name, or that of a file to score.
        DataError: Files of one output have other identifiers.
    """
    numbered = tuple(enumerate(files))
    if not target.folder:
        outputs = [Output(0, target.path, numbered, _common_identifiers(files))]
    else:
        names = [_stem(file.path) + SUFFIXES[target.format] for file in files]
        twice, count = Counter(names).most_common(1)[0]
        if count > 1:
            both = listing(file.path for file, name in zip(files, names, strict=True) if name == twice)
            raise ParameterError(
                f"--out {target.path}: {both} would all become {twice}; expected other folders for them"
            )
        outputs = [
            Output(number, target.path / name, ((number, file),), file.identifiers)
            for (number, file), name in zip(numbered, names, strict=True)
        ]
    inputs = {Path(local_path(place)).resolve() for file in files for place in places_of(file.path)}
    for output in outputs:
        if output.path.resolve() in inputs:
            raise ParameterError(f"--out {output.path} is one of the files to score; expected another place")
    return outputs


def check_free(outputs: Sequence[Output], force: bool) -> None:
    """Raise ParameterError where an output is there already and must not be replaced."""
    there = [str(output.path) for output in outputs if output.path.exists()]
    if there and not force:
        raise ParameterError(
            f"--out: {listing(there, 3)} is there already; expected a new name, or --force to replace it"
        )


def _stem(path: str) -> str:
    """Name of a file without the suffixes of its format and compression."""
    name = PurePosixPath(basename(path))
    if name.suffix.lower() in COMPRESSED_SUFFIXES:
        name = name.with_suffix("")
    return name.stem if name.suffix.lower() in FORMATS else name.name


def _common_identifiers(files: Sequence[EventFile]) -> dict[str, np.dtype[np.generic]]:
    first = files[0].identifiers
    for file in files:
        if set(file.identifiers) != set(first):
            raise DataError(
                f"{file.path}: its events are told apart by {listing(file.identifiers)}, those of {files[0].path} by"
                f" {listing(first)}; expected the same, or --identifier to name them"
            )
    common: dict[str, np.dtype[np.generic]] = {}
    for name in first:
        dtypes = [file.identifiers[name] for file in files]
        common[name] = np.result_type(*dtypes)
        if common[name].kind not in {dtype.kind for dtype in dtypes}:
            given = " and ".join(map(str, dict.fromkeys(dtypes)))
            raise DataError(f"branch {name} is {given} in these files: no type holds both exactly")
    return common
