"""The fields of an RNTuple."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from mlaas.readers.base import Branch, Events

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
        form = table.to_akform()[0]
        for name, content in zip(form.fields, form.contents, strict=True):
            if _ANONYMOUS.fullmatch(name):
                continue
            for path, kind, dtype, reason in _leaves(name, content, 0):
                if kind is None:
                    self.skipped[path] = reason
                else:
                    self.branches[path] = Branch(path, kind, dtype)

    def read(self, names: Sequence[str], start: int, stop: int, threads: int) -> Events:
        """Arrays of ``names``; RNTuple pages are decompressed by the calling thread."""
        import awkward as ak

        wanted = set(names)
        arrays = self._table.arrays(
            filter_name=lambda path: path in wanted, entry_start=start, entry_stop=stop, array_cache=None
        )
        events: Events = {}
        for name in names:
            array = arrays[name] if name in arrays.fields else arrays[tuple(name.split("."))]
            events[name] = ak.from_regular(array, axis=1) if self.branches[name].kind == "jagged" else array
        return events

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


def _leaves(path: str, form: Any, depth: int) -> Iterator[tuple[str, Any, str, str]]:
    """Path, kind, dtype and, where the kind is None, the reason why it cannot be a feature."""
    import awkward as ak

    if form.parameter("__array__") in ("string", "bytestring"):
        yield path, None, "", "it holds strings"
    elif isinstance(form, ak.forms.RecordForm):
        for name, content in zip(form.fields, form.contents, strict=True):
            yield from _leaves(f"{path}.{name}", content, depth)
    elif isinstance(form, ak.forms.NumpyForm):
        depth += len(form.inner_shape)
        if depth > 1:
            yield path, None, "", "it is nested more than once"
        else:
            yield path, ("jagged" if depth else "flat"), form.primitive, ""
    elif isinstance(form, ak.forms.ListOffsetForm | ak.forms.RegularForm):
        yield from _leaves(path, form.content, depth + 1)
    else:
        yield path, None, "", "its values can be missing or of several types"
