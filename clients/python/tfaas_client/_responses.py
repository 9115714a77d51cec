"""What comes back: pure functions from a response to values or errors."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, TypeVar

import httpx
import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from ._description import Description
from ._exceptions import (
    ClientError,
    MalformedResponseError,
    OverloadedError,
    ResponseError,
    ServerError,
)
from .tfaas_pb2 import Outputs, Predictions

Answer = TypeVar("Answer")
Container = TypeVar("Container", dict[str, Any], list[Any])


class Prediction(NamedTuple):
    """All outputs of a model for one event.

    Attributes:
        labels: a name for each output, empty strings where the model has no labels.
        probabilities: float32 of shape (outputs,).
    """

    labels: tuple[str, ...]
    probabilities: NDArray[np.float32]


@dataclass(frozen=True)
class UploadedVersion:
    """The version that an upload has made.

    Attributes:
        model: name of the model.
        version: number of the new version.
        digest: content digest of the bundle.
        runtime: what runs the model.
        reason: why that runtime was taken, when it is not the usual one.
    """

    model: str
    version: int
    digest: str
    runtime: str
    reason: str | None


def raise_for_status(response: httpx.Response) -> None:
    """Raises the `ResponseError` that says what the server refused; returns when it did not refuse."""
    if response.is_success:
        return
    status, message = response.status_code, _error_message(response)
    if status == httpx.codes.SERVICE_UNAVAILABLE:
        raise OverloadedError(status, message, _retry_after(response))
    if response.is_server_error:
        raise ServerError(status, message)
    if response.is_client_error:
        raise ClientError(status, message)
    raise ResponseError(status, message)


def json_object(response: httpx.Response) -> dict[str, Any]:
    """Returns the JSON object of an answer."""
    return _decoded(response, "a JSON object", lambda: _checked(dict, response.json()))


def json_objects(response: httpx.Response) -> list[dict[str, Any]]:
    """Returns the list of JSON objects of an answer."""

    def decode() -> list[dict[str, Any]]:
        return [_checked(dict, item) for item in _checked(list, response.json())]

    return _decoded(response, "a list of JSON objects", decode)


def uploaded_version(response: httpx.Response) -> UploadedVersion:
    """Returns what the answer to an upload says."""

    def decode() -> UploadedVersion:
        answer = _checked(dict, response.json())
        return UploadedVersion(**{field.name: answer[field.name] for field in fields(UploadedVersion)})

    return _decoded(response, "the description of a model version", decode)


def json_prediction(response: httpx.Response) -> Prediction:
    """Returns the outputs that `POST /json` answers, without labels."""

    def decode() -> Prediction:
        probabilities = np.array(_checked(list, response.json()), dtype=np.float32).ravel()
        return Prediction(("",) * len(probabilities), probabilities)

    return _decoded(response, "a JSON array of numbers", decode)


def proto_prediction(response: httpx.Response) -> Prediction:
    """Returns the outputs that `POST /proto` answers."""

    def decode() -> Prediction:
        outputs = Predictions.FromString(response.content).prediction
        probabilities = np.fromiter((output.probability for output in outputs), np.float32, len(outputs))
        return Prediction(tuple(output.label for output in outputs), probabilities)

    return _decoded(response, "a tfaaspb.Predictions message", decode)


def description(response: httpx.Response) -> Description:
    """Returns what the answer says about a version of a model."""
    return _decoded(response, "the description of a model version", lambda: Description.parse(json_object(response)))


def image_prediction(response: httpx.Response) -> Prediction:
    """Returns what `POST /image` answers: the best labels, or all outputs of a model without labels."""

    def decode() -> Prediction:
        answer = response.json()
        if isinstance(answer, list):
            return Prediction(("",) * len(answer), np.array(answer, dtype=np.float32).ravel())
        best = [_checked(dict, item) for item in _checked(list, _checked(dict, answer)["labels"])]
        probabilities = np.array([item["probability"] for item in best], dtype=np.float32)
        return Prediction(tuple(str(item["label"]) for item in best), probabilities)

    return _decoded(response, "labels with probabilities, or a JSON array of numbers", decode)


def batch_outputs(response: httpx.Response, events: int) -> dict[str, NDArray[np.float32]]:
    """Returns the outputs of a batch by name, each of shape (events, width)."""

    def decode() -> dict[str, NDArray[np.float32]]:
        outputs = Outputs.FromString(response.content).output
        if not outputs:
            raise ValueError("no output")
        return {
            output.name: np.array(output.value, dtype=np.float32).reshape(events, output.width) for output in outputs
        }

    return _decoded(response, f"a tfaaspb.Outputs message for {events} events", decode)


def _decoded(response: httpx.Response, expected: str, decode: Callable[[], Answer]) -> Answer:
    try:
        return decode()
    except (ValueError, TypeError, KeyError, DecodeError, RecursionError) as error:
        where = f"{response.request.method} {response.request.url}"
        raise MalformedResponseError(f"{where}: expected {expected}, got {response.content!r:.80}") from error


def _checked(kind: type[Container], value: object) -> Container:
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__} instead of {kind.__name__}")
    return value


def _error_message(response: httpx.Response) -> str:
    if response.has_redirect_location:
        return f"{response.request.url} has moved to {response.headers['location']}"
    try:
        return str(_checked(dict, response.json())["error"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return f"{response.request.url} answered {response.status_code} {response.reason_phrase}"


def _retry_after(response: httpx.Response) -> float | None:
    try:
        seconds = float(response.headers["retry-after"])
    except (KeyError, ValueError):
        return None
    return seconds if math.isfinite(seconds) else None
