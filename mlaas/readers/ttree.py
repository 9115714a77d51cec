"""The branches of a TTree."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mlaas.readers.base import Branch, Events
from mlaas.readers.forms import Leaf, Unusable, leaves, numbers


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
        taken: set[str] = set()
        self._sources: dict[str, Any] = {}
        for path, source in table.iteritems(recursive=True, full_paths=True):
            if len(source.branches):
                continue
            label = path if source.name in taken else source.name
            taken.add(source.name)
            for found in _parts(label, source):
                if isinstance(found, Unusable):
                    self.skipped[found.name] = found.reason
                    continue
                name = found.branch.name
                self.branches[name] = found.branch
                self._leaves[name] = found
                self._sources[name] = source

    def read(self, names: Sequence[str], start: int, stop: int, threads: int) -> Events:
        """Arrays of ``names``, decompressed by ``threads`` threads that end with the call."""
        import uproot

        executor = uproot.ThreadPoolExecutor(threads) if threads > 1 else uproot.source.futures.TrivialExecutor()
        events: Events = {}
        try:
            for some in self._unambiguous(names):
                wanted = {id(self._sources[name]) for name in some}
                arrays = self._tree.arrays(
                    filter_branch=lambda branch, ids=wanted: id(branch) in ids, entry_start=start, entry_stop=stop,
                    how=dict, array_cache=None, decompression_executor=executor,
                )  # fmt: skip
                events |= {name: numbers(arrays[self._sources[name].name], self._leaves[name]) for name in some}
        finally:
            executor.shutdown()
        return events

    def _unambiguous(self, names: Sequence[str]) -> Iterator[list[str]]:
        """``names`` in groups in which no two branches are called the same, for uproot returns them by that."""
        rest = list(names)
        while rest:
            first: dict[str, Any] = {}
            for name in rest:
                first.setdefault(self._sources[name].name, self._sources[name])
            group = [name for name in rest if first[self._sources[name].name] is self._sources[name]]
            yield group
            rest = [name for name in rest if name not in group] if len(group) < len(rest) else []

    def boundaries(self, names: Sequence[str]) -> list[int]:
        """Entries at which the baskets of all ``names`` end."""
        common = set(self._sources[names[0]].entry_offsets)
        for name in names[1:]:
            common.intersection_update(self._sources[name].entry_offsets)
        return sorted(int(offset) for offset in common)

    def bytes_per_entry(self, names: Sequence[str]) -> float:
        """Uncompressed size of an event, averaged over the tree."""
        sources = {id(self._sources[name]): self._sources[name] for name in names}
        total = sum(int(source.uncompressed_bytes) for source in sources.values())
        return total / max(1, self.entries)


def _parts(name: str, source: Any) -> Iterator[Leaf | Unusable]:
    """What a branch holds: one list of numbers or number an event, or several where it holds objects."""
    from uproot.interpretation.identify import UnknownInterpretation
    from uproot.interpretation.jagged import AsJagged
    from uproot.interpretation.numerical import Numerical
    from uproot.interpretation.objects import CannotBeAwkward
    from uproot.interpretation.strings import AsStrings

    unknown = Unusable(name, f"its type {source.typename} is not a number or a list of numbers")
    interpretation = source.interpretation
    if isinstance(interpretation, UnknownInterpretation):
        yield unknown
        return
    jagged = isinstance(interpretation, AsJagged)
    content = interpretation.content if jagged else interpretation
    if isinstance(interpretation, AsStrings):
        yield Unusable(name, "it holds strings")
        return
    if isinstance(content, Numerical):
        dtype = np.dtype(content.to_dtype if hasattr(content, "to_dtype") else content.numpy_dtype)
        if not dtype.shape and dtype.kind in "biuf":
            # Known without asking for the form, which takes a while where there are thousands of branches.
            yield Leaf(Branch(name, "jagged" if jagged else "flat", dtype.newbyteorder("=").name))
            return
    try:
        form = interpretation.awkward_form(source.file)
    except (CannotBeAwkward, UnknownInterpretation, NotImplementedError, AttributeError, TypeError, ValueError):
        yield unknown
        return
    yield from leaves(name, form)
