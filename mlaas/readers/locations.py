"""Where a file is: a path or URL, and its replicas."""

import os
from pathlib import PurePosixPath
from urllib.parse import urlsplit

XROOTD_SCHEMES = ("root", "roots", "xroot", "xroots")
HTTP_SCHEMES = ("http", "https")
COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
REPLICA_SEPARATOR = "|"


def scheme(path: str) -> str:
    """``root`` of ``root://host//file``, in lower case; empty for a local path."""
    if "://" not in path:
        return ""
    found = path.split("://", 1)[0].lower()
    return "" if found == "file" else found


def is_remote(path: str) -> bool:
    """Whether ``path`` is not on this machine."""
    return bool(scheme(path))


def local_path(path: str) -> str:
    """A local path without ``file://``."""
    return path[len("file://") :] if path.lower().startswith("file://") else path


def places_of(path: str) -> list[str]:
    """The places where the same file is, in the order to try them: ``root://a//f|root://b//f``."""
    if REPLICA_SEPARATOR not in path or os.path.exists(path):
        return [path]
    return [place.strip() for place in path.split(REPLICA_SEPARATOR) if place.strip()]


def basename(path: str) -> str:
    """Last part of a path or URL, without the query of a URL; that of the first replica."""
    path = places_of(path)[0]
    if "://" in path:
        path = urlsplit(path)._replace(query="", fragment="").geturl() if scheme(path) in HTTP_SCHEMES else path
        path = path.split("?", 1)[0]
    return PurePosixPath(path).name


def suffix(path: str) -> str:
    """Suffix that tells the format, in lower case: ``.csv`` of ``a.csv`` and of ``a.csv.gz``."""
    name = PurePosixPath(basename(path))
    if name.suffix.lower() in COMPRESSED_SUFFIXES and (inner := PurePosixPath(name.stem).suffix):
        return inner.lower()
    return name.suffix.lower()
