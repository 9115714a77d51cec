"""Pickles, which run what they like when somebody loads them, found by what is in them and not by their names."""

import pickletools
import zipfile
from pathlib import Path
from typing import IO

from tfaas.errors import InvalidBundle

# Operations that name or call a class or a function; without one a pickle is plain data.
CALLING = {"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "REDUCE", "EXT1", "EXT2", "EXT4"}


def refuse_pickles(folder: Path) -> None:
    """Raise InvalidBundle where a file below `folder`, or a member of a zip file there, is a pickle that runs code.

    PyTorch's older formats are zip files with such members. The server loads none of them, but hands bundles out again.
    """
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            if _runs_code(file):
                raise InvalidBundle(f"{path.name!r} is a pickle, which runs code when it is loaded: leave it out")
        if zipfile.is_zipfile(path):
            _refuse_members(path)


def _refuse_members(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                with archive.open(member) as file:
                    if _runs_code(file):
                        raise InvalidBundle(
                            f"{path.name!r} holds the pickle {member.filename!r}, which runs code when it is loaded:"
                            " leave it out"
                        )
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
        raise InvalidBundle(f"{path.name!r} is a broken zip file: {error}") from error


def _runs_code(file: IO[bytes]) -> bool:
    """Whether it begins with a whole pickle that names or calls something; what follows one is not looked at."""
    try:
        names = {operation.name for operation, _, _ in pickletools.genops(file)}
    except (ValueError, OverflowError, zipfile.BadZipFile):
        return False  # what is no operation, or an end without STOP
    return bool(names & CALLING)
