"""Batching while busy: every caller gets its own rows, and bad neighbours do no harm."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfaas.engine.batcher import Batcher
from tfaas.engine.turns import Turns
from tfaas.errors import DeadlineExceeded, ModelFailed, Overloaded
from tfaas.runtimes import FloatArray


class Doubler:
    """A model that doubles, remembers its batches, and waits to be let go where a test wants it to."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.threads: set[int] = set()
        self.go = threading.Event()
        self.go.set()

    def __call__(self, events: FloatArray) -> list[FloatArray]:
        self.batches.append(len(events))
        self.threads.add(threading.get_ident())
        assert self.go.wait(10)
        if (events < 0).any():
            raise ValueError("negative")
        return [events * 2, -events]


Scenario = Callable[[Batcher, Doubler], Awaitable[None]]


def run(
    scenario: Scenario, max_batch_size: int = 64, max_queue: int = 1000, parallel: int = 1, steady: bool = False
) -> Doubler:
    model = Doubler()

    async def main() -> None:
        limits = {"max_batch_size": max_batch_size, "max_queue": max_queue}
        await scenario(Batcher(model, Turns(executor), **limits, parallel=parallel, steady=steady), model)

    with ThreadPoolExecutor(4) as executor:
        asyncio.run(main())
    return model


def rows(*values: float) -> FloatArray:
    return np.array(values, np.float32)[:, None]


async def ask(batcher: Batcher, *values: float, seconds: float = 10) -> list[float]:
    return (await batcher.predict(rows(*values), seconds))[0][:, 0].tolist()


async def asked(batcher: Batcher, *values: float, seconds: float = 10) -> "asyncio.Task[list[float]]":
    """A request that has been put in the queue, and run where the model is idle."""
    task = asyncio.create_task(ask(batcher, *values, seconds=seconds))
    for _ in range(3):
        await asyncio.sleep(0)
    return task


request = st.tuples(
    st.integers(1, 9),  # events
    st.integers(0, 3),  # turns of the loop before the next one
    st.sampled_from(["waits", "waits", "waits", "fails", "leaves"]),
)


