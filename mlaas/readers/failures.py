"""What the libraries below raise for bad files and bad networks, as errors that name the file."""

import lzma
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlaas.errors import DataError

_CHUNK_LENGTH = re.compile(r"expected Chunk of length (\d+),\s*received (\d+) bytes")
# Not retried: another attempt gives the same answer.
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


class Unreadable(DataError):
    """The file is damaged or missing: a replica of it may not be."""


class OutOfReach(Unreadable):
    """The server did not answer, or not in time: another attempt may succeed."""


@contextmanager
def bounded_memory(more: int) -> Iterator[None]:
    """Raises MemoryError where the process would take ``more`` bytes more than it has now, on Linux."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = int(statm.read_text().split()[0]) * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit if soft == resource.RLIM_INFINITY else min(soft, limit), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def translated(path: str, what: str, remote: bool = False) -> Iterator[None]:
    """Turn what uproot, Arrow and the libraries below them raise for bad files into an error of ours.

    Args:
        path, what: Begin the message, as in ``a.root: cannot be opened: ...``.
        remote: Whether an error of input or output is a matter of the network.

    Raises:
        OutOfReach: The network is at fault.
        Unreadable: The file is.
    """
    from cramjam import DecompressionError
    from isal.igzip_lib import IsalError
    from uproot.deserialization import DeserializationError

    try:
        yield
    except (
        OSError, EOFError, MemoryError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError,
        AssertionError, NotImplementedError, RecursionError, RuntimeError,
        struct.error, zlib.error, lzma.LZMAError, DecompressionError, DeserializationError, IsalError,
    ) as error:  # fmt: skip
        kind = OutOfReach if remote and _of_the_network(error) else Unreadable
        hint = "; XRD_REQUESTTIMEOUT sets how many seconds to wait" if isinstance(error, TimeoutError) else ""
        raise kind(f"{path}: {what}: {reason(error)}{hint}") from error


def _of_the_network(error: BaseException) -> bool:
    if isinstance(error, ValueError):
        # uproot closes a file of XRootD at the first error, and requests that are under way end so.
        return "closed file" in str(error)
    return isinstance(error, OSError) and not isinstance(error, _FINAL)


def reason(error: BaseException) -> str:
    """The message of ``error`` in a line, or its kind where it has none."""
    text = str(error).strip()
    if match := _CHUNK_LENGTH.search(text):
        return f"expected {match[1]} bytes where the file has only {match[2]}"
    return text.split("\n", 1)[0].rstrip(":,") or type(error).__name__
