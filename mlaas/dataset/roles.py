"""Branches that are no features: they hold labels, weights or event numbers."""

from collections.abc import Sequence

import numpy as np

from mlaas.errors import DataError, suggestion
from mlaas.readers.base import Reader
from mlaas.selection import Selection


def check_role(readers: Sequence[Reader], selection: Selection, name: str, what: str, integer: bool = False) -> None:
    """Check that every file has the flat branch ``name``, or that ``selection`` defines it.

    Args:
        what: What it is needed for, ``the weight``.
        integer: Whether its numbers have to be integers.

    Raises:
        DataError: It is not there, is jagged, or holds other numbers.
    """
    for new in selection.new_branches:
        if new.name == name:
            if integer or selection.kinds(readers[0].branches)[name] != "flat":
                raise DataError(f"{new.where}: cannot be {what}; expected a flat branch{' of the file' * integer}")
            return
    for reader in readers:
        if name in reader.skipped:
            raise DataError(f"{reader.path}: branch {name} cannot be {what}: {reader.skipped[name]}")
        if name not in reader.branches:
            raise DataError(f"{reader.path}: no branch {name} for {what}{suggestion(name, reader.branches)}")
        branch = reader.branches[name]
        if branch.kind != "flat":
            raise DataError(f"{reader.path}: branch {name} is jagged; {what} is one number an event")
        if integer and np.dtype(branch.dtype).kind not in "iu":
            raise DataError(f"{reader.path}: branch {name} is {branch.dtype}; {what} is an integer")
