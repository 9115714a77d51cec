"""What `--files` and `--labels` stand for."""

import os
from pathlib import Path

from mlaas.errors import ParameterError
from mlaas.params import lines

LIST_SUFFIXES = {"", ".txt", ".list", ".lst"}


def parse_files(text: str, redirector: str = "") -> list[str]:
    """Paths and URLs from a comma-separated list or from a text file with one a line.

    Names that are neither URLs nor local files are put behind `redirector`, where there is one.
    """
    path = Path(text)
    if path.suffix in LIST_SUFFIXES - {""} and "," not in text and not os.path.isfile(text):
        raise ParameterError(f"--files {text}: there is no such list of files")
    names = lines(path) if path.suffix in LIST_SUFFIXES and os.path.isfile(text) else _split(text)
    if not names:
        raise ParameterError(f"--files {text!r} names no file: expected a list, or a text file with one a line")
    return [_located(name, redirector) for name in names]


def parse_labels(text: str) -> list[str]:
    """A label for each file, or the name of the branch that holds it."""
    labels = lines(Path(text)) if os.path.isfile(text) else _split(text)
    if not labels:
        raise ParameterError(f"--labels {text!r} names no label: expected a list, a file with one a line, or a branch")
    return labels


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _located(name: str, redirector: str) -> str:
    if not redirector or "://" in name or os.path.exists(name):
        return name
    return f"{redirector.rstrip('/')}//{name.lstrip('/')}"
