"""Branches that tell events apart, which are kept exactly."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mlaas.errors import DataError, suggestion
from mlaas.readers.arrays import flat_values
from mlaas.readers.base import Branch, Events, Reader

# What experiments call run, luminosity block and event number, in lower case.
USUAL = (
    ("run", "runnumber", "run_number", "runno", "runnum"),
    ("luminosityblock", "luminosity_block", "lumi", "lumiblock", "lumi_block", "lumisection", "lumi_section"),
    ("event", "eventnumber", "event_number", "eventno", "eventnum", "evt", "evtnumber", "evtnum"),
)


def usual_identifiers(branches: Mapping[str, Branch]) -> list[str]:
    """The flat integer branches for run, luminosity block and event number, of these those that are there."""
    by_name: dict[str, str] = {}
    for name, branch in branches.items():
        if branch.kind == "flat" and np.dtype(branch.dtype).kind in "iu":
            by_name.setdefault(name.rsplit(".", 1)[-1].lower(), name)
    found = (next((by_name[name] for name in names if name in by_name), None) for names in USUAL)
    return [name for name in found if name is not None]


def check_identifiers(reader: Reader, names: Sequence[str]) -> None:
    """Check that all are flat branches of the file; raises DataError."""
    for name in names:
        if name in reader.skipped:
            raise DataError(f"{reader.path}: branch {name} cannot be kept: {reader.skipped[name]}")
        if name not in reader.branches:
            raise DataError(f"{reader.path}: no branch {name} to keep{suggestion(name, reader.branches)}")
        if reader.branches[name].kind != "flat":
            raise DataError(f"{reader.path}: branch {name} is jagged; expected one number an event to keep")


def exact_values(
    path: str, events: Events, expected: Mapping[str, np.dtype[np.generic]]
) -> dict[str, NDArray[np.generic]]:
    """The identifiers of ``events`` as they are in the file, each in the dtype ``expected``.

    Raises:
        DataError: A number can't be kept as it is, such as one that is missing.
    """
    kept = {}
    for name, dtype in expected.items():
        values = flat_values(events[name])
        if not np.can_cast(values.dtype, dtype):
            raise DataError(
                f"{path}: branch {name} has missing values, or others than {dtype}; expected {dtype} in every event"
            )
        kept[name] = values.astype(dtype, copy=False)
    return kept
