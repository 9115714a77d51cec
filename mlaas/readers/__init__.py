"""Files in, arrays out: one module a format, and one table that names them."""

from pathlib import PurePosixPath

from mlaas.errors import DataError, listing
from mlaas.readers.base import Branch, Reader
from mlaas.readers.root import RootReader

__all__ = ["READERS", "SUFFIXES", "Branch", "Reader", "basename", "open_reader"]

READERS: dict[str, type[Reader]] = {"root": RootReader}
SUFFIXES: dict[str, str] = {".root": "root"}


def open_reader(path: str, tree: str | None = None, dtype: str | None = None) -> Reader:
    """Open a file for reading in chunks.

    Args:
        path: Local path or ``root://`` URL.
        tree: Name of the tree; None takes the only one that the file has.
        dtype: Format of the file, one of ``READERS``; None goes by the suffix.

    Raises:
        DataError: Unknown format; the file or the tree is missing, damaged or out of reach.
    """
    name = dtype.lower() if dtype else SUFFIXES.get(PurePosixPath(basename(path)).suffix.lower())
    if name is None:
        raise DataError(f"{path}: the format is not known by its suffix; expected {listing(SUFFIXES)}")
    if name not in READERS:
        raise DataError(f"{path}: unknown format {dtype!r}; expected one of {listing(READERS)}")
    return READERS[name](path, tree)


def basename(path: str) -> str:
    """Last part of a path or URL, without the query of a URL."""
    if "://" in path:
        path = path.split("?", 1)[0]
    return PurePosixPath(path).name
