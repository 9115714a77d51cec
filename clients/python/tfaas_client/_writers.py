"""Where scores go: into a file whose suffix says in which form, or as lines."""

import csv
import json
import math
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._exceptions import InputError

Scores: TypeAlias = Mapping[str, NDArray[np.float32]]
Writer: TypeAlias = Callable[[Scores], None]
"""Takes the scores of the next events, (events,) or (events, numbers) for each output."""

TREE = "scores"


def text_writer(file: IO[str], delimiter: str) -> Writer:
    """A head with the outputs and a line for each event; an output of several numbers has as many columns."""
    head: list[str] = []

    def write(scores: Scores) -> None:
        names = list(number_columns(scores))
        if head != names:
            head[:] = names
            csv.writer(file, delimiter=delimiter, lineterminator="\n").writerow(names)
        np.savetxt(file, np.column_stack(list(number_columns(scores).values())), fmt="%.9g", delimiter=delimiter)

    return write


def json_writer(file: IO[str]) -> Writer:
    """An object for each event, a line each; null stands for what is no finite number."""

    def write(scores: Scores) -> None:
        columns = [[finite_or_null(value) for value in values.tolist()] for values in scores.values()]
        file.writelines(
            json.dumps(dict(zip(scores, event, strict=True))) + "\n" for event in zip(*columns, strict=True)
        )

    return write


def finite_or_null(value: Any) -> Any:
    """Returns numbers, or lists of them, as JSON can say them."""
    if isinstance(value, list):
        return [finite_or_null(item) for item in value]
    return value if math.isfinite(value) else None


def number_columns(scores: Scores) -> dict[str, NDArray[np.float32]]:
    """Returns a column for each number of each output."""
    columns = {}
    for name, values in scores.items():
        if values.ndim == 1:
            columns[name] = values
        else:
            columns |= {f"{name}_{index}": values[:, index] for index in range(values.shape[1])}
    return columns


@contextmanager
def open_writer(path: Path) -> Iterator[Writer]:
    """Writes a file that is there, whole, when the context ends without an error.

    Raises:
        InputError: the suffix is unknown, or the file cannot be written.
    """
    if path.suffix not in WRITERS:
        raise InputError(f"{path} ends with {path.suffix!r}: expected one of {', '.join(WRITERS)}")
    if not path.parent.is_dir():
        raise InputError(f"{path} cannot be written: {path.parent} is no folder")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with WRITERS[path.suffix](partial) as writer:
            yield writer
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _root(path: Path) -> Iterator[Writer]:
    """A tree `scores` with a branch for each output, which can be a friend of the tree that was read."""
    import uproot

    trees: list[Any] = []

    def write(scores: Scores) -> None:
        branches = {re.sub(r"\W", "_", name): values for name, values in scores.items()}
        if len(branches) < len(scores):
            raise InputError(f"two outputs are one branch name: {', '.join(scores)}")
        if not trees:
            kinds = {name: np.dtype((np.float32, values.shape[1:])) for name, values in branches.items()}
            trees.append(file.mktree(TREE, kinds))
        trees[0].extend(branches)

    with uproot.recreate(path) as file:
        yield write


@contextmanager
def _npz(path: Path) -> Iterator[Writer]:
    """An array for each output."""
    parts: list[Scores] = []
    with zipfile.ZipFile(path, "w") as archive:
        yield parts.append
        for name in parts[0]:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.concatenate([part[name] for part in parts]), allow_pickle=False)


@contextmanager
def _csv(path: Path) -> Iterator[Writer]:
    with path.open("w", encoding="utf-8", newline="") as file:
        yield text_writer(file, ",")


@contextmanager
def _json_lines(path: Path) -> Iterator[Writer]:
    with path.open("w", encoding="utf-8") as file:
        yield json_writer(file)


WRITERS: dict[str, Callable[[Path], AbstractContextManager[Writer]]] = {
    ".root": _root,
    ".npz": _npz,
    ".csv": _csv,
    ".jsonl": _json_lines,
}
