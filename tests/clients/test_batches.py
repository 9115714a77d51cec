"""Many events, in all containers that analyses hold them in, against a real server."""

import asyncio
import gc
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import awkward as ak
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from tfaas_client import AsyncClient, Client, ClientError, InputError, Model
from tfaas_client._addresses import Connection
from tfaas_client._blocking import Lines

Expected = Callable[..., NDArray[np.float32]]

MET = [41.5, 10.0, -3.25, 7.0, 8.0]
JETS: list[list[float]] = [[80.2, 35.1], [25.0], [], [1.0, 2.0, 3.0], [50.0, 20.0]]
MATRIX = np.array([[met, *(jets + [np.nan] * 2)[:2]] for met, jets in zip(MET, JETS, strict=True)], np.float64)


CONTAINERS: dict[str, Callable[[], Any]] = {
    "dict of lists": lambda: {"met": MET, "jet_pt": JETS},
    "dict of arrays": lambda: {"jet_pt": [np.array(jets) for jets in JETS], "met": np.array(MET, ">f8")},
    "dict of padded arrays": lambda: {"met": np.array(MET), "jet_pt": MATRIX[:, 1:]},
    "dict of awkward arrays": lambda: {"met": ak.Array(MET), "jet_pt": ak.Array(JETS)},
    "array": lambda: MATRIX,
    "array in column order": lambda: np.asfortranarray(MATRIX.astype(np.float32)),
    "masked array": lambda: np.ma.masked_invalid(np.where(np.isnan(MATRIX), np.nan, MATRIX)),
    "masked array that hides values": lambda: np.ma.array(np.nan_to_num(MATRIX, nan=7.0), mask=np.isnan(MATRIX)),
    "regular awkward array": lambda: ak.from_numpy(MATRIX),
    "rows": lambda: MATRIX.tolist(),
    "awkward records": lambda: ak.Array({"met": MET, "jet_pt": JETS}),
    "selected awkward records": lambda: ak.Array({"met": [0.0, *MET], "jet_pt": [[1.0], *JETS]})[1:],
    "awkward records with None": lambda: ak.Array(
        [{"met": met, "jet_pt": jets or None} for met, jets in zip(MET, JETS, strict=True)]
    ),
    "arrow table": lambda: pa.table({"met": pa.chunked_array([MET[:2], MET[2:]]), "jet_pt": JETS}),
    "arrow record batch": lambda: pa.record_batch({"met": pa.array(MET), "jet_pt": pa.array(JETS)}),
    "pandas frame": lambda: pd.DataFrame({"met": MET, "jet_pt": JETS}),
    "sliced pandas frame": lambda: pd.DataFrame({"met": [0.0, *MET], "jet_pt": [[9.0], *JETS]})[1:],
    "pandas frame of Arrow types": lambda: pd.DataFrame(
        {
            "met": pd.Series(MET, dtype=pd.ArrowDtype(pa.float64())),
            "jet_pt": pd.Series(JETS, dtype=pd.ArrowDtype(pa.list_(pa.float32()))),
        }
    ),
    "sliced arrow table": lambda: pa.table({"met": [0.0, *MET], "jet_pt": [[9.0], *JETS]}).slice(1),
}


@pytest.fixture
def scores(expected: Expected) -> NDArray[np.float32]:
    return np.stack([expected(met, *jets[:2]) for met, jets in zip(MET, JETS, strict=True)])


@pytest.mark.parametrize("container", CONTAINERS)
def test_each_container_is_scored(client: Client, model: str, scores: NDArray[np.float32], container: str) -> None:
    answer = client.predict(model, CONTAINERS[container]())
    assert list(answer) == ["probabilities"]
    assert answer["probabilities"].dtype == np.float32
    np.testing.assert_allclose(answer["probabilities"], scores, atol=1e-6)


def test_structured_arrays_are_columns(client: Client, flat_model: str, expected: Expected) -> None:
    events = np.array([(1.0, 2.0, 3.0), (4.0, 5.0, 6.0)], [("jet_1_pt", "f4"), ("jet_2_pt", "f8"), ("met", "i4")])
    answer = client.predict(flat_model, events)["probabilities"]
    np.testing.assert_allclose(answer, [expected(3, 1, 2), expected(6, 4, 5)], atol=1e-6)


@pytest.mark.parametrize(
    "column",
    [
        [1.0, None],
        np.array([1.0, np.nan]),
        np.ma.array([1.0, 9.0], mask=[0, 1]),
        ak.Array([1.0, None]),
        ak.Array([True, None]),
        pa.array([1, None]),
        pa.array([True, None]),
        pd.Series([1, None], dtype=pd.ArrowDtype(pa.int8())),
        pd.Series([1, None], dtype="Int64"),
        pd.Series([1.0, None]),
        pd.Series([True, None], dtype="boolean"),
        pd.Series([1, None], dtype=object),
    ],
    ids=str,
)
def test_missing_values_reach_the_model_as_such(client: Client, model: str, expected: Expected, column: Any) -> None:
    answer = client.predict(model, {"met": column, "jet_pt": [[2.0, None], []]})["probabilities"]
    np.testing.assert_allclose(answer, [expected(1, 2), expected(np.nan)], atol=1e-6)


