"""Which branches the model sees, and the columns they take."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from mlaas.errors import DataError, ParameterError, listing, suggestion
from mlaas.readers.base import Branch, Kind, Reader
from mlaas.selection import Selection


@dataclass(frozen=True)
class Feature:
    """A branch as an input of the model.

    Attributes:
        name: Name of the branch.
        kind: ``flat`` takes one column, ``jagged`` takes ``dimension`` columns.
        dimension: Objects kept of an event; 1 for flat.
        categories: The strings that stand behind 0, 1, 2, …; empty for numbers.
    """

    name: str
    kind: Kind
    dimension: int = 1
    categories: tuple[str, ...] = ()


def columns(features: Iterable[Feature]) -> list[str]:
    """Names of the columns in order: ``met``, ``Jet_pt[0]``, ``Jet_pt[1]``."""
    names: list[str] = []
    for feature in features:
        if feature.kind == "flat":
            names.append(feature.name)
        else:
            names.extend(f"{feature.name}[{position}]" for position in range(feature.dimension))
    return names


def width(features: Iterable[Feature]) -> int:
    """Number of columns."""
    return sum(feature.dimension for feature in features)


def choose(
    branches: Mapping[str, Branch],
    selected: Sequence[str],
    excluded: Sequence[str],
    skipped: Mapping[str, str],
) -> list[str]:
    """Names out of ``branches`` that become features, in the order of ``branches``.

    Args:
        branches: Those that can be features.
        selected: Names and glob patterns such as ``Jet_*``; empty means all.
        excluded: Names and glob patterns to leave out.
        skipped: Branches that cannot be features → why.

    Raises:
        ParameterError: A name or pattern matches nothing, or nothing is left.
    """
    wanted = set(branches)
    if selected:
        wanted = set()
        for pattern in selected:
            if pattern in skipped:
                raise ParameterError(f"branch {pattern} cannot be a feature: {skipped[pattern]}")
            wanted |= _matching(pattern, branches, "selected_branches", branches)
    known = {**branches, **dict.fromkeys(skipped)}
    for pattern in excluded:
        wanted -= _matching(pattern, known, "exclude_branches", branches)
    if not wanted:
        raise ParameterError("no branch is left as a feature; expected at least one")
    return [name for name in branches if name in wanted]


def common_branches(
    readers: Sequence[Reader],
    selection: Selection,
    roles: Sequence[str],
    selected: Sequence[str],
    excluded: Sequence[str],
) -> tuple[dict[str, Branch], dict[str, str]]:
    """Branches that become features, new ones included, and those that cannot be features → why.

    Args:
        readers: The files; every one needs all branches that are used, with the same kind.
        roles: Branches that are never features, such as that of the label.
        selected, excluded: See :func:`choose`; new branches need not be selected.

    Raises:
        DataError: A file lacks a branch, or has it as another kind.
        ParameterError, SelectionError: A name or pattern fits no branch.
    """
    raw: dict[str, Branch] = {}
    skipped: dict[str, str] = {}
    for reader in readers:
        raw |= {name: branch for name, branch in reader.branches.items() if name not in raw}
        skipped |= reader.skipped
    required = selection.required(raw)
    candidates = selection.branches(raw)
    candidates = {name: branch for name, branch in candidates.items() if name not in roles}
    for name in selected:
        if name in roles:
            raise ParameterError(
                f"selected_branches: {name} holds the label, the weight or the event number; leave it out"
            )
    excluded = [pattern for pattern in excluded if pattern not in roles]
    unusable = {name: why for name, why in skipped.items() if name not in raw}
    if selected:
        fresh = [new.name for new in selection.new_branches if new.name in candidates]
        selected = [*selected, *fresh]
    chosen = choose(candidates, selected, excluded, unusable)
    for reader in readers:
        needed = [name for name in dict.fromkeys([*chosen, *required]) if name in raw]
        absent = [name for name in needed if name not in reader.branches and name not in reader.skipped]
        if absent:
            what = "branch" if len(absent) == 1 else f"{len(absent)} branches:"
            raise DataError(
                f"{reader.path}: no {what} {listing(absent, 10)}, which another file has; expected the same"
                " branches in every file, or those in exclude_branches"
            )
        for name in needed:
            _check_branch(reader, raw[name])
    return {name: candidates[name] for name in chosen}, unusable


def _check_branch(reader: Reader, expected: Branch) -> None:
    name = expected.name
    if name in reader.skipped:
        raise DataError(f"{reader.path}: branch {name} cannot be used: {reader.skipped[name]}")
    kind = reader.branches[name].kind
    if kind != expected.kind:
        raise DataError(f"{reader.path}: branch {name} is {kind}, but {expected.kind} in another file")


def _matching(pattern: str, names: Iterable[str], parameter: str, branches: Mapping[str, Branch]) -> set[str]:
    known = set(names)
    if pattern in known:
        return {pattern}
    found = {name for name in known if fnmatchcase(name, pattern)}
    if not found:
        raise ParameterError(f"{parameter}: no branch matches {pattern!r}{suggestion(pattern, branches)}")
    return found
