"""Files that are there as a whole or not at all."""

import shutil
from pathlib import Path

from mlaas.errors import MlaasError


def write_whole(target: Path, content: bytes | Path) -> None:
    """Write bytes, or a copy of a file, to `target`; raises MlaasError, and leaves what was there."""
    partial = target.with_name(f".{target.name}.partial")
    try:
        if isinstance(content, Path):
            shutil.copyfile(content, partial)
        else:
            partial.write_bytes(content)
        partial.replace(target)
    except OSError as error:
        raise MlaasError(f"{target}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
