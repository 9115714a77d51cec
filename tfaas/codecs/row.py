"""A request for the prediction of one event, whatever it looked like on the wire."""

from collections.abc import Sequence
from dataclasses import dataclass

from tfaas.engine.layout import Value
from tfaas.runtimes import FloatArray


@dataclass(frozen=True, slots=True)
class Row:
    model: str
    keys: Sequence[str]
    values: Sequence[Value] | FloatArray
