"""How the command line shows answers to people."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._writers import number_columns

MODEL_COLUMNS = ("name", "version", "framework", "runtime", "model", "timestamp", "description")


def model_table(models: Sequence[Mapping[str, Any]]) -> str:
    """Returns a line for each model, with those of `MODEL_COLUMNS` that the server has filled in."""
    if not models:
        return "no models"
    columns = [column for column in MODEL_COLUMNS if any(model.get(column) for model in models)]
    return _table([columns, *([_cell(model.get(column)) for column in columns] for model in models)])


def field_table(values: Mapping[str, Any]) -> str:
    """Returns a line for each entry, nested ones under names with dots."""
    return _table([name, _cell(value)] for name, value in _entries(values))


def _entries(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from ((f"{name}.{inner}", below) for inner, below in _entries(value))
        else:
            yield name, value


def prediction_table(labels: Sequence[str], probabilities: Iterable[float]) -> str:
    """Returns a line for each output: its label, or its index where it has none, and its probability."""
    return _table(
        [label or str(index), f"{probability:.9g}"]
        for index, (label, probability) in enumerate(zip(labels, probabilities, strict=True))
    )


def score_table(scores: Mapping[str, NDArray[np.float32]]) -> str:
    """Returns a line for each event, with a column for each number of each output."""
    columns = number_columns(scores)
    return _table(
        [[*columns], *([f"{number:.9g}" for number in event] for event in zip(*columns.values(), strict=True))]
    )


def _cell(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _table(rows: Iterable[Sequence[str]]) -> str:
    lines = list(rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
