"""Batching while busy: an idle model runs a request at once, arrivals meanwhile share the next run."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from tfaas.errors import DeadlineExceeded, ModelFailed, Overloaded
from tfaas.runtimes import FloatArray

TOO_LATE = "no answer within the time that a request may take"


@dataclass(slots=True)
class _Request:
    events: FloatArray
    answer: asyncio.Future[FloatArray]
    deadline: float
    alone: bool = False


class Batcher:
    """Queues the requests for one model and runs them in as few batches as fit.

    Requests whose caller has gone or whose deadline has passed are dropped before they run. When a batch fails, its
    requests are run one by one, so that one of them can't fail the others.
    """

    def __init__(
        self,
        run: Callable[[FloatArray], FloatArray],
        executor: Executor,
        max_batch_size: int,
        max_queue: int,
    ) -> None:
        self._run = run
        self._executor = executor
        self._max_batch_size = max_batch_size
        self._max_queue = max_queue
        self._queue: deque[_Request] = deque()
        self._waiting = 0
        self._running = False
        self._timer: asyncio.TimerHandle | None = None

    def submit(self, events: FloatArray, seconds: float) -> asyncio.Future[FloatArray]:
        """The future answer, (n, outputs), for events of shape (n, width).

        Raises:
            Overloaded: too many events are waiting already.
        """
        if self._waiting and self._waiting + len(events) > self._max_queue:
            raise Overloaded(f"{self._waiting} events are waiting for this model: expected at most {self._max_queue}")
        loop = asyncio.get_running_loop()
        request = _Request(events, loop.create_future(), loop.time() + seconds)
        self._queue.append(request)
        self._waiting += len(events)
        if not self._running:
            self._start(loop)
        return request.answer

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        batch = self._next_batch(loop.time())
        self._running = bool(batch)
        if not batch:
            return
        events = batch[0].events if len(batch) == 1 else np.concatenate([request.events for request in batch])
        # One timer a batch and not one a request, which would cost a tenth of the throughput.
        self._timer = loop.call_at(batch[0].deadline, self._expire, loop, batch)
        run = loop.run_in_executor(self._executor, self._run, events)
        run.add_done_callback(lambda done: self._finish(loop, batch, done))

    def _expire(self, loop: asyncio.AbstractEventLoop, batch: list[_Request]) -> None:
        """Give up all whose deadline has passed while a batch runs, and look again for the others."""
        pending = []
        for request in (*batch, *self._queue):
            if request.answer.done():
                continue
            if request.deadline > loop.time():
                pending.append(request.deadline)
            else:
                request.answer.set_exception(DeadlineExceeded(TOO_LATE))
        if pending:
            self._timer = loop.call_at(min(pending), self._expire, loop, batch)

    def _next_batch(self, now: float) -> list[_Request]:
        batch: list[_Request] = []
        size = 0
        while self._queue:
            request = self._queue[0]
            if batch and (size + len(request.events) > self._max_batch_size or request.alone or batch[0].alone):
                break
            self._queue.popleft()
            self._waiting -= len(request.events)
            if request.answer.done():
                continue
            if request.deadline <= now:
                request.answer.set_exception(DeadlineExceeded(TOO_LATE))
                continue
            batch.append(request)
            size += len(request.events)
        return batch

    def _finish(self, loop: asyncio.AbstractEventLoop, batch: list[_Request], done: asyncio.Future[FloatArray]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        error = done.exception()
        if error is None:
            start, answers = 0, done.result()
            for request in batch:
                if not request.answer.done():
                    request.answer.set_result(answers[start : start + len(request.events)])
                start += len(request.events)
        elif len(batch) > 1:
            for request in reversed(batch):
                request.alone = True
                self._queue.appendleft(request)
                self._waiting += len(request.events)
        elif not batch[0].answer.done():
            failure = ModelFailed(f"the model failed: {(str(error) or type(error).__name__).splitlines()[0][:500]}")
            failure.__cause__ = error
            batch[0].answer.set_exception(failure)
        self._start(loop)
