"""Packs the folder of a model into the archive that `POST /upload` takes."""

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ._exceptions import InputError


@contextmanager
def open_bundle(path: Path) -> Iterator[IO[bytes]]:
    """Opens a .tar.gz file, or a folder as one whose single top folder is named as the folder.

    Raises:
        InputError: `path` cannot be read, or the folder holds something that is no file and no folder.
    """
    if not path.is_dir():
        with open_file(path) as archive:
            yield archive
        return
    with tempfile.TemporaryFile() as archive:
        try:
            with tarfile.open(fileobj=archive, mode="w:gz") as tar:
                tar.add(path, arcname=path.resolve().name, filter=_files_and_folders_only)
        except OSError as error:
            raise InputError(f"{path} cannot be packed: {error}") from error
        archive.seek(0)
        yield archive


def open_file(path: Path) -> IO[bytes]:
    """Opens a file for reading.

    Raises:
        InputError: it cannot be.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _files_and_folders_only(member: tarfile.TarInfo) -> tarfile.TarInfo:
    if not (member.isfile() or member.isdir()):
        raise InputError(f"{member.name} is a link or a special file: a bundle holds regular files and folders")
    return member
