"""Event numbers of the Python client reach a model that takes their remainder with all their digits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from tfaas_client import Client, ClientError, InputError

from tests.networks import linear_onnx

NUMBERS = [2**60, 2**60 + 1, 2**60 + 2, 2**63 + 3, 5]
MET = [1.0, 2.0, 3.0, 4.0, 5.0]
EXPECTED = [met + 100 * (number % 3) for met, number in zip(MET, NUMBERS, strict=True)]

CONTAINERS: dict[str, Callable[[], Any]] = {
    "lists": lambda: {"event": NUMBERS, "met": MET},
    "uint64": lambda: {"event": np.array(NUMBERS, np.uint64), "met": np.array(MET)},
    "masked": lambda: {"event": np.ma.array(NUMBERS, np.uint64, mask=False), "met": MET},
    "pandas": lambda: pd.DataFrame({"event": np.array(NUMBERS, np.uint64), "met": MET}),
    "arrow": lambda: pa.table({"event": pa.array(NUMBERS, pa.uint64()), "met": MET}),
    "awkward": lambda: ak.Array({"event": np.array(NUMBERS, np.uint64), "met": MET}),
    "rows of integers": lambda: np.array([MET, NUMBERS], np.uint64).T,
    "remainders": lambda: {"event": [number % 3 for number in NUMBERS], "met": MET},
    "float32 remainders": lambda: np.array([MET, [number % 3 for number in NUMBERS]], np.float32).T,
}


@pytest.fixture
def folds(client: Client, tmp_path: Path, unique_name: str) -> str:
    (tmp_path / "m.onnx").write_bytes(linear_onnx([1.0, 100.0]))
    client.upload(unique_name, tmp_path / "m.onnx", {"features": ["met", {"name": "event", "modulo": 3}]})
    return unique_name


@pytest.mark.parametrize("container", CONTAINERS)
def test_columns_and_rows(client: Client, folds: str, container: str) -> None:
    assert client.predict(folds, CONTAINERS[container]())["y"].tolist() == EXPECTED


def test_one_event_as_json(client: Client, folds: str) -> None:
    for number, met, expected in zip(NUMBERS, MET, EXPECTED, strict=True):
        assert client.predict(folds, {"event": number, "met": met}).tolist() == [expected]
    with pytest.raises(ClientError, match="expected event % 3"):
        client.predict(folds, {"event": 2**60, "met": 1.0}, wire="proto")
    assert client.predict(folds, {"event": 2**60 % 3, "met": 1.0}, wire="proto").tolist() == [101.0]


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (float(2**53), r"event of event 1 is 9007199254740992.0: expected an integer from 0 on, which float64 holds"),
        (-2, "event of event 1 is -2: expected an integer from 0 on"),
        (1.5, "event of event 1 is 1.5: expected an integer from 0 on"),
        (None, "event of event 1 is nan: expected an integer from 0 on"),
    ],
)
def test_other_numbers_are_refused_unsent(client: Client, folds: str, number: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        client.predict(folds, {"event": [1, number], "met": [1.0, 2.0]})


def test_a_description_tells_the_modulo(client: Client, folds: str) -> None:
    assert [feature.modulo for feature in client.describe(folds).features] == [None, 3]
