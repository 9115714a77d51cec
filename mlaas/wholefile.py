"""Files that are there as a whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlaas.errors import MlaasError

# What a process that is killed leaves behind.
UNFINISHED = ".*.partial"


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A path to write to, whose file becomes `target` when all has gone well; else what was there stays."""
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(target: Path, content: bytes | Path) -> None:
    """Write bytes, or a copy of a file, to `target`; raises MlaasError, and leaves what was there."""
    try:
        with whole_file(target) as partial:
            if isinstance(content, Path):
                shutil.copyfile(content, partial)
            else:
                partial.write_bytes(content)
    except OSError as error:
        raise MlaasError(f"{target}: {error.strerror}") from error
