"""New branches and cuts, as ``preproc.json`` describes them."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from mlaas.errors import SelectionError, suggestion
from mlaas.expressions import Expression
from mlaas.readers.arrays import is_jagged, leaf_dtype
from mlaas.readers.base import Branch, Events, Kind

Quantifier = Literal["any", "all"]
_CUT = re.compile(r"cut(_\d+)?")
_SECTIONS = ("new_branch", "flat_cut", "jagged_cut")


@dataclass(frozen=True)
class NewBranch:
    """A branch that is computed from others.

    Attributes:
        where: Its place in the file, ``new_branch.log_partonE``.
        kind: Declared kind, which the result must have.
    """

    where: str
    name: str
    definition: Expression
    kind: Kind


@dataclass(frozen=True)
class Cut:
    """What an event has to satisfy; ``quantifier`` is None for a flat cut.

    Attributes:
        where: Its place in the file, ``flat_cut.nLeptons.cut``.
    """

    where: str
    condition: Expression
    quantifier: Quantifier | None

    @property
    def label(self) -> str:
        """The text of the cut, with its quantifier."""
        return f"{self.condition.text} ({self.quantifier})" if self.quantifier else self.condition.text


class Selected(NamedTuple):
    """Events with the new branches, whether each one is kept, and how many were left after each cut."""

    events: Events
    kept: NDArray[np.bool_]
    left: list[int]


@dataclass(frozen=True)
class Selection:
    """New branches and cuts, in the order of the file: all new branches first, then all cuts.

    Attributes:
        removed: Branches that are not features; expressions may use them.
        digest: Equal for selections that do the same.
        content: What the file says.
    """

    new_branches: tuple[NewBranch, ...] = ()
    cuts: tuple[Cut, ...] = ()
    removed: frozenset[str] = frozenset()
    digest: str = ""
    content: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @classmethod
    def from_file(cls, path: str | Path | None) -> Self:
        """Read ``preproc.json``; None selects every event.

        Raises:
            SelectionError: The file cannot be read, or names the place in it that is wrong.
        """
        if path is None:
            return cls()
        try:
            text = Path(path).read_text("utf-8")
            return cls.from_dict(json.loads(text, object_pairs_hook=_without_duplicates))
        except OSError as error:
            raise SelectionError(f"{path}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise SelectionError(f"{path}: not JSON: {error}") from error
        except SelectionError as error:
            raise SelectionError(f"{path}: {error}") from error

    @classmethod
    def from_dict(cls, content: Any) -> Self:
        """Check the content of a ``preproc.json``.

        Raises:
            SelectionError: Names the place that is wrong, such as ``flat_cut.nLeptons.cut``.
        """
        sections = _mapping("preproc", content, _SECTIONS)
        parser = _Parser()
        for name, entry in _mapping("new_branch", sections.get("new_branch", {})).items():
            parser.new_branch(name, entry)
        for kind in ("flat", "jagged"):
            for name, entry in _mapping(f"{kind}_cut", sections.get(f"{kind}_cut", {})).items():
                parser.cut_section(kind, name, entry)
        if not parser.cuts and not parser.new_branches and not parser.removed:
            return cls()
        meaning = [
            [[new.name, new.kind, new.definition.text] for new in parser.new_branches],
            [cut.label for cut in parser.cuts],
            sorted(parser.removed),
        ]
        digest = hashlib.sha256(json.dumps(meaning).encode()).hexdigest()
        return cls(tuple(parser.new_branches), tuple(parser.cuts), frozenset(parser.removed), digest, content)

    def branches(self, branches: Mapping[str, Branch]) -> dict[str, Branch]:
        """``branches`` and the new ones, without the removed ones: what can be a feature.

        Raises:
            SelectionError: A new branch has the name of one in the file, or a removed one is not there.
        """
        everything = dict(branches)
        for new in self.new_branches:
            if new.name in branches:
                raise SelectionError(f"{new.where}: the file already has a branch {new.name}")
            everything[new.name] = Branch(new.name, new.kind, "float64")
        for name in sorted(self.removed):
            if name not in everything:
                raise SelectionError(f"preproc: no branch {name} to remove or to cut on{suggestion(name, everything)}")
        return {name: branch for name, branch in everything.items() if name not in self.removed}

    def required(self, branches: Mapping[str, Branch]) -> list[str]:
        """Branches of the file that the new branches and cuts use, in the order of ``branches``.

        Raises:
            SelectionError: An expression uses a branch that is neither in the file nor defined before.
        """
        known = set(branches)
        used: set[str] = set()
        for new in self.new_branches:
            _check_names(new.where, new.definition, known)
            used.update(new.definition.names)
            known.add(new.name)
        for cut in self.cuts:
            _check_names(cut.where, cut.condition, known)
            used.update(cut.condition.names)
        return [name for name in branches if name in used]

    def apply(self, events: Events, entries: int) -> Selected:
        """Compute the new branches and the cuts for all ``events``.

        Args:
            events: Branch name → awkward array, with at least the ``required`` branches.
            entries: How many events these are.

        Returns:
            The events, none left out, with the new branches; bool (n,) for those that are kept; for each
            cut the number of events left after it and all before it.

        Raises:
            SelectionError: A result is not of the declared kind, or a cut is not a comparison.
        """
        events = dict(events)
        for new in self.new_branches:
            events[new.name] = _define(new, events)
        kept = np.ones(entries, dtype=np.bool_)
        left = []
        for cut in self.cuts:
            kept &= _passing(cut, events)
            left.append(int(np.count_nonzero(kept)))
        return Selected(events, kept, left)

    def labels(self) -> list[str]:
        """A label for each cut, different from all others."""
        texts = [cut.label for cut in self.cuts]
        return [
            text if texts.count(text) == 1 else f"{text} [{cut.where}]"
            for text, cut in zip(texts, self.cuts, strict=True)
        ]


class _Parser:
    """Collects what the sections of the file say."""

    def __init__(self) -> None:
        self.new_branches: list[NewBranch] = []
        self.cuts: list[Cut] = []
        self.removed: set[str] = set()

    def new_branch(self, name: str, entry: Any) -> None:
        where = f"new_branch.{name}"
        entry = _mapping(where, entry, ("def", "type", "remove", "keys_to_remove"), cuts=True)
        if "def" not in entry:
            raise SelectionError(f"{where}: 'def' is missing, the expression that defines the branch")
        kind = entry.get("type")
        if kind not in ("flat", "jagged"):
            raise SelectionError(f"{where}.type: {kind!r} is given; expected 'flat' or 'jagged'")
        definition = _expression(f"{where}.def", entry["def"])
        self.new_branches.append(NewBranch(where, name, definition, kind))
        self._cuts(where, entry, kind)
        self._remove(where, name, entry)
        names = entry.get("keys_to_remove", [])
        if not (isinstance(names, list) and all(isinstance(one, str) for one in names)):
            raise SelectionError(f"{where}.keys_to_remove: {names!r} is given; expected a list of branch names")
        self.removed.update(names)

    def cut_section(self, kind: str, name: str, entry: Any) -> None:
        where = f"{kind}_cut.{name}"
        entry = _mapping(where, entry, ("remove",), cuts=True)
        if not any(_CUT.fullmatch(key) for key in entry):
            raise SelectionError(f"{where}: 'cut' is missing")
        self._cuts(where, entry, kind)
        self._remove(where, name, entry)

    def _cuts(self, where: str, entry: dict[str, Any], kind: str) -> None:
        for key, value in entry.items():
            if not _CUT.fullmatch(key):
                continue
            place = f"{where}.{key}"
            if kind == "flat":
                self.cuts.append(Cut(place, _expression(place, value), None))
                continue
            if not (isinstance(value, list) and len(value) == 2 and value[1] in ("any", "all")):
                raise SelectionError(f"{place}: {value!r} is given; expected [expression, 'any' or 'all']")
            self.cuts.append(Cut(place, _expression(place, value[0]), value[1]))

    def _remove(self, where: str, name: str, entry: dict[str, Any]) -> None:
        value = entry.get("remove", False)
        truth = {"true": True, "false": False}.get(str(value).lower())
        if truth is None:
            raise SelectionError(f"{where}.remove: {value!r} is given; expected 'True' or 'False'")
        if truth:
            self.removed.add(name)


def _mapping(where: str, value: Any, known: Iterable[str] = (), cuts: bool = False) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SelectionError(f"{where}: {value!r} is given; expected an object {{…}}")
    known = list(known)
    for key in value if known else ():
        if key not in known and not (cuts and _CUT.fullmatch(key)):
            expected = [*known, "cut", "cut_1"] if cuts else known
            close = suggestion(key, expected)
            raise SelectionError(f"{where}: unknown key {key!r}{close}; expected {', '.join(expected)}")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise SelectionError(f"the key {key!r} is there twice in one object")
        content[key] = value
    return content


def _expression(where: str, text: Any) -> Expression:
    if not isinstance(text, str):
        raise SelectionError(f"{where}: {text!r} is given; expected an expression in quotes")
    try:
        return Expression.parse(text)
    except SelectionError as error:
        raise SelectionError(f"{where}: {error}") from error


def _check_names(where: str, expression: Expression, known: set[str]) -> None:
    for name in expression.names:
        if name not in known:
            close = suggestion(name, known)
            raise SelectionError(f"{where}: no branch {name}, used by '{expression.text}'{close}")


def _evaluate(where: str, expression: Expression, events: Events) -> Any:
    try:
        return expression.evaluate(events)
    except SelectionError as error:
        raise SelectionError(f"{where}: {error}") from error


def _define(new: NewBranch, events: Events) -> Any:
    value = _evaluate(new.where, new.definition, events)
    kind = "jagged" if is_jagged(value) else "flat"
    if kind != new.kind:
        raise SelectionError(f"{new.where}.type: '{new.kind}' is declared, but '{new.definition.text}' is {kind}")
    return value


def _passing(cut: Cut, events: Events) -> NDArray[np.bool_]:
    """bool (n,): the events that pass ``cut``; one without objects passes ``all``, not ``any``."""
    import awkward as ak

    value = _evaluate(cut.where, cut.condition, events)
    if leaf_dtype(value).kind != "b":
        raise SelectionError(f"{cut.where}: '{cut.condition.text}' is not a comparison")
    if is_jagged(value) != (cut.quantifier is not None):
        is_a = "jagged: expected [expression, 'any' or 'all'] in a jagged cut" if is_jagged(value) else "flat"
        raise SelectionError(f"{cut.where}: '{cut.condition.text}' is {is_a}")
    if cut.quantifier is not None:
        value = ak.any(value, axis=1) if cut.quantifier == "any" else ak.all(value, axis=1)
    passing: NDArray[np.bool_] = ak.to_numpy(value)
    return passing
