"""The numbers inside awkward arrays of any form: records, lists of lists, optional values."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from mlaas.readers.base import Branch, Kind


class Leaf(NamedTuple):
    """Numbers inside a column.

    Attributes:
        branch: As which they are offered.
        fields: The way through records to them.
        simple: Whether they are already one number, or one list of numbers of variable length, an event.
        optional: Whether some can be missing.
    """

    branch: Branch
    fields: tuple[str, ...] = ()
    simple: bool = True
    optional: bool = False


class Unusable(NamedTuple):
    """A part of a column that cannot be a feature.

    Attributes:
        text: Whether it is a string an event, which can be encoded.
    """

    name: str
    reason: str
    text: bool = False


def leaves(
    name: str, form: Any, fields: tuple[str, ...] = (), depth: int = 0, optional: bool = False, simple: bool = True
) -> Iterator[Leaf | Unusable]:
    """All parts of a column of an awkward ``form``; those of records are named ``muon.pt``."""
    import awkward as ak

    if form.parameter("__array__") in ("string", "bytestring", "char", "byte"):
        yield Unusable(name, "it holds strings", text=not (fields or depth))
    elif isinstance(form, ak.forms.RecordForm):
        for field, content in zip(form.fields, form.contents, strict=True):
            # The bookkeeping of ROOT, such as @fUniqueID, is no content.
            if not field.startswith("@"):
                yield from leaves(f"{name}.{field}", content, (*fields, field), depth, optional, False)
    elif isinstance(form, ak.forms.NumpyForm):
        depth += len(form.inner_shape)
        dtype = np.dtype(form.primitive)
        if dtype.kind not in "biuf":
            yield Unusable(name, f"its type {form.primitive} is not a number or a list of numbers")
            return
        kind: Kind = "jagged" if depth else "flat"
        plain = simple and not form.inner_shape and depth < 2 and not optional
        yield Leaf(Branch(name, kind, dtype.name), fields, plain, optional)
    elif isinstance(form, ak.forms.RegularForm):
        yield from leaves(name, form.content, fields, depth + 1, optional, False)
    elif isinstance(form, ak.forms.ListOffsetForm | ak.forms.ListForm):
        yield from leaves(name, form.content, fields, depth + 1, optional, simple)
    elif form.is_option or form.is_indexed:
        yield from leaves(name, form.content, fields, depth, optional or form.is_option, False)
    else:
        yield Unusable(name, "its values are of several types")


def numbers(array: Any, leaf: Leaf) -> Any:
    """Awkward array of ``leaf`` out of the ``array`` of its column.

    Lists of lists become one list of all their numbers; missing numbers become NaN, missing lists empty.
    """
    if leaf.simple:
        return array
    import awkward as ak

    for field in leaf.fields:
        array = array[field]
    if leaf.branch.kind == "jagged":
        array = ak.from_regular(array, axis=None)
        if leaf.optional:
            array = ak.drop_none(array, axis=0) if array.ndim == 1 else ak.fill_none(array, [], axis=0)
        while array.ndim > 2:
            array = ak.flatten(ak.fill_none(array, [], axis=1) if leaf.optional else array, axis=2)
    if leaf.optional:
        array = ak.fill_none(ak.values_astype(array, np.float64), np.nan, axis=-1)
    return ak.to_packed(array)