def test_batches_come_back_in_order(client: Client, model: str, expected: Expected) -> None:
    count = 1001
    seen: list[tuple[int, int]] = []
    events = {"met": np.arange(count), "jet_pt": ak.unflatten(np.arange(count), np.ones(count, int))}
    answer = client.predict(
        model, events, batch_events=100, concurrency=7, progress=lambda done, total: seen.append((done, total))
    )["probabilities"]
    np.testing.assert_allclose(answer, np.stack([expected(i, i) for i in range(count)]), atol=1e-6)
    assert seen == [(min(done, count), count) for done in range(100, count + 100, 100)]


@pytest.mark.parametrize("events", [{"met": [], "jet_pt": []}, np.empty((0, 3))])
def test_no_events_have_scores_of_the_same_form(client: Client, model: str, events: Any) -> None:
    answer = client.predict(model, events)
    assert answer["probabilities"].shape == (0, 2)
    assert answer["probabilities"].dtype == np.float32


def test_outputs_are_chosen_by_name(client: Client, model: str) -> None:
    for outputs in ("probabilities", ["probabilities"], "*"):
        assert list(client.predict(model, MATRIX, outputs=outputs)) == ["probabilities"]
    with pytest.raises(Exception, match=r"no output 'score'.*probabilities"):
        client.predict(model, MATRIX, outputs="score")


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ({"met": [1.0]}, r"missing feature 'jet_pt'.*met, jet_pt \(up to 2 values\)"),
        ({"met": [1.0], "jet_pT": [[1.0]]}, r"unknown feature 'jet_pT' \(did you mean 'jet_pt'\?\)"),
        ({"met": [1.0], "jet_pt": [[1.0], []]}, "met has 1 events and jet_pt has 2"),
        ({"met": [[1.0]], "jet_pt": [[1.0]]}, "met has a list for each event.*flat"),
        ({"met": [1.0], "jet_pt": [1.0]}, "jet_pt has a number for each event.*jagged"),
        ({"met": ["1.0"], "jet_pt": [[]]}, r"met holds '1\.0'"),
        ({"met": np.array(["1.0"]), "jet_pt": [[]]}, "met holds <U3"),
        ({"met": [1j], "jet_pt": [[]]}, "met holds 1j"),
        ({"met": [1.0], "jet_pt": [[[1.0]]]}, "jet_pt holds"),
        ({"met": {1.0}, "jet_pt": [[]]}, "met holds {1.0}"),
        ({"met": [1.0], "jet_pt": ak.Array([[[1.0]]])}, "jet_pt has 3 dimensions"),
        ({"met": [1.0], "jet_pt": ak.Array([[{"pt": 1.0}]])}, "jet_pt has the fields pt"),
        ({"met": ak.Array(["a"]), "jet_pt": [[]]}, "met "),
        ({"met": ak.Array(["a", None]), "jet_pt": [[], []]}, "met "),
        ({"met": ak.Array([1.0, "a"]), "jet_pt": [[], []]}, "met "),
        ({"met": ak.Array([1.0, [2.0]]), "jet_pt": [[], []]}, "met "),
        (ak.Array([[1.0], [1.0, 2.0]]), "the array holds 2 . var"),
        ({"met": pa.array(["a"]), "jet_pt": [[]]}, "met holds string"),
        ({"met": pd.Series(["a"]), "jet_pt": [[]]}, "met holds"),
        (pd.DataFrame([[1.0, 2.0]], columns=["met", "met"]), "two columns are named 'met'"),
        (pa.table([[1.0], [2.0]], names=["met", "met"]), "two columns are named 'met'"),
        (np.zeros((2, 4)), r"rows of 4 values: expected 3, met, jet_pt \(up to 2 values\)"),
        (np.zeros((2, 3, 1)), r"shape \(2, 3, 1\)"),
        ([[1.0, 2.0], [1.0]], "rows have 1 to 2 values"),
        ("events", "events are a str"),
        (iter([[1.0]]), "expected a mapping of columns"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_sent(
    client: Client, model: str, events: Any, problem: str
) -> None:
    bound = client.model(model)
    with pytest.raises(InputError, match=problem):
        bound.predict(events)


def test_what_the_server_refuses_is_found_in_the_batch(
    client: Client, model_files: Any, unique_name: str, flat_manifest: dict[str, Any]
) -> None:
    client.upload(unique_name, model_files / "model.onnx", params=flat_manifest | {"missing": False})
    events = np.ones((1000, 3))
    events[705, 1] = np.nan
    with pytest.raises(ClientError, match=r"in the batch from event 700: event 5: value 'jet_1_pt' is missing"):
        client.predict(unique_name, events, batch_events=100)
    with pytest.raises(ClientError, match=r"^event 705: value 'jet_1_pt' is missing"):
        client.predict(unique_name, events)


@pytest.mark.parametrize("option", [{"batch_events": 0}, {"concurrency": 0}])
def test_limits_out_of_range_are_refused(client: Client, model: str, option: dict[str, int]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(option))} is 0"):
        client.model(model).predict(MATRIX, **option)