@given(st.lists(request, min_size=1, max_size=40), st.integers(1, 16), st.integers(1, 3), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_interleaving_gives_each_caller_its_own_rows_in_order(
    requests: list[tuple[int, int, str]], limit: int, parallel: int, steady: bool
) -> None:
    async def scenario(batcher: Batcher, model: Doubler) -> None:
        asked_for, start = [], 1
        for size, turns, kind in requests:
            events = np.arange(start, start + size, dtype=np.float32)[:, None]
            start += size
            if kind == "fails":
                events[size // 2] = -1
            task = asyncio.create_task(batcher.predict(events, 10))
            asked_for.append((events, task, kind))
            for _ in range(turns):
                await asyncio.sleep(0)
            if kind == "leaves":
                task.cancel()
        answers = await asyncio.gather(*(task for _, task, _ in asked_for), return_exceptions=True)
        for (events, _, kind), answer in zip(asked_for, answers, strict=True):
            if kind == "waits":
                doubled, negated = answer
                assert doubled.tolist() == (events * 2).tolist()
                assert negated.tolist() == (-events).tolist()
            elif kind == "fails":
                assert isinstance(answer, ModelFailed)

    model = run(scenario, limit, parallel=parallel, steady=steady)
    assert max(model.batches, default=0) <= limit


def test_an_idle_model_runs_at_once_and_a_busy_one_gathers() -> None:
    async def scenario(batcher: Batcher, model: Doubler) -> None:
        model.go.clear()
        answers = [await asked(batcher, value) for value in range(11)]
        model.go.set()
        assert await asyncio.gather(*answers) == [[2.0 * value] for value in range(11)]

    assert run(scenario).batches == [1, 10]


def test_what_arrives_together_runs_together() -> None:
    async def scenario(batcher: Batcher, model: Doubler) -> None:
        assert await asyncio.gather(*(ask(batcher, value) for value in range(10))) == [[2.0 * v] for v in range(10)]

    assert run(scenario).batches == [10]


def test_a_batch_keeps_to_its_limit_and_leaves_requests_whole_that_fit() -> None:
    async def scenario(batcher: Batcher, model: Doubler) -> None:
        model.go.clear()
        answers = [await asked(batcher, *range(3)) for _ in range(5)]
        model.go.set()
        await asyncio.gather(*answers)

    assert run(scenario, max_batch_size=7).batches == [3, 6, 6]


def test_a_large_request_is_split_and_joined_and_lets_small_ones_in_between() -> None:
    order: list[str] = []

    async def noted(name: str, answer: Awaitable[list[float]]) -> list[float]:
        result = await answer
        order.append(name)
        return result

    async def scenario(batcher: Batcher, model: Doubler) -> None:
        model.go.clear()
        large = asyncio.create_task(noted("large", await asked(batcher, *range(50))))
        small = asyncio.create_task(noted("small", await asked(batcher, 7)))
        model.go.set()
        assert await large == [2.0 * value for value in range(50)]
        assert await small == [14.0]

    assert max(run(scenario, max_batch_size=8).batches) == 8
    assert order == ["small", "large"]


def test_whole_batches_that_wait_run_side_by_side() -> None:
    async def scenario(batcher: Batcher, model: Doubler) -> None:
        model.go.clear()
        answer = await asked(batcher, *range(32))
        for _ in range(200):
            if len(model.batches) == 3:
                break
            await asyncio.sleep(0.01)
        assert model.batches == [8, 8, 8]
        model.go.set()
        assert await answer == [2.0 * value for value in range(32)]

    run(scenario, max_batch_size=8, parallel=3)


def test_runs_known_to_be_short_are_done_in_place_and_long_ones_are_not() -> None:
    async def scenario(batcher: Batcher, model: Doubler) -> None:
        for _ in range(3):
            await ask(batcher, 1)
        assert threading.get_ident() in model.threads
        model.threads.clear()
        model.go.clear()
        threading.Timer(0.05, model.go.set).start()
        await ask(batcher, *range(8))
        assert threading.get_ident() not in model.threads, "of this size nothing was known yet"

    run(scenario, steady=True)


def test_a_model_that_is_not_steady_never_runs_in_the_event_loop() -> None:
    async def scenario(batcher: Batcher, model: Doubler) -> None:
        for _ in range(5):
            await ask(batcher, 1)
        assert threading.get_ident() not in model.threads

    run(scenario)


def test_a_row_that_fails_does_not_fail_its_neighbours() -> None:
    async def scenario(batcher: Batcher, model: Doubler) -> None:
        model.go.clear()
        answers = [await asked(batcher, value) for value in (1, 2, -3, 4)]
        model.go.set()
        results = await asyncio.gather(*answers, return_exceptions=True)
        assert [results[index] for index in (0, 1, 3)] == [[2], [4], [8]]
        assert isinstance(results[2], ModelFailed)
        assert "negative" in str(results[2])

    run(scenario)


def test_past_the_bound_of_the_queue_the_answer_is_overloaded_at_once() -> None:
    async def scenario(batcher: Batcher, model: Doubler) -> None:
        model.go.clear()
        answers = [await asked(batcher, 1) for _ in range(5)]
        started = time.perf_counter()
        with pytest.raises(Overloaded, match="4 events are waiting"):
            await ask(batcher, 1)
        assert time.perf_counter() - started < 1
        model.go.set()
        await asyncio.gather(*answers)
        assert await ask(batcher, 1) == [2]

    run(scenario, max_queue=4)


def test_cancelled_and_expired_work_is_dropped_before_it_runs() -> None:
    async def scenario(batcher: Batcher, model: Doubler) -> None:
        model.go.clear()
        first = await asked(batcher, 1)
        cancelled, expired, kept = (
            await asked(batcher, 2),
            await asked(batcher, 3, seconds=0.01),
            await asked(batcher, 4),
        )
        cancelled.cancel()
        await asyncio.sleep(0.05)
        model.go.set()
        assert await first == [2]
        assert await kept == [8]
        with pytest.raises(DeadlineExceeded):
            await expired

    assert run(scenario).batches == [1, 1]


def test_a_run_that_takes_too_long_is_given_up_and_so_is_what_waits_for_it() -> None:
    async def scenario(batcher: Batcher, model: Doubler) -> None:
        model.go.clear()
        running, waiting, patient = (
            await asked(batcher, 1, seconds=0.05),
            await asked(batcher, 2, seconds=0.1),
            await asked(batcher, 3, seconds=9),
        )
        for late in (running, waiting):
            with pytest.raises(DeadlineExceeded):
                await asyncio.wait_for(late, 5)
        model.go.set()
        assert await patient == [6]

    assert run(scenario).batches == [1, 1]


def test_models_that_are_due_together_all_run_before_the_first_of_them_is_answered() -> None:
    happened: list[str] = []

    async def main(turns: Turns) -> None:
        def batcher(name: str) -> Batcher:
            def model(events: FloatArray) -> list[FloatArray]:
                happened.append(f"run {name}")
                return [events]

            return Batcher(model, turns, max_batch_size=8, max_queue=8, steady=True)

        batchers = {name: batcher(name) for name in "ab"}
        for one in batchers.values():
            await ask(one, 1)  # which is how they learn that their runs are short
        happened.clear()
        answered = asyncio.Event()
        for name, one in batchers.items():
            one.submit(rows(1), 10, lambda *_, name=name: (happened.append(f"answer {name}"), answered.set()))  # type: ignore[misc]
        await answered.wait()

    with ThreadPoolExecutor(1) as executor:
        asyncio.run(main(Turns(executor)))
    assert happened == ["run a", "run b", "answer a", "answer b"]
