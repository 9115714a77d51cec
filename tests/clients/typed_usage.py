"""What type checkers make of `predict`; a test gives this file to mypy."""

from typing import assert_type

import numpy as np
from numpy.typing import NDArray
from tfaas_client import Client

Outputs = dict[str, NDArray[np.float32]]
Event = NDArray[np.float32]


def ask(client: Client, row: dict[str, float | list[float]]) -> None:
    assert_type(client.predict("signal", {"met": np.zeros(3), "jet_pt": np.zeros((3, 2))}), Outputs)
    assert_type(client.predict("signal", {"met": [1.0, 2.0], "jet_pt": [[1.0], []]}), Outputs)
    assert_type(client.predict("signal", {"met": [1.0], "jet_pt": [2.0]}, outputs="*"), Outputs)
    assert_type(client.predict("signal", np.zeros((3, 3)), batch_events=1), Outputs)
    assert_type(client.predict("signal", [[1.0, 2.0, 3.0]]), Outputs)
    assert_type(client.predict("signal", row), Event)
    assert_type(client.predict("signal", {"met": 1.0, "jet_pt": [2.0]}, wire="proto"), Event)
    assert_type(client.predict("signal", {"met": 1, "jet_pt": np.zeros(2)}), Event)
    assert_type(client.predict("signal", [1.0, 2.0, 3.0]), Event)
