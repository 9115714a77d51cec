"""What the libraries below raise for bad files and bad networks, as errors that name the file."""

import lzma
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from mlaas.errors import DataError

_CHUNK_LENGTH = re.compile(r"expected Chunk of length (\d+),\s*received Chunk of length (\d+)")
# Not retried: another attempt gives the same answer.
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


class OutOfReach(DataError):
    """The server did not answer, or not in time: another attempt or another replica may succeed."""


@contextmanager
def translated(path: str, what: str, remote: bool = False) -> Iterator[None]:
    """Turn what uproot, Arrow and the libraries below them raise for bad files into a DataError.

    Args:
        path, what: Begin the message, as in ``a.root: cannot be opened: ...``.
        remote: Whether an error of input or output is a matter of the network.

    Raises:
        OutOfReach: The network is at fault.
        DataError: The file is.
    """
    from cramjam import DecompressionError
    from uproot.deserialization import DeserializationError

    try:
        yield
    except (
        OSError, EOFError, MemoryError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError,
        AssertionError, NotImplementedError, RecursionError, RuntimeError,
        struct.error, zlib.error, lzma.LZMAError, DecompressionError, DeserializationError,
    ) as error:  # fmt: skip
        kind = OutOfReach if remote and isinstance(error, OSError) and not isinstance(error, _FINAL) else DataError
        hint = "; XRD_REQUESTTIMEOUT sets how many seconds to wait" if isinstance(error, TimeoutError) else ""
        raise kind(f"{path}: {what}: {_reason(error)}{hint}") from error


def _reason(error: BaseException) -> str:
    """The message of ``error`` in a line, or its kind where it has none."""
    text = str(error).strip()
    if match := _CHUNK_LENGTH.search(text):
        return f"expected {match[1]} bytes where the file has only {match[2]}"
    return text.split("\n", 1)[0].rstrip(":,") or type(error).__name__
