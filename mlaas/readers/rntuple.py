"""The fields of an RNTuple."""

import re
from collections.abc import Sequence
from typing import Any

from mlaas.readers.arrays import Values, as_values
from mlaas.readers.base import Branch
from mlaas.readers.forms import Leaf, Unusable, leaves, numbers

# uproot's names for collections that have none of their own; their parts have names at the top level.
_ANONYMOUS = re.compile(r"_collection\d+")
# Jagged fields count as this many numbers an event where a size has to be guessed.
_TYPICAL_OBJECTS = 8


class RNTupleTable:
    """Reads the numbers of an RNTuple; the parts of records and collections are named ``muon.pt``.

    Args:
        table: The RNTuple, as uproot opened it.
    """

    def __init__(self, table: Any) -> None:
        self._table = table
        self.entries = int(table.num_entries)
        self.branches: dict[str, Branch] = {}
        self.skipped: dict[str, str] = {}
        self._leaves: dict[str, Leaf] = {}
        form = table.to_akform()[0]
        for field, content in zip(form.fields, form.contents, strict=True):
            if _ANONYMOUS.fullmatch(field):
                continue
            for found in leaves(field, content):
                if isinstance(found, Unusable):
                    self.skipped[found.name] = found.reason
                    continue
                name = found.branch.name
                self.branches[name] = found.branch
                # The array that is read has the field of the column too.
                self._leaves[name] = found._replace(fields=(field, *found.fields), simple=False)

    def values(self, names: Sequence[str], start: int, stop: int, threads: int) -> dict[str, Values]:
        """Values of ``names``; RNTuple pages are decompressed by the calling thread."""
        wanted = set(names)
        arrays = self._table.arrays(
            filter_name=lambda path: path in wanted, entry_start=start, entry_stop=stop, array_cache=None
        )
        return {name: as_values(numbers(arrays, self._leaves[name])) for name in names}

    def boundaries(self, names: Sequence[str]) -> list[int]:
        """Entries at which the clusters end."""
        clusters = self._table.cluster_summaries
        return [int(cluster.num_first_entry + cluster.num_entries) for cluster in clusters]

    def bytes_per_entry(self, names: Sequence[str]) -> float:
        """Guessed size of an event; the file does not tell it without reading all page lists."""
        import numpy as np

        sizes = {"flat": 1, "jagged": _TYPICAL_OBJECTS}
        branches = [self.branches[name] for name in names]
        return sum(np.dtype(branch.dtype).itemsize * sizes[branch.kind] for branch in branches)
