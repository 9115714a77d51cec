"""Leaving out the files that cannot be used, where that is asked for."""

from collections.abc import Sequence
from typing import TypeVar

from mlaas.dataset.params import DatasetParams
from mlaas.dataset.sources import as_number, check_label_branch, check_new
from mlaas.errors import DataError
from mlaas.features import common_branches
from mlaas.readers import Reader, open_reader
from mlaas.selection import Selection

# Bytes of uncompressed branches that are read at a time.
BLOCK_BYTES = 16 << 20

Label = TypeVar("Label", bound=str | float)


def leave_out_bad_files(
    files: Sequence[str],
    labels: Sequence[Label],
    params: DatasetParams | None = None,
    tree: str | None = None,
    dtype: str | None = None,
    selection: Selection | None = None,
) -> tuple[list[str], list[Label], dict[str, str]]:
    """Read every file once, and keep those that can be used together.

    A file is left out if it is missing, out of reach or damaged in a branch that is used, if it has no events, holds
    the same data as one before, or if its branches are not those of the first file that is kept.

    Args:
        files, labels, tree, dtype: See :func:`mlaas.dataset.sources.open_sources`.
        params: Which branches are used, as features or otherwise.
        selection: New branches and cuts.

    Returns:
        The files that are kept, their labels, and path → what is wrong, of the others.

    Raises:
        DataError: No file can be used.
        ParameterError, SelectionError: A name or pattern fits no branch.
    """
    selection, params = selection or Selection(), params or DatasetParams()
    per_file = len(labels) == len(files) and len(files) > 1
    label_branch = str(labels[0]) if len(labels) == 1 and as_number(labels[0]) is None else None
    roles = [name for name in (label_branch, params.weight_branch, params.event_number) if name is not None]
    kept: list[Reader] = []
    bad: dict[str, str] = {}
    try:
        for path in files:
            try:
                reader = open_reader(path, tree, dtype)
            except DataError as error:
                bad[path] = str(error)
                continue
            kept.append(reader)
            try:
                check_new(kept)
                if label_branch:
                    check_label_branch(reader, label_branch)
                _read_through(kept[0], reader, selection, roles, params)
            except DataError as error:
                bad[path] = str(error)
                kept.remove(reader)
                reader.close()
    finally:
        for reader in kept:
            reader.close()
    if not kept:
        raise DataError(
            f"none of {len(files)} files can be used; the first: {next(iter(bad.values()), 'none is given')}"
        )
    names = [reader.path for reader in kept]
    if not per_file:
        return names, list(labels), bad
    by_path = dict(zip(reversed(files), reversed(labels), strict=True))
    return names, [by_path[name] for name in names], bad


def _read_through(
    first: Reader,
    reader: Reader,
    selection: Selection,
    roles: Sequence[str],
    params: DatasetParams,
) -> None:
    """Read all branches that a training needs.

    Raises:
        DataError: One is damaged, missing, or other than in the ``first`` file.
    """
    chosen, _ = common_branches([first, reader], selection, roles, params.selected, params.excluded)
    needed = dict.fromkeys([*chosen, *selection.required(reader.branches), *roles])
    names = [name for name in needed if name in reader.branches]
    for start, stop in reader.blocks(names, reader.entries, BLOCK_BYTES):
        reader.values(names, start, stop)
