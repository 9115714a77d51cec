"""The branches of a TTree."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from mlaas.readers.arrays import Strings, Values, as_values
from mlaas.readers.base import Branch
from mlaas.readers.baskets import PlainBranch, StoredBytes, is_local
from mlaas.readers.failures import bounded_memory, reason
from mlaas.readers.forms import Leaf, Unusable, leaves, numbers

# Members of every TObject.
_BOOKKEEPING = ("fBits", "fUniqueID")
_FIRST_EVENT_BYTES = 1 << 30
# Compressed size of a basket from which threads are worth what they cost.
_BYTES_FOR_THREADS = 4 << 10


class TTreeTable:
    """Reads the numbers of a TTree; a branch that is split has its parts as branches.

    Args:
        table: The tree, as uproot opened it.
    """

    def __init__(self, table: Any) -> None:
        self._tree = table
        self.entries = int(table.num_entries)
        self.branches: dict[str, Branch] = {}
        self.skipped: dict[str, str] = {}
        self._leaves: dict[str, Leaf] = {}
        self._sources: dict[str, Any] = {}
        self._texts: dict[str, Any] = {}
        self._plain: dict[str, PlainBranch | None] = {}
        self._sizes: dict[int, int] = {}
        self._local = is_local(table.file.source)
        taken: set[str] = set()
        for path, source in table.iteritems(recursive=True, full_paths=True):
            if len(source.branches):
                continue
            label = path if source.name in taken else source.name
            taken.add(source.name)
            for found in _parts(label, source):
                if isinstance(found, Unusable):
                    self.skipped[found.name] = found.reason
                    if found.text:
                        self._texts[found.name] = source
                    continue
                name = found.branch.name
                self.branches[name] = found.branch
                self._leaves[name] = found
                self._sources[name] = source
        # uproot tells only when it reads objects whether it knows how they are stored.
        objects = {id(self._sources[name]): name for name, leaf in self._leaves.items() if not leaf.simple}
        if self.entries:
            self._skip_unreadable(list(objects.values()))

    def _skip_unreadable(self, names: Sequence[str]) -> None:
        """Skip those branches of ``names``, and all that comes from them, whose first event cannot be read."""
        if not names or (why := self._unreadable(names)) is None:
            return
        if len(names) > 1:
            middle = len(names) // 2
            self._skip_unreadable(names[:middle])
            self._skip_unreadable(names[middle:])
            return
        for name in [one for one in self.branches if self._sources[one] is self._sources[names[0]]]:
            self.skipped[name] = f"it cannot be read: {why}"
            del self.branches[name]

    def _unreadable(self, names: Sequence[str]) -> str | None:
        """Why the first event of ``names`` cannot be read; None where it can."""
        from uproot.deserialization import DeserializationError

        try:
            # Objects that uproot takes for others give numbers of elements that fill the memory of any machine.
            with bounded_memory(_FIRST_EVENT_BYTES):
                events = self.values(names, 0, 1, 1)
        except MemoryError:
            return f"the first event would take more than {_FIRST_EVENT_BYTES >> 20} MB"
        except (DeserializationError, NotImplementedError, ValueError, TypeError, LookupError, AttributeError) as error:
            return reason(error)
        short = [name for name, array in events.items() if not len(array)]
        return "it has no events" if short else None

    def values(self, names: Sequence[str], start: int, stop: int, threads: int) -> dict[str, Values]:
        """Values of ``names``, decompressed by ``threads`` threads that end with the call."""
        found = self._plain_values(names, start, stop, threads)
        others = [name for name in names if name not in found]
        if not others:
            return found
        sources = {self._sources[name].cache_key: self._sources[name] for name in others}
        with _executor(threads) as executor:
            arrays = _arrays(self._tree, sources, start, stop, executor)
        for name in others:
            found[name] = as_values(numbers(arrays[self._sources[name].cache_key], self._leaves[name]))
        return found

    def _plain_values(self, names: Sequence[str], start: int, stop: int, threads: int) -> dict[str, Values]:
        """Values of those of ``names`` that can be read without uproot."""
        branches = {name: branch for name in names if (branch := self._plain_branch(name)) is not None}
        places = [place for branch in branches.values() for place in branch.places(start, stop)]
        stored = StoredBytes(self._tree.file.source, places, merge=self._local)
        compressed = sum(last - first for first, last in places)
        worthwhile = compressed > _BYTES_FOR_THREADS * max(len(places), len(branches))
        done: dict[str, Values | None]
        if threads > 1 and worthwhile:
            with _executor(threads) as executor:
                tasks = {name: executor.submit(branch.read, stored, start, stop) for name, branch in branches.items()}
                done = {name: task.result() for name, task in tasks.items()}
        else:
            done = {name: branch.read(stored, start, stop) for name, branch in branches.items()}
        return {name: values for name, values in done.items() if values is not None}

    def _plain_branch(self, name: str) -> PlainBranch | None:
        if name not in self._plain:
            self._plain[name] = PlainBranch.of(self._sources[name]) if self._leaves[name].simple else None
        return self._plain[name]

    @property
    def texts(self) -> frozenset[str]:
        """Branches with a string an event."""
        return frozenset(self._texts)

    def strings(self, name: str, start: int, stop: int) -> Strings:
        """The strings of a branch of ``texts``."""
        found: Strings = self._texts[name].array(entry_start=start, entry_stop=stop, library="np", array_cache=None)
        return found

    def boundaries(self, names: Sequence[str]) -> list[int]:
        """Entries at which the baskets of all ``names`` end."""
        common = set(self._entry_offsets(names[0]))
        for name in names[1:]:
            common.intersection_update(self._entry_offsets(name))
        return sorted(int(offset) for offset in common)

    def _entry_offsets(self, name: str) -> Sequence[int]:
        plain = self._plain_branch(name)
        return self._sources[name].entry_offsets if plain is None else plain.entry_offsets

    def bytes_per_entry(self, names: Sequence[str]) -> float:
        """Uncompressed size of an event, averaged over the tree."""
        sources = {id(self._sources[name]): self._sources[name] for name in names}
        for key in sources.keys() - self._sizes.keys():
            self._sizes[key] = int(sources[key].uncompressed_bytes)
        return sum(self._sizes[key] for key in sources) / max(1, self.entries)


@contextmanager
def _executor(threads: int) -> Iterator[Any]:
    """Runs tasks on so many threads, or at once where it is one."""
    import uproot

    executor = uproot.ThreadPoolExecutor(threads) if threads > 1 else uproot.source.futures.TrivialExecutor()
    try:
        yield executor
    finally:
        executor.shutdown()


def _arrays(tree: Any, sources: dict[str, Any], start: int, stop: int, executor: Any) -> dict[str, Any]:
    """Key of each branch → its awkward array, all read in one request.

    ``tree.arrays`` takes names as expressions in Python, so that each name with a dot in it is looked for in the
    names of all branches: a minute for each block of a PHYSLITE file. This is what it does after that.
    """
    from uproot.behaviors.TBranch import _ranges_or_baskets_to_arrays
    from uproot.interpretation.library import Awkward
    from uproot.source.futures import TrivialExecutor

    wanted = [
        (source, number, place)
        for source in sources.values()
        for number, place in source.entries_to_ranges_or_baskets(start, stop)
    ]
    interpretations = {key: source.interpretation for key, source in sources.items()}
    arrays: dict[str, Any] = {}
    _ranges_or_baskets_to_arrays(
        tree, wanted, interpretations, start, stop, executor, TrivialExecutor(), Awkward(), arrays, False,
        {"ak_add_doc": False},
    )  # fmt: skip
    return arrays


def _parts(name: str, source: Any) -> Iterator[Leaf | Unusable]:
    """What a branch holds: one list of numbers or number an event, or several where it holds objects."""
    from uproot.interpretation.identify import UnknownInterpretation
    from uproot.interpretation.jagged import AsJagged
    from uproot.interpretation.numerical import Numerical
    from uproot.interpretation.objects import CannotBeAwkward
    from uproot.interpretation.strings import AsStrings

    if source.name.rsplit(".", 1)[-1] in _BOOKKEEPING:
        yield Unusable(name, "it is bookkeeping of ROOT")
        return
    if not source.num_baskets and source.tree.num_entries:
        yield Unusable(name, "it has no events")
        return
    interpretation = source.interpretation
    if isinstance(interpretation, UnknownInterpretation):
        yield Unusable(name, f"its type {source.typename} is not a number or a list of numbers")
        return
    jagged = isinstance(interpretation, AsJagged)
    content = interpretation.content if jagged else interpretation
    if isinstance(interpretation, AsStrings):
        yield Unusable(name, "it holds strings", text=True)
        return
    if isinstance(content, Numerical):
        dtype = np.dtype(content.to_dtype if hasattr(content, "to_dtype") else content.numpy_dtype)
        if not dtype.shape and dtype.kind in "biuf":
            # Known without asking for the form, which takes a while where there are thousands of branches.
            yield Leaf(Branch(name, "jagged" if jagged else "flat", dtype.newbyteorder("=").name))
            return
    try:
        form = interpretation.awkward_form(source.file)
    except (
        CannotBeAwkward, UnknownInterpretation, NotImplementedError, AttributeError, TypeError, ValueError, LookupError,
        AssertionError,
    ):  # fmt: skip
        yield Unusable(name, f"its type {interpretation} is not a number or a list of numbers")
        return
    yield from leaves(name, form)
