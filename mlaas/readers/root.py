"""ROOT files: TTree and RNTuple, local or from an XRootD server."""

import os
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from mlaas.closing import Closing
from mlaas.errors import DataError, listing, suggestion
from mlaas.readers.arrays import Strings, Values, as_awkward
from mlaas.readers.base import Branch, Events, cut_blocks
from mlaas.readers.failures import OutOfReach, Unreadable, translated
from mlaas.readers.locations import XROOTD_SCHEMES, is_remote, local_path, scheme
from mlaas.readers.rntuple import RNTupleTable
from mlaas.readers.storage.waiting import request_timeout
from mlaas.readers.storage.xrootd import xrootd_client
from mlaas.readers.streams import check_local
from mlaas.readers.ttree import TTreeTable


class Table(Protocol):
    """What this module needs of the two kinds of table in a ROOT file."""

    entries: int
    branches: dict[str, Branch]
    skipped: dict[str, str]

    def __init__(self, table: Any) -> None: ...

    @property
    def texts(self) -> frozenset[str]: ...

    def values(self, names: Sequence[str], start: int, stop: int, threads: int) -> dict[str, Values]: ...

    def strings(self, name: str, start: int, stop: int) -> Strings: ...

    def boundaries(self, names: Sequence[str]) -> list[int]: ...

    def bytes_per_entry(self, names: Sequence[str]) -> float: ...


TABLES: dict[str, type[Table]] = {
    "TTree": TTreeTable,
    "TNtuple": TTreeTable,
    "TNtupleD": TTreeTable,
    "ROOT::RNTuple": RNTupleTable,
}


class RootReader(Closing):
    """Reads one table of a ROOT file; see :class:`mlaas.readers.base.Reader`.

    Args:
        path: Local path or ``root://`` URL.
        tree: Name of the TTree or RNTuple, ``folder/name`` inside a folder; None takes the only one.

    Raises:
        DataError: The file or the tree is missing, damaged, of another format or out of reach.
    """

    def __init__(self, path: str, tree: str | None = None) -> None:
        self.path = path
        self._remote = is_remote(path)
        self._file = _open(path, self._remote)
        self._lock = threading.Lock()
        try:
            with self._translated("cannot be read"):
                if (size := self._file.file.source.num_bytes) < self._file.file.fEND:
                    raise DataError(f"{path}: truncated, {size} of {self._file.file.fEND} bytes are there")
                tables = _newest_tables(self._file)
                self.tree, key = _choose_tree(path, tree, tables)
                self._table = TABLES[tables[self.tree][1]](self._file[key])
                self.entries = self._table.entries
                self.branches = self._table.branches
                self.skipped = self._table.skipped
                self.identity = f"{self._file.file.uuid}:{self.tree}:{self.entries}"
        except BaseException:
            self.close()
            raise

    @classmethod
    def trees(cls, path: str) -> dict[str, int]:
        """See :meth:`mlaas.readers.base.FileReader.trees`."""
        remote = is_remote(path)
        with _open(path, remote) as file, translated(path, "cannot be read", remote):
            tables = _newest_tables(file)
            return {name: int(file[f"{name};{cycle}"].num_entries) for name, (cycle, _) in tables.items()}

    def read(self, names: Sequence[str], start: int, stop: int) -> Events:
        """See :meth:`mlaas.readers.base.Reader.read`."""
        return {name: as_awkward(values) for name, values in self.values(names, start, stop).items()}

    def values(self, names: Sequence[str], start: int, stop: int) -> dict[str, Values]:
        """See :meth:`mlaas.readers.base.Reader.values`."""
        self._check(names)
        stop = min(stop, self.entries)
        start = min(max(start, 0), stop)
        if not names:
            return {}
        threads = min(4, len(os.sched_getaffinity(0)))
        with self._lock:
            try:
                with self._translated(f"cannot be read (entries {start} to {stop})"):
                    found = self._table.values(names, start, stop, threads)
                    for name, values in found.items():
                        if len(values) != stop - start:
                            raise ValueError(f"branch {name} has {len(values)} of {stop - start} events")
                    return found
            except OutOfReach:
                raise
            except Unreadable as error:
                raise (self._first_damage(names, start, stop) or error) from error

    @property
    def texts(self) -> frozenset[str]:
        """Branches with a string an event."""
        return self._table.texts

    def strings(self, name: str, start: int, stop: int) -> Strings:
        """See :meth:`mlaas.readers.base.Reader.strings`."""
        stop = min(stop, self.entries)
        with self._lock, self._translated(f"branch {name} is damaged between entries {start} and {stop}"):
            strings = self._table.strings(name, start, stop)
            if len(strings) != stop - start:
                raise ValueError(f"it has {len(strings)} of {stop - start} events")
            return strings

    def blocks(self, names: Sequence[str], stop: int, max_bytes: int) -> list[tuple[int, int]]:
        """See :meth:`mlaas.readers.base.Reader.blocks`."""
        self._check(names)
        stop = min(stop, self.entries)
        if not names:
            return [(0, stop)] if stop else []
        with self._translated("cannot be read"):
            target = max(1, int(max_bytes / max(1.0, self._table.bytes_per_entry(names))))
            boundaries = self._table.boundaries(names)
        if not boundaries or boundaries[-1] < stop:
            held = boundaries[-1] if boundaries else 0
            raise Unreadable(f"{self.path}: damaged, {self.tree} claims {self.entries} events but holds {held}")
        return cut_blocks(boundaries, stop, target)

    def close(self) -> None:
        """Close the file; the arrays read from it stay valid."""
        self._file.close()

    def _check(self, names: Sequence[str]) -> None:
        for name in names:
            if name in self.branches:
                continue
            if name in self.skipped:
                raise DataError(f"{self.path}: branch {name} cannot be read: {self.skipped[name]}")
            raise DataError(f"{self.path}: no branch {name} in {self.tree}{suggestion(name, self.branches)}")

    def _first_damage(self, names: Sequence[str], start: int, stop: int) -> Unreadable | None:
        """The error of the first of ``names`` that cannot be read; None where each can be read alone."""
        for name in names:
            try:
                with self._translated(f"branch {name} is damaged between entries {start} and {stop}"):
                    self._table.values([name], start, stop, 1)
            except Unreadable as error:
                return error
        return None

    def _translated(self, what: str) -> AbstractContextManager[None]:
        return translated(self.path, what, self._remote)


