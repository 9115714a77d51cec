"""A request for predictions, whatever it looked like on the wire."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tfaas.runtimes import FloatArray


class Row(NamedTuple):
    """What a client has sent to `/json` or `/proto`.

    Attributes:
        values: of one event, or lists of them, for each key.
        columns: name → values of all events, where there are no `values`.
    """

    model: str
    keys: Sequence[str]
    values: Sequence[Any] | FloatArray
    columns: Mapping[str, Sequence[Any]] | None = None
