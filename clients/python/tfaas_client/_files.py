"""The files that the command line reads."""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from ._bundles import open_file
from ._exceptions import InputError
from ._requests import Row

UPLOAD_KEYS = ("name", "model", "params", "labels")


class Event(NamedTuple):
    """One event as a file states it; `model` is empty when the file names none."""

    model: str
    row: Row


class ModelFiles(NamedTuple):
    """What an upload by form consists of."""

    name: str
    model: str
    params: str | None = None
    labels: str | None = None


def read_event(path: str) -> Event:
    """Reads `{"keys": [..], "values": [..], "model": ".."}` or `{"name": value, ..}`; `-` is standard input.

    Without keys the values are positional. A key that is repeated is one jagged feature.

    Raises:
        InputError: the file cannot be read, is neither form, or has not one value for each key.
    """
    content = _read_object(path)
    if "values" not in content:
        return Event("", content)
    unknown = content.keys() - {"keys", "values", "model"}
    keys, values, model = content.get("keys") or [], content["values"], content.get("model") or ""
    if unknown or not (isinstance(keys, list) and isinstance(values, list) and isinstance(model, str)):
        raise InputError(f'{path} must be {{"keys": [..], "values": [..], "model": ".."}}')
    if not keys:
        return Event(model, values)
    if len(keys) != len(values):
        raise InputError(f"{path} has {len(keys)} keys and {len(values)} values")
    return Event(model, _by_name(keys, values))


def read_model_files(path: str) -> ModelFiles:
    """Reads `{"name": "..", "model": "file", "params": "file", "labels": "file"}`.

    Raises:
        InputError: the file cannot be read, lacks the name or the model, or says more than this.
    """
    content = _read_object(path)
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


def _read_object(path: str) -> dict[str, Any]:
    try:
        if path == "-":
            content = json.loads(sys.stdin.buffer.read())
        else:
            with open_file(Path(path)) as file:
                content = json.loads(file.read())
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a JSON object, got {type(content).__name__}")
    return content
