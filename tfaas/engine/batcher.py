"""Batching while busy: an idle model runs at once, what arrives meanwhile shares the next run."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

import numpy as np

from tfaas.engine.turns import Answer, Turns
from tfaas.errors import DeadlineExceeded, ModelFailed, Overloaded, TFaaSError
from tfaas.runtimes import FloatArray

# The outputs of a batch, each (n, numbers an event).
Outputs = Sequence[FloatArray]
# Called once, in the event loop: with the outputs of a batch and the first and last event of the request in it, or with
# an error.
Done = Callable[[Outputs, int, int, TFaaSError | None], None]

TOO_LATE = "no answer within the time that a request may take"
# To hand a run to a thread and get it back takes about half of this, of this thread and of the other. In a thread that
# waits for Python's lock, short runs seem no shorter than that: with a lower limit they would stay there.
HAND_OVER_SECONDS = 100e-6
# A longer run would hold up other models.
IN_PLACE_SECONDS = 2e-3


@dataclass(slots=True, eq=False)
class Ticket:
    """A request on its way through the batcher; `cancel` when nobody waits for its answer any more."""

    events: FloatArray
    deadline: float
    done: Done | None
    taken: int = 0
    finished: int = 0
    parts: list[tuple[int, Outputs]] | None = None

    def cancel(self) -> None:
        self.done = None

    def waits(self, now: float) -> bool:
        """Whether somebody still waits for the answer; who has waited too long is told so."""
        if self.deadline <= now:
            self.fail(DeadlineExceeded(TOO_LATE))
        return self.done is not None

    def join(self, first: int, outputs: Outputs) -> None:
        """Take in the answers to a part of the events, and answer once all are there."""
        self.parts = self.parts or []
        self.parts.append((first, outputs))
        self.finished += len(outputs[0])
        if self.finished == len(self.events):
            self.parts.sort(key=lambda part: part[0])
            joined = [np.concatenate(output) for output in zip(*(part for _, part in self.parts), strict=True)]
            self.answer(joined, 0, self.finished)

    def answer(self, outputs: Outputs, start: int, stop: int) -> None:
        if self.done is not None:
            done, self.done = self.done, None
            done(outputs, start, stop, None)

    def fail(self, error: TFaaSError) -> None:
        if self.done is not None:
            done, self.done = self.done, None
            done((), 0, 0, error)


@dataclass(slots=True)
class _Piece:
    """Events `start` to `stop` of a ticket."""

    ticket: Ticket
    start: int
    stop: int

    @property
    def events(self) -> FloatArray:
        events = self.ticket.events
        return events if self.stop - self.start == len(events) else events[self.start : self.stop]


class Batcher:
    """Queues the requests for one model and runs them in as few batches as fit.

    A request with more events than a batch takes is split, and its answers are joined. One batch runs at a time, and
    more of them as long as whole batches are waiting and `parallel` allows. Requests whose caller has gone or whose
    deadline has passed are dropped before they run. When a batch fails, its requests are run one by one, so that one of
    them can't fail the others.

    Args:
        run: takes (n, width) events and gives the outputs; called in the executor of `turns`.
        steady: whether the time that `run` takes depends on nothing but the number of events. Runs that are known to
            be short are then done in the event loop itself.
    """

    def __init__(
        self,
        run: Callable[[FloatArray], Outputs],
        turns: Turns,
        *,
        max_batch_size: int,
        max_queue: int,
        parallel: int = 1,
        steady: bool = False,
    ) -> None:
        self._run = run
        self._turns = turns
        self._max_batch_size = max_batch_size
        self._max_queue = max_queue
        self._parallel = parallel
        self._steady = steady
        self._queue: deque[Ticket] = deque()
        self._waiting = 0
        self._queued = 0
        self._retries: deque[_Piece] = deque()
        self._running: dict[int, list[_Piece]] = {}
        self._runs = 0
        self._scheduled = False
        # By the number of binary digits of the number of events: what a run took lately.
        self._seconds: dict[int, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = np.inf

    def submit(self, events: FloatArray, seconds: float, done: Done) -> Ticket:
        """Have `done` called with the answers to events of shape (n, width), within `seconds`.

        Raises:
            Overloaded: too many events are waiting already.
        """
        if self._queued and self._queued + self._share(events) > self._max_queue:
            raise Overloaded(f"{self._queued} events are waiting for this model: expected at most {self._max_queue}")
        ticket = Ticket(events, self._turns.loop.time() + seconds, done)
        self._queue.append(ticket)
        self._waiting += len(events)
        self._queued += self._share(events)
        if not self._scheduled and (not self._running or self._waiting >= self._max_batch_size):
            self._scheduled = True
            self._turns.add(self._start)
        return ticket

    async def predict(self, events: FloatArray, seconds: float) -> list[FloatArray]:
        """All outputs, each (n, numbers an event), for events of shape (n, width); raises TFaaSError."""
        answer: asyncio.Future[list[FloatArray]] = asyncio.get_running_loop().create_future()

        def done(outputs: Outputs, start: int, stop: int, error: TFaaSError | None) -> None:
            if answer.done():
                return
            if error is None:
                answer.set_result([output[start:stop] for output in outputs])
            else:
                answer.set_exception(error)

        ticket = self.submit(events, seconds, done)
        try:
            return await answer
        finally:
            ticket.cancel()

    def _start(self) -> Answer | None:
        """Run the next batch, and more where whole batches wait; what a run in place has to answer."""
        self._scheduled = False
        loop = self._turns.loop
        while (self._queue or self._retries) and len(self._running) < self._parallel:
            if self._running and self._waiting < self._max_batch_size and not self._retries:
                return None
            batch = self._next_batch(loop.time())
            if not batch:
                return None
            pieces = [piece.events for piece in batch]
            events = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
            if self._steady and self._is_short(len(events)):
                answer = self._run_in_place(batch, events)
                if self._queue or self._retries:
                    self._scheduled = True
                    self._turns.add(self._start)
                return answer
            self._runs += 1
            number = self._runs
            self._running[number] = batch
            self._watch(loop, min(piece.ticket.deadline for piece in batch))
            run = self._turns.executor.submit(self._timed, events)
            run.add_done_callback(partial(_tell, loop, self._finish, number))
        return None

    def _is_short(self, events: int) -> bool:
        """Whether to run in place. While a thread runs, others can join the next batch: where most have, none will."""
        seconds = self._seconds.get(events.bit_length(), np.inf)
        return seconds < HAND_OVER_SECONDS or (seconds < IN_PLACE_SECONDS and 2 * events >= self._turns.clients())

    def _run_in_place(self, batch: list[_Piece], events: FloatArray) -> Answer | None:
        try:
            outputs, seconds = self._timed(events)
        except Exception as error:  # noqa: BLE001 - whatever a model raises is told to those who asked it
            self._failed(batch, error)
            return None
        self._learn(len(events), seconds)
        return partial(self._answer, batch, outputs)

    def _learn(self, events: int, seconds: float) -> None:
        """A short run is believed at once, a long one may have waited for something else and counts little."""
        size = events.bit_length()
        self._seconds[size] = min(seconds, 1.1 * self._seconds.get(size, np.inf))

    def _timed(self, events: FloatArray) -> tuple[Outputs, float]:
        started = time.perf_counter()
        outputs = self._run(events)
        return outputs, time.perf_counter() - started

    def _next_batch(self, now: float) -> list[_Piece]:
        while self._retries:
            piece = self._retries.popleft()
            if piece.ticket.waits(now):
                return [piece]
        if self._waiting <= self._max_batch_size:
            # Whoever is told here to have waited too long may ask again at once.
            tickets, self._queue = self._queue, deque()
            self._waiting = self._queued = 0
            return [_Piece(ticket, ticket.taken, len(ticket.events)) for ticket in tickets if ticket.waits(now)]
        batch: list[_Piece] = []
        room = self._max_batch_size
        while self._queue and room:
            ticket = self._queue[0]
            left = len(ticket.events) - ticket.taken
            waits = ticket.waits(now)
            if waits and batch and room < left <= self._max_batch_size:
                break  # it fits into the next batch as a whole
            self._queue.popleft()
            self._waiting -= left
            if not waits:
                self._queued -= self._share(ticket.events)
                continue
            count = min(left, room)
            batch.append(_Piece(ticket, ticket.taken, ticket.taken + count))
            ticket.taken += count
            room -= count
            if count < left:
                # The rest goes behind the others, so that a large request holds up no small ones.
                self._queue.append(ticket)
                self._waiting += left - count
            else:
                self._queued -= self._share(ticket.events)
        return batch

    def _share(self, events: FloatArray) -> int:
        """How much a request counts in the queue: a large one holds up no others, and counts as one batch."""
        return min(len(events), self._max_batch_size)

    def _finish(self, number: int, run: Future[tuple[Outputs, float]]) -> None:
        batch = self._running.pop(number)
        error = run.exception()
        if error is None:
            outputs, seconds = run.result()
            self._learn(sum(piece.stop - piece.start for piece in batch), seconds)
            self._answer(batch, outputs)
        else:
            self._failed(batch, error)
        if not self._running and self._timer is not None:
            self._timer.cancel()
            self._timer, self._timer_at = None, np.inf
        answer = self._start()
        if answer is not None:
            answer()

    def _answer(self, batch: list[_Piece], outputs: Outputs) -> None:
        start = 0
        for piece in batch:
            ticket, count = piece.ticket, piece.stop - piece.start
            if count == len(ticket.events):
                ticket.answer(outputs, start, start + count)
            else:
                ticket.join(piece.start, [output[start : start + count] for output in outputs])
            start += count

    def _failed(self, batch: list[_Piece], error: BaseException) -> None:
        if len(batch) == 1:
            failure = ModelFailed(f"the model failed: {(str(error) or type(error).__name__).splitlines()[0][:500]}")
            failure.__cause__ = error
            batch[0].ticket.fail(failure)
            return
        self._retries.extend(batch)

    def _watch(self, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        """One timer for all who wait, and not one a request, which would cost a tenth of the throughput."""
        if deadline < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._timer_at = loop.call_at(deadline, self._expire, loop), deadline

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give up all whose deadline has passed while batches run, and look again for the others."""
        self._timer, self._timer_at = None, np.inf
        pending = np.inf
        waiting = [piece.ticket for batch in (*self._running.values(), self._retries) for piece in batch]
        for ticket in (*waiting, *self._queue):
            if ticket.done is None:
                continue
            if ticket.deadline > loop.time():
                pending = min(pending, ticket.deadline)
            else:
                ticket.fail(DeadlineExceeded(TOO_LATE))
        if pending < np.inf:
            self._watch(loop, pending)


def _tell(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *arguments: object) -> None:
    """Call back in the event loop, unless the server has ended meanwhile."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(callback, *arguments)
