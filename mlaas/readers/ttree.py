"""The branches of a TTree."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlaas.readers.base import Branch, Events


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
        self._paths: dict[str, str] = {}
        self._sources: dict[str, Any] = {}
        for path, source in table.iteritems(recursive=True, full_paths=True):
            if len(source.branches):
                continue
            name = path if source.name in self._paths else source.name
            found = _inspect(source)
            if found[0] is None:
                self.skipped[name] = found[1]
            else:
                self.branches[name] = Branch(name, *found)
            self._paths[name] = path
            self._sources[name] = source

    def read(self, names: Sequence[str], start: int, stop: int, threads: int) -> Events:
        """Arrays of ``names``, decompressed by ``threads`` threads that end with the call."""
        import uproot

        wanted = {id(self._sources[name]) for name in names}
        executor = uproot.ThreadPoolExecutor(threads) if threads > 1 else uproot.source.futures.TrivialExecutor()
        try:
            arrays = self._tree.arrays(
                filter_branch=lambda branch: id(branch) in wanted, entry_start=start, entry_stop=stop,
                how=dict, array_cache=None, decompression_executor=executor,
            )  # fmt: skip
        finally:
            executor.shutdown()
        return {name: _one_level(arrays[self._paths[name]], self.branches[name]) for name in names}

    def boundaries(self, names: Sequence[str]) -> list[int]:
        """Entries at which the baskets of all ``names`` end."""
        common = set(self._sources[names[0]].entry_offsets)
        for name in names[1:]:
            common.intersection_update(self._sources[name].entry_offsets)
        return sorted(int(offset) for offset in common)

    def bytes_per_entry(self, names: Sequence[str]) -> float:
        """Uncompressed size of an event, averaged over the tree."""
        total = sum(int(self._sources[name].uncompressed_bytes) for name in names)
        return total / max(1, self.entries)


def _inspect(source: Any) -> "tuple[Any, str]":
    """Kind and dtype of a branch; None and the reason for one that cannot be a feature."""
    from uproot.interpretation.jagged import AsJagged
    from uproot.interpretation.numerical import Numerical
    from uproot.interpretation.strings import AsStrings

    interpretation = source.interpretation
    if isinstance(interpretation, AsStrings):
        return None, "it holds strings"
    jagged = isinstance(interpretation, AsJagged)
    content = interpretation.content if jagged else interpretation
    if not isinstance(content, Numerical):
        return None, f"its type {source.typename} is not a number or a list of numbers"
    dtype = np.dtype(content.to_dtype if hasattr(content, "to_dtype") else content.numpy_dtype)
    number, shape = dtype.subdtype or (dtype, ())
    if number.kind not in "biuf":
        return None, f"its type {source.typename} is not a number or a list of numbers"
    if len(shape) + jagged > 1:
        return None, f"its type {source.typename} is nested more than once"
    return ("jagged" if jagged or shape else "flat"), number.newbyteorder("=").name


def _one_level(array: Any, branch: Branch) -> Any:
    """``array`` with every jagged branch of variable length."""
    import awkward as ak

    return ak.from_regular(array, axis=1) if branch.kind == "jagged" else array
