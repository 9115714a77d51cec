"""The files that the command line reads."""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from ._bundles import open_file
from ._exceptions import InputError

UPLOAD_KEYS = ("name", "model", "params", "labels")


class EventsFile(NamedTuple):
    """What a file holds; `model` is empty when it names none, `one` tells that its form is that of a single event."""

    model: str
    events: Any
    one: bool = False


class ModelFiles(NamedTuple):
    """What an upload by form consists of."""

    name: str
    model: str
    params: str | None = None
    labels: str | None = None


def read_events_file(path: str) -> EventsFile:
    """Reads events from JSON; `-` is standard input.

    One event is `{"keys": [..], "values": [..], "model": ".."}`, where a key that is repeated is one jagged feature,
    or `{"name": value, ..}`, or a list of values. Many are `{"columns": {"name": [..], ..}}`, `{"name": [..], ..}`,
    or a list of lists.

    Raises:
        InputError: the file cannot be read, is no such form, or has not one value for each key.
    """
    content = _read_json(path)
    if isinstance(content, list):
        return EventsFile("", content)
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a JSON object or a list, got {type(content).__name__}")
    if isinstance(content.get("columns"), dict) and content.keys() <= {"columns", "model"}:
        return EventsFile(content.get("model") or "", content["columns"])
    if "values" not in content:
        return EventsFile("", content)
    unknown = content.keys() - {"keys", "values", "model"}
    keys, values, model = content.get("keys") or [], content["values"], content.get("model") or ""
    if unknown or not (isinstance(keys, list) and isinstance(values, list) and isinstance(model, str)):
        raise InputError(f'{path} must be {{"keys": [..], "values": [..], "model": ".."}}')
    if not keys:
        return EventsFile(model, values, True)
    if len(keys) != len(values):
        raise InputError(f"{path} has {len(keys)} keys and {len(values)} values")
    return EventsFile(model, _by_name(keys, values), True)


def read_model_files(path: str) -> ModelFiles:
    """Reads `{"name": "..", "model": "file", "params": "file", "labels": "file"}`.

    Raises:
        InputError: the file cannot be read, lacks the name or the model, or says more than this.
    """
    content = _read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a JSON object, got {type(content).__name__}")
    unknown = content.keys() - set(UPLOAD_KEYS)
    if unknown or not {"name", "model"} <= content.keys():
        raise InputError(f"{path} must hold name and model, and may hold params and labels; got {[*content]}")
    return ModelFiles(**{key: str(value) for key, value in content.items() if value})


def _by_name(keys: list[str], values: list[Any]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    repeated = {key for key in keys if keys.count(key) > 1}
    for key, value in zip(keys, values, strict=True):
        if key in repeated:
            row.setdefault(key, []).append(value)
        else:
            row[key] = value
    return row


def _read_json(path: str) -> Any:
    try:
        if path == "-":
            return json.loads(sys.stdin.buffer.read())
        with open_file(Path(path)) as file:
            return json.loads(file.read())
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
