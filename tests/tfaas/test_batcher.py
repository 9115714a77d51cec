"""Batching while busy: every caller gets its own rows, and bad neighbours do no harm."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfaas.engine.batcher import Batcher
from tfaas.errors import DeadlineExceeded, ModelFailed, Overloaded
from tfaas.runtimes import FloatArray


class Doubler:
    """A model that doubles, remembers its batches, and waits to be let go where a test wants it to."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, events: FloatArray) -> FloatArray:
        self.batches.append(len(events))
        assert self.go.wait(10)
        if (events < 0).any():
            raise ValueError("negative")
        return events * 2


def run(scenario, max_batch_size: int = 64, max_queue: int = 1000) -> Doubler:
    model = Doubler()
    with ThreadPoolExecutor(1) as executor:
        asyncio.run(scenario(Batcher(model, executor, max_batch_size, max_queue), model))
    return model


def rows(*values: float) -> FloatArray:
    return np.array(values, np.float32)[:, None]


@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=40), st.integers(1, 16))
@settings(max_examples=60, deadline=None)
def test_any_interleaving_gives_each_caller_its_own_rows(requests: list[tuple[int, bool]], limit: int) -> None:
    async def scenario(batcher: Batcher, model: Doubler) -> None:
        answers, start = [], 0
        for size, pause in requests:
            events = np.arange(start, start + size, dtype=np.float32)[:, None]
            answers.append((events, batcher.submit(events, 10)))
            start += size
            if pause:
                await asyncio.sleep(0)
        for events, answer in answers:
            assert (await answer).tolist() == (events * 2).tolist()

    model = run(scenario, max_batch_size=limit)
    assert sum(model.batches) == sum(size for size, _ in requests)


def test_an_idle_model_runs_at_once_and_a_busy_one_gathers() -> None:
    async def scenario(batcher: Batcher, model: Doubler) -> None:
        model.go.clear()
        answers = [batcher.submit(rows(value), 10) for value in range(11)]
        model.go.set()
        assert [float((await answer)[0, 0]) for answer in answers] == [2.0 * value for value in range(11)]

    assert run(scenario).batches == [1, 10]


def test_a_batch_keeps_to_its_limit() -> None:
    async def scenario(batcher: Batcher, model: Doubler) -> None:
        model.go.clear()
        answers = [batcher.submit(rows(*range(3)), 10) for _ in range(5)]
        model.go.set()
        await asyncio.gather(*answers)

    assert run(scenario, max_batch_size=7).batches == [3, 6, 6]


def test_a_row_that_fails_does_not_fail_its_neighbours() -> None:
    async def scenario(batcher: Batcher, model: Doubler) -> None:
        model.go.clear()
        answers = [batcher.submit(rows(value), 10) for value in (1, 2, -3, 4)]
        model.go.set()
        results = await asyncio.gather(*answers, return_exceptions=True)
        assert [float(results[index][0, 0]) for index in (0, 1, 3)] == [2, 4, 8]
        assert isinstance(results[2], ModelFailed)
        assert "negative" in str(results[2])

    run(scenario)


def test_past_the_bound_of_the_queue_the_answer_is_overloaded_at_once() -> None:
    async def scenario(batcher: Batcher, model: Doubler) -> None:
        model.go.clear()
        answers = [batcher.submit(rows(1), 10) for _ in range(5)]
        with pytest.raises(Overloaded, match="4 events are waiting"):
            batcher.submit(rows(1), 10)
        model.go.set()
        await asyncio.gather(*answers)
        assert (await batcher.submit(rows(1), 10)).tolist() == [[2]]

    run(scenario, max_queue=4)


def test_cancelled_and_expired_work_is_dropped_before_it_runs() -> None:
    async def scenario(batcher: Batcher, model: Doubler) -> None:
        model.go.clear()
        first = batcher.submit(rows(1), 10)
        cancelled, expired, kept = (
            batcher.submit(rows(2), 10),
            batcher.submit(rows(3), 0.01),
            batcher.submit(rows(4), 10),
        )
        cancelled.cancel()
        await asyncio.sleep(0.05)
        model.go.set()
        assert (await first).tolist() == [[2]]
        assert (await kept).tolist() == [[8]]
        with pytest.raises(DeadlineExceeded):
            await expired

    assert run(scenario).batches == [1, 1]


def test_a_run_that_takes_too_long_is_given_up_and_so_is_what_waits_for_it() -> None:
    async def scenario(batcher: Batcher, model: Doubler) -> None:
        model.go.clear()
        running, waiting, patient = (
            batcher.submit(rows(1), 0.05),
            batcher.submit(rows(2), 0.1),
            batcher.submit(rows(3), 9),
        )
        for late in (running, waiting):
            with pytest.raises(DeadlineExceeded):
                await asyncio.wait_for(late, 5)
        model.go.set()
        assert (await patient).tolist() == [[6]]

    assert run(scenario).batches == [1, 1]
