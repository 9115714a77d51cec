"""What is sent: pure functions from arguments to paths, headers and bodies."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from ._exceptions import InputError
from .tfaas_pb2 import Row as RowMessage

Value = float | Sequence[float] | NDArray[Any]
Row = Mapping[str, Value] | Sequence[Value] | NDArray[Any]
"""One event: a number for each flat feature and the numbers of all objects for each jagged one, by
feature name or in the model's order. NaN and None stand for a missing value."""


def bearer_headers(token: str | None) -> dict[str, str]:
    """Returns the headers that present `token`."""
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def model_path(resource: str, model: str) -> str:
    """Returns the path of a resource of one model, such as `/params/signal%403`."""
    if not model:
        raise InputError("the model name is empty")
    return f"/{resource}/{quote(model, safe=':@')}"


def json_body(model: str, row: Row) -> bytes:
    """Encodes one event for `POST /json`.

    Raises:
        InputError: a value is not a number, or is infinite, which JSON cannot say.
    """
    named = isinstance(row, Mapping)
    columns = list(_columns(row))
    body: dict[str, object] = {"values": [_json_value(name, column) for name, column in columns]}
    if named:
        body["keys"] = [name for name, _ in columns]
    if model:
        body["model"] = model
    return json.dumps(body, allow_nan=False).encode()


def proto_body(model: str, row: Row) -> bytes:
    """Encodes one event as a `tfaaspb.Row` for `POST /proto`.

    A jagged feature repeats its key once for each object; one without objects is named once with NaN.

    Raises:
        InputError: a value is not a number, or one of several numbers has no name to repeat.
    """
    message = RowMessage(model=model)
    named = isinstance(row, Mapping)
    for name, column in _columns(row):
        if column.ndim and not named:
            raise InputError(f"{name} holds several numbers: name the features to send it over proto")
        values = column.ravel().tolist() or [math.nan]
        message.value.extend(values)
        if named:
            message.key.extend([name] * len(values))
    return message.SerializeToString()


def _columns(row: Row) -> Iterator[tuple[str, NDArray[np.float64]]]:
    named = row.items() if isinstance(row, Mapping) else ((f"value {i}", value) for i, value in enumerate(row))
    for name, value in named:
        yield name, _numbers(name, value)


def _numbers(name: str, value: object) -> NDArray[np.float64]:
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biufO":
            raise TypeError(f"{array.dtype} is no type of numbers")
        numbers = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name} must be a number or a list of numbers, got {value!r:.80}") from error
    if numbers.ndim > 1:
        raise InputError(f"{name} must be a number or a list of numbers, got {numbers.ndim} dimensions")
    return numbers


def _json_value(name: str, column: NDArray[np.float64]) -> float | list[float | None] | None:
    if np.isinf(column).any():
        raise InputError(f'{name} is infinite, which JSON cannot say: send it with wire="proto"')
    if column.ndim:
        return [None if math.isnan(number) else number for number in column.tolist()]
    number = float(column)
    return None if math.isnan(number) else number