def test_a_bound_model_stays_at_its_version(
    client: Client, model_files: Any, unique_name: str, flat_manifest: dict[str, Any]
) -> None:
    client.upload(unique_name, model_files / "model.onnx", params=flat_manifest)
    bound = client.model(unique_name)
    reordered = {**flat_manifest, "features": flat_manifest["features"][::-1]}
    client.upload(unique_name, model_files / "model.onnx", params=reordered)
    assert (bound.description.version, client.model(unique_name).description.version) == (1, 2)
    assert bound.features == ["met", "jet_1_pt", "jet_2_pt"]
    columns = {"met": [1.0], "jet_1_pt": [20.0], "jet_2_pt": [300.0]}
    first, second = bound.predict(columns), client.predict(unique_name, columns)
    assert not np.allclose(first["probabilities"], second["probabilities"])
    assert client.promote(f"{unique_name}:1", "production").version == 1
    assert client.promote(f"{unique_name}@production", "proven").version == 1
    assert client.describe(f"{unique_name}@production") == bound.description


def test_the_async_client_gives_the_same(server: Any, model: str, scores: NDArray[np.float32]) -> None:
    async def ask() -> None:
        async with AsyncClient(server.url) as client:
            bound = await client.model(model)
            answers = await asyncio.gather(*(bound.predict(MATRIX, batch_events=2) for _ in range(5)))
            for answer in [*answers, await client.predict(model, MATRIX)]:
                np.testing.assert_allclose(answer["probabilities"], scores, atol=1e-6)
            one = await client.predict(model, {"met": MET[0], "jet_pt": JETS[0]})
            np.testing.assert_allclose(one, scores[0], atol=1e-6)

    asyncio.run(ask())


def test_a_bound_model_is_shared_by_threads_and_pickled(
    client: Client, model: str, scores: NDArray[np.float32]
) -> None:
    copy: Model = pickle.loads(pickle.dumps(client.model(model)))
    with ThreadPoolExecutor(8) as threads:
        for answer in threads.map(lambda _: copy.predict(MATRIX, batch_events=3), range(50)):
            np.testing.assert_allclose(answer["probabilities"], scores, atol=1e-6)


def test_a_client_goes_on_in_a_forked_process(client: Client, model: str) -> None:
    client.predict(model, MATRIX)
    child = os.fork()
    if not child:
        try:
            os._exit(0 if client.predict(model, MATRIX)["probabilities"].shape == (5, 2) else 3)
        finally:
            os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_sync_client_works_inside_a_running_loop(client: Client, model: str) -> None:
    async def ask() -> int:
        return len(client.predict(model, MATRIX)["probabilities"])

    assert asyncio.run(ask()) == len(MATRIX)


def test_a_closed_client_says_so(client: Client) -> None:
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="the client is closed"):
        client.models()


def test_clients_that_are_forgotten_end_their_threads(server: Any) -> None:
    before = threading.active_count()
    for _ in range(3):
        copy = pickle.loads(pickle.dumps(Client(server.url)))
        assert copy.models()
    del copy
    gc.collect()
    assert threading.active_count() == before


def test_a_client_that_its_own_thread_collects_does_not_hang(server: Any) -> None:
    script = f"""
import gc, threading
from tfaas_client import Client

def collect(frame, event, _):
    if event == "return" and frame.f_code.co_name == "wait" and forgotten:
        gc.collect()

gc.disable()
forgotten = False
threading.setprofile(collect)
client = Client({server.url!r})
client.models()
lines = client._calls()._transport._lines
thread, changed = lines._watch, lines._changed
cycle = [client]
cycle.append(cycle)
del client, lines, cycle
forgotten = True
with changed:
    changed.notify()
thread.join(30)
raise SystemExit(thread.is_alive())
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == 0


def test_a_connection_that_was_cut_is_not_used_again() -> None:
    lines = Lines(Connection(("http://localhost",), None, None, None, True, 0))
    for cut in (False, True, False):
        with lines.taken("http://localhost", 60, lines) as line:
            if cut:
                lines.cut(lines)
        with lines.taken("http://localhost", 60, None) as next_line:
            assert (next_line is line) is not cut
    lines.close()
