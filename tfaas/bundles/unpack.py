"""From an archive that anybody may have made to files in a folder of ours."""

import lzma
import re
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tfaas.errors import InvalidBundle

MEMBER_NAME = re.compile(r"[^\x00-\x1f\x7f\\]{1,255}")
BLOCK = 1024**2
BROKEN = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError, ValueError, OverflowError)


@dataclass(frozen=True)
class Limits:
    """How much an archive may hold."""

    unpacked: int
    members: int


def unpack(archive: Path, folder: Path, limits: Limits) -> str:
    """Extract an archive (tar, plain or compressed) below `folder`.

    Only regular files and folders are accepted, each once, with relative names that stay inside.

    Returns:
        The name of the one top folder, or "" when the files lie at the top.

    Raises:
        InvalidBundle: the archive is broken, empty, too large or holds anything else.
    """
    seen: set[PurePosixPath] = set()
    room = limits.unpacked
    try:
        with tarfile.open(archive, "r:*") as tar:
            for count, member in enumerate(tar, 1):
                if count > limits.members:
                    raise InvalidBundle(f"the archive has more than {limits.members} members")
                path = _safe_path(member)
                if path is None or is_clutter(member.name):
                    continue
                if path in seen:
                    raise InvalidBundle(f"the archive holds {str(path)!r} twice")
                seen.add(path)
                room -= member.size
                if room < 0:
                    raise InvalidBundle(f"the archive unpacks to more than {limits.unpacked} bytes")
                _extract(tar, member, folder / path)
            _read_to_the_end(tar, room)
    except (FileExistsError, NotADirectoryError) as error:
        raise InvalidBundle(f"the archive holds {path} both as a file and as a folder") from error
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # our disk, not the archive
        reason = str(error).splitlines()[0].rstrip(":")
        raise InvalidBundle(f"the archive can't be read ({reason}): expected a .tar.gz") from error
    if not any(path.is_file() for path in folder.rglob("*")):
        raise InvalidBundle("the archive holds no files")
    top = {path.parts[0] for path in seen}
    return top.pop() if len(top) == 1 and not (folder / next(iter(top))).is_file() else ""


def check_zip(path: Path, room: int) -> None:
    """Raise InvalidBundle where a zip file, as Keras writes them, says that it unpacks to more than `room` bytes."""
    with zipfile.ZipFile(path) as file:
        size = sum(member.file_size for member in file.infolist())
    if size > room:
        raise InvalidBundle(f"{path.name!r} unpacks to more than {room} bytes")


def _read_to_the_end(tar: tarfile.TarFile, room: int) -> None:
    """Let the decompressor see its checksum, so that an archive that is cut off is found out."""
    while tar.fileobj is not None and (block := tar.fileobj.read(BLOCK)):
        room -= len(block)
        if room < 0:
            raise InvalidBundle("the archive goes on after its last member")


def _safe_path(member: tarfile.TarInfo) -> PurePosixPath | None:
    """Where a member goes, relative to the folder; None for the folder itself."""
    if not (member.isreg() or member.isdir()):
        raise InvalidBundle(f"the archive holds {member.name!r}, which is no regular file or folder")
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise InvalidBundle(f"the archive holds {member.name!r}: expected a name inside the bundle")
    if not path.parts:
        return None
    if len(path.parts) > 64 or not all(MEMBER_NAME.fullmatch(part) for part in path.parts):
        raise InvalidBundle(f"the archive holds {member.name!r}, which is no name for a file")
    return path


def is_clutter(name: str) -> bool:
    """Whether a member is one of the files that macOS adds to archives."""
    last = PurePosixPath(name).name
    return last.startswith("._") or last == ".DS_Store"


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member)
    if source is None:
        raise InvalidBundle(f"the archive holds {member.name!r} without its bytes")
    with source, target.open("xb") as file:
        while block := source.read(BLOCK):
            file.write(block)
    if target.stat().st_size != member.size:
        raise InvalidBundle(f"the archive ends inside {member.name!r}")
