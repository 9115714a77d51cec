"""New branches and cuts, as ``preproc.json`` or ``preproc.yaml`` describes them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from mlaas.errors import SelectionError, suggestion
from mlaas.expressions import Expression
from mlaas.preproc import SECTIONS, Cut, NewBranch, Parser, entries, mapping, names, read_json
from mlaas.readers.arrays import as_awkward, is_jagged, leaf_dtype
from mlaas.readers.base import Branch, Events, Kind
from mlaas.yamlfile import read_yaml


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
    def read(cls, source: str | Path | Mapping[str, Any] | None) -> Self:
        """The selection in a file, or given as the content of one; see :meth:`from_file` and :meth:`from_dict`."""
        return cls.from_dict(source) if isinstance(source, Mapping) else cls.from_file(source)

    @classmethod
    def from_file(cls, path: str | Path | None) -> Self:
        """Read ``preproc.json``, or YAML where the name says so; None selects every event.

        Raises:
            SelectionError: The file cannot be read, or names the place in it that is wrong.
        """
        if path is None:
            return cls()
        try:
            text = Path(path).read_text("utf-8")
            yaml = Path(path).suffix.lower() in (".yaml", ".yml")
            return cls.from_dict(read_yaml(text) if yaml else read_json(text))
        except OSError as error:
            raise SelectionError(f"{path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise SelectionError(f"{path}: not text in UTF-8") from error
        except SelectionError as error:
            raise SelectionError(f"{path}: {error}") from error

    @classmethod
    def from_dict(cls, content: Any) -> Self:
        """Check the content of a ``preproc.json`` or ``preproc.yaml``.

        Raises:
            SelectionError: Names the place that is wrong, such as ``flat_cut.nLeptons.cut``.
        """
        sections = mapping("preproc", content, SECTIONS)
        parser = Parser()
        for name, entry in mapping("new_branch", sections.get("new_branch", {})).items():
            parser.new_branch(name, entry)
        for name, text in mapping("define", sections.get("define", {})).items():
            parser.define(name, text)
        for kind in ("flat", "jagged"):
            for name, entry in mapping(f"{kind}_cut", sections.get(f"{kind}_cut", {})).items():
                parser.cut_section(kind, name, entry)
        for number, entry in enumerate(entries("cuts", sections.get("cuts", [])), 1):
            parser.cut(f"cuts[{number}]", entry)
        parser.removed.update(names("remove", sections.get("remove", [])))
        if not parser.cuts and not parser.new_branches and not parser.removed:
            return cls()
        meaning = [
            [[new.name, new.definition.text] for new in parser.new_branches],
            [[cut.condition.text, cut.quantifier] for cut in parser.cuts],
            sorted(parser.removed),
        ]
        digest = hashlib.sha256(json.dumps(meaning).encode()).hexdigest()
        return cls(tuple(parser.new_branches), tuple(parser.cuts), frozenset(parser.removed), digest, content)

    def kinds(self, branches: Mapping[str, Branch]) -> dict[str, Kind]:
        """Kind of each of ``branches`` and of the new ones, removed ones included."""
        kinds: dict[str, Kind] = {name: branch.kind for name, branch in branches.items()}
        for new in self.new_branches:
            kinds[new.name] = new.kind or new.definition.kind(kinds)
        return kinds

    def branches(self, branches: Mapping[str, Branch]) -> dict[str, Branch]:
        """``branches`` and the new ones, without the removed ones: what can be a feature.

        Raises:
            SelectionError: A new branch has the name of one in the file, or a removed one is not there.
        """
        everything, kinds = dict(branches), self.kinds(branches)
        for new in self.new_branches:
            if new.name in branches:
                raise SelectionError(f"{new.where}: the file already has a branch {new.name}")
            everything[new.name] = Branch(new.name, kinds[new.name], "float64")
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
            events: Branch name → its values, with at least the ``required`` branches.
            entries: How many events these are.

        Returns:
            The events, none left out, with the new branches; bool (n,) for those that are kept; for each
            cut the number of events left after it and all before it.

        Raises:
            SelectionError: A result is not of the declared kind, or a cut is not a comparison.
        """
        used = {name for new in self.new_branches for name in new.definition.names}
        used |= {name for cut in self.cuts for name in cut.condition.names}
        events = {name: as_awkward(values) if name in used else values for name, values in events.items()}
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
    if new.kind not in (kind, None):
        raise SelectionError(f"{new.where}.type: '{new.kind}' is declared, but '{new.definition.text}' is {kind}")
    return value


def _passing(cut: Cut, events: Events) -> NDArray[np.bool_]:
    """bool (n,): the events that pass ``cut``; one without objects passes ``all``, not ``any``."""
    import awkward as ak

    value = _evaluate(cut.where, cut.condition, events)
    if leaf_dtype(value).kind != "b":
        raise SelectionError(f"{cut.where}: '{cut.condition.text}' is not a comparison")
    if is_jagged(value) != (cut.quantifier is not None):
        is_a = (
            "jagged: expected any(…) or all(…) around it, or [expression, 'any' or 'all'] in a jagged cut"
            if is_jagged(value)
            else "flat"
        )
        raise SelectionError(f"{cut.where}: '{cut.condition.text}' is {is_a}")
    if cut.quantifier is not None:
        value = ak.any(value, axis=1) if cut.quantifier == "any" else ak.all(value, axis=1)
    passing: NDArray[np.bool_] = ak.to_numpy(value)
    return passing
