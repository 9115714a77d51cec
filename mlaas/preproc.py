"""What ``preproc.json`` and ``preproc.yaml`` say, section by section."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from mlaas.errors import SelectionError, suggestion
from mlaas.expressions import Expression
from mlaas.readers.base import Kind

Quantifier = Literal["any", "all"]
_CUT = re.compile(r"cut(_\d+)?")
SECTIONS = ("new_branch", "flat_cut", "jagged_cut", "define", "cuts", "remove")


@dataclass(frozen=True)
class NewBranch:
    """A branch that is computed from others.

    Attributes:
        where: Its place in the file, ``new_branch.log_partonE``.
        kind: Declared kind, which the result must have; None where it follows from the definition.
    """

    where: str
    name: str
    definition: Expression
    kind: Kind | None


@dataclass(frozen=True)
class Cut:
    """What an event has to satisfy; ``quantifier`` is None for a flat cut.

    Attributes:
        where: Its place in the file, ``flat_cut.nLeptons.cut``.
        name: What people call it; empty where it has no name.
    """

    where: str
    condition: Expression
    quantifier: Quantifier | None = None
    name: str = ""

    @property
    def label(self) -> str:
        """Its name, else its text with its quantifier."""
        if self.name:
            return self.name
        return f"{self.condition.text} ({self.quantifier})" if self.quantifier else self.condition.text


class Parser:
    """Collects what the sections of the file say."""

    def __init__(self) -> None:
        self.new_branches: list[NewBranch] = []
        self.cuts: list[Cut] = []
        self.removed: set[str] = set()

    def new_branch(self, name: str, entry: Any) -> None:
        where = f"new_branch.{name}"
        entry = mapping(where, entry, ("def", "type", "remove", "keys_to_remove"), cuts=True)
        if "def" not in entry:
            raise SelectionError(f"{where}: 'def' is missing, the expression that defines the branch")
        kind = entry.get("type")
        if kind not in ("flat", "jagged"):
            raise SelectionError(f"{where}.type: {kind!r} is given; expected 'flat' or 'jagged'")
        definition = _expression(f"{where}.def", entry["def"])
        self.new_branches.append(NewBranch(where, name, definition, kind))
        self._cuts(where, entry, kind)
        self._remove(where, name, entry)
        self.removed.update(names(f"{where}.keys_to_remove", entry.get("keys_to_remove", [])))

    def define(self, name: str, text: Any) -> None:
        where = f"define.{name}"
        if any(new.name == name for new in self.new_branches):
            raise SelectionError(f"{where}: new_branch has a branch {name} too")
        self.new_branches.append(NewBranch(where, name, _expression(where, text), None))

    def cut(self, where: str, entry: Any) -> None:
        name, text = "", entry
        if isinstance(entry, dict):
            if len(entry) != 1:
                raise SelectionError(f"{where}: {entry!r} is given; expected a cut, or a name with a cut")
            name, text = next(iter(entry.items()))
        self.cuts.append(Cut(where, _expression(where, text), name=str(name)))

    def cut_section(self, kind: str, name: str, entry: Any) -> None:
        where = f"{kind}_cut.{name}"
        entry = mapping(where, entry, ("remove",), cuts=True)
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


def mapping(where: str, value: Any, known: Iterable[str] = (), cuts: bool = False) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SelectionError(f"{where}: {value!r} is given; expected an object {{…}}")
    known = list(known)
    for key in value if known else ():
        if key not in known and not (cuts and _CUT.fullmatch(key)):
            expected = [*known, "cut", "cut_1"] if cuts else known
            close = suggestion(key, expected)
            raise SelectionError(f"{where}: unknown key {key!r}{close}; expected {', '.join(expected)}")
    return value


def entries(where: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise SelectionError(f"{where}: {value!r} is given; expected a list")
    return value


def names(where: str, value: Any) -> list[str]:
    if not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
        raise SelectionError(f"{where}: {value!r} is given; expected a list of branch names")
    return value


def read_json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise SelectionError(f"not JSON: {error}") from error


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
