"""What is sent: pure functions from arguments to paths, headers and bodies."""

import json
import math
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from ._exceptions import InputError
from .tfaas_pb2 import Row as RowMessage

Value = float | Sequence[float] | NDArray[Any]
Row = Mapping[str, Value] | Sequence[Value] | NDArray[Any]
"""One event: a number for each flat feature and the numbers of all objects for each jagged one, by
feature name or in the model's order. NaN and None stand for a missing value."""

BLOCK_BYTES = 1 << 20
LATEST = "latest"


@dataclass(frozen=True)
class Request:
    """One call of a server.

    Attributes:
        path: below the base of the server, which is not known here.
        archive: a file whose content is the body.
        files: parts of a form, each a name and an open file or bytes; `fields` are its other parts.
        repeatable: sending it twice does the same as once.
        slow: the server works on it for longer than on others.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    content_type: str = ""
    accept: str = ""
    archive: IO[bytes] | None = None
    files: Mapping[str, tuple[str, IO[bytes] | bytes]] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True
    slow: bool = False

    def options(self, body: Callable[[IO[bytes]], Iterator[bytes] | AsyncIterator[bytes]]) -> dict[str, Any]:
        """Returns what httpx takes besides the method and the URL; called anew for each attempt.

        Args:
            body: reads an archive, in the manner of the httpx client that sends it.
        """
        headers = {"Content-Type": self.content_type, "Accept": self.accept}
        options: dict[str, Any] = {
            "params": self.query,
            "headers": {name: value for name, value in headers.items() if value},
            "content": self.content if self.archive is None else body(self.archive),
            "files": self.files,
            "data": self.fields,
        }
        return {name: value for name, value in options.items() if value}


def blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Reads all of a file."""
    file.seek(0)
    while block := file.read(BLOCK_BYTES):
        yield block


def bundle_request(archive: IO[bytes]) -> Request:
    """Publishes a bundle."""
    return Request("POST", "/upload", archive=archive, content_type="application/gzip", repeatable=False, slow=True)


def upload_request(name: str, files: Mapping[str, tuple[str, IO[bytes] | bytes]]) -> Request:
    """Publishes the parts `model`, and perhaps `params` and `labels`."""
    return Request("POST", "/upload", files=files, fields={"name": name}, repeatable=False, slow=True)


def delete_request(model: str, force: bool) -> Request:
    """Deletes a model, or the version that `name:3` names."""
    name, number, _ = split_reference(model) if ":" in model else (model, 0, "")
    path = f"{model_path('models', name)}/versions/{number}" if number else model_path("delete", model)
    return Request("DELETE", path, {"force": "true"} if force else {}, repeatable=False)


def version_request(model: str) -> Request:
    """Asks which version a reference means, and for all that is known about it.

    Raises:
        InputError: `model` is not `name`, `name:3` or `name@alias`.
    """
    name, number, alias = split_reference(model)
    path = f"{model_path('models', name)}/" + (f"versions/{number}" if number else f"aliases/{quote(alias, safe='')}")
    return Request("GET", path)


def promote_request(name: str, version: int, alias: str) -> Request:
    """Lets an alias point at a version."""
    if not alias:
        raise InputError("the alias is empty")
    path = f"{model_path('models', name)}/aliases/{quote(alias, safe='')}"
    body = json.dumps({"version": version}).encode()
    return Request("PUT", path, content=body, content_type="application/json")


def image_request(model: str, name: str, image: bytes) -> Request:
    """Asks about one PNG or JPEG."""
    return Request("POST", "/image", files={"image": (name, image)}, fields={"model": model})


def batch_request(model: str, events: NDArray[np.float32], outputs: Sequence[str]) -> Request:
    """Asks about events as raw numbers, (events, values) in the model's order; ProtoBuffer names the outputs."""
    query = {"model": model, "shape": f"{events.shape[0]},{events.shape[1]}"}
    if outputs:
        query["outputs"] = ",".join(outputs)
    return Request(
        "POST",
        "/predict/batch",
        query,
        content=events.astype("<f4", copy=False).tobytes(),
        content_type="application/octet-stream",
        accept="application/x-protobuf",
    )


def split_reference(model: str) -> tuple[str, int, str]:
    """Returns name, version and alias of `name`, `name:3` or `name@alias`; either version or alias is set.

    Raises:
        InputError: it is none of these.
    """
    name, colon, number = model.partition(":")
    if colon:
        if not (name and number.isascii() and number.isdigit() and len(number) < 10 and int(number)):
            raise InputError(f"{model!r} names no version: expected NAME:3")
        return name, int(number), ""
    name, at, alias = model.partition("@")
    if not name or (at and not alias):
        raise InputError(f"{model!r} names no model: expected NAME, NAME:3 or NAME@ALIAS")
    return name, 0, alias or LATEST


def bearer_headers(token: str | None) -> dict[str, str]:
    """Returns the headers that present `token`."""
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def model_path(resource: str, model: str) -> str:
    """Returns the path of a resource of one model, such as `/params/signal:3`.

    Raises:
        InputError: `model` is empty, or dots that would lead to another path.
    """
    if not model:
        raise InputError("the model name is empty")
    if not model.strip("."):
        raise InputError(f"{model!r} names no model: expected letters or digits")
    return f"/{resource}/{quote(model, safe=':@')}"


def json_body(model: str, row: Row) -> bytes:
    """Encodes one event for `POST /json`.

    Raises:
        InputError: a value is not a number, or is infinite, which JSON cannot say.
    """
    body: dict[str, object] = {"values": [_json_value(name, value) for name, value in _named(row)]}
    if isinstance(row, Mapping):
        body["keys"] = list(row)
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
    for name, value in _named(row):
        column = _numbers(name, value)
        if column.ndim and not named:
            raise InputError(f"{name} holds several numbers: name the features to send it over proto")
        values = column.ravel().tolist() or [math.nan]
        message.value.extend(values)
        if named:
            message.key.extend([name] * len(values))
    return message.SerializeToString()


def _named(row: Row) -> Iterable[tuple[str, object]]:
    return row.items() if isinstance(row, Mapping) else ((f"value {i}", value) for i, value in enumerate(row))


def _numbers(name: str, value: object) -> NDArray[Any]:
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biufO":
            raise TypeError(f"{array.dtype} is no type of numbers")
        # Integers keep all their digits, which the number of an event needs.
        numbers = array if array.dtype.kind in "iu" else array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name} must be a number or a list of numbers, got {value!r:.80}") from error
    if numbers.ndim > 1:
        raise InputError(f"{name} must be a number or a list of numbers, got {numbers.ndim} dimensions")
    return numbers


def _json_value(name: str, value: object) -> float | list[float | None] | None:
    if type(value) is float and math.isfinite(value):
        return value  # as nearly all are
    column = _numbers(name, value)
    if np.isinf(column).any():
        raise InputError(f'{name} is infinite, which JSON cannot say: send it with wire="proto"')
    if column.ndim:
        return [None if math.isnan(number) else number for number in column.tolist()]
    number = column.item()
    return None if math.isnan(number) else number
