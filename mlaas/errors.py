"""What can go wrong in a way the user can mend.

    MlaasError            one line that names the file, branch or field, and what was expected
    ├── DataError         files, trees, branches, labels
    ├── SelectionError    new branches and cuts
    ├── SpecsError        specs that are damaged or belong to other data
    ├── ParameterError    training parameters
    ├── ModelError        the user's model file
    ├── PublishError      handing the trained model over to the registry
    └── ScoringError      a published model that can't be run (`mlaas/scoring/errors.py`)

Anything else that is raised is a fault of the program.
"""

import difflib
import re
from collections.abc import Iterable

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class MlaasError(Exception):
    """The user can mend it; the message is one line."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))

    def _render_traceback_(self) -> list[str]:
        """What IPython and Jupyter show: the line that says it all."""
        return [f"{type(self).__name__}: {self}"]


class DataError(MlaasError):
    """A file, tree, branch or label is missing, damaged or not of the expected kind."""


class SelectionError(MlaasError):
    """A new branch or a cut is not valid, or does not fit the data."""


class SpecsError(MlaasError):
    """The specs are damaged, or were computed from other data than these."""


class ParameterError(MlaasError):
    """A training parameter has a value that cannot be used."""


class ModelError(MlaasError):
    """The user's model file does not define a usable model."""


class PublishError(MlaasError):
    """The trained model could not be handed to the registry."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Question naming the closest of ``known``, to append to a message; empty when none is close."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), list(by_lower), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(by_lower[match] for match in close)}?" if close else ""


def listing(names: Iterable[str], limit: int = 10) -> str:
    """``a, b, c and 4 more``: at most ``limit`` names, for a message of one line."""
    everything = list(names)
    shown = ", ".join(everything[:limit]) or "none"
    return shown if len(everything) <= limit else f"{shown} and {len(everything) - limit} more"


def one_line(text: str) -> str:
    """``text`` in one line, without the colours that some libraries put into their messages."""
    return " ".join(COLOURS.sub("", text).split())