def _open(path: str, remote: bool) -> Any:
    """Open ``path`` with uproot; only the sources for web servers and the like have threads."""
    import uproot

    # Most of the time of reading is zlib's; Intel's decompresses the same bytes in less than half of it. The
    # decompressor takes its choice from here, not from the public uproot.ZLIB, which is for writing and stays as it is.
    written = uproot.ZLIB.library
    uproot.compression._DecompressZLIB.library = "isal"
    uproot.ZLIB.library = written
    local = local_path(path)
    if scheme(path) in XROOTD_SCHEMES:
        xrootd_client()
        handler = uproot.XRootDSource
    elif remote:
        from mlaas.readers.storage.ranges import RangeSource

        handler = RangeSource
    else:
        _check_magic(path, local)
        handler = uproot.MultithreadedFileSource
    with translated(path, "cannot be opened", remote):
        # A mapping, so that a colon in the name is not taken for the name of a tree.
        return uproot.open(
            {local: None}, handler=handler, use_threads=False, timeout=request_timeout(),
            array_cache=None, object_cache=None,
        )  # fmt: skip


def _check_magic(path: str, local: str) -> None:
    check_local(path)
    try:
        with Path(local).open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise DataError(f"{path}: cannot be opened: {error.strerror}") from error
    if magic != b"root":
        raise DataError(f"{path}: not a ROOT file, it begins with {magic!r}")


def _newest_tables(file: Any) -> dict[str, tuple[int, str]]:
    """Name of every table in ``file`` → its newest cycle and its class."""
    tables: dict[str, tuple[int, str]] = {}
    for key, classname in file.classnames(recursive=True).items():
        name, cycle = key.rsplit(";", 1)
        if classname in TABLES and int(cycle) > tables.get(name, (0, ""))[0]:
            tables[name] = (int(cycle), classname)
    return tables


def _choose_tree(path: str, tree: str | None, tables: dict[str, tuple[int, str]]) -> tuple[str, str]:
    """Name of the tree to read, and the key that it has in the file."""
    if not tables:
        raise DataError(f"{path}: holds no TTree and no RNTuple")
    if tree is None:
        if len(tables) > 1:
            raise DataError(f"{path}: name the tree to read, the file has {listing(tables)}")
        tree = next(iter(tables))
    name, _, cycle = tree.partition(";")
    if name not in tables:
        raise DataError(f"{path}: no tree {tree}{suggestion(name, tables)}; the file has {listing(tables)}")
    return name, f"{name};{cycle or tables[name][0]}"
