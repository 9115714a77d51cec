"""The turns of the event loop, in which the batchers of a worker run what has arrived."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor

# Answers wait for the runs of other models no longer than this.
HOLD_SECONDS = 1e-3

Answer = Callable[[], None]
# Runs what is due; what it gives is called to tell the outputs.
Start = Callable[[], Answer | None]


class Turns:
    """What the batchers share: in each turn of the loop all short runs are made first, and then answered.

    The same code again and again finds itself in the caches of the processor, which a network of a few thousand weights
    and the system's calls that send an answer would else drive each other out of.

    Args:
        executor: for the runs that are not short.
        clients: how many there are, of whom each may have a request on its way.
    """

    def __init__(self, executor: Executor, clients: Callable[[], float] = lambda: 0) -> None:
        self.executor = executor
        self.clients = clients
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due: list[Start] = []

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            # Asking for it is a system call on Python 3.11: that was a fifth of the time of a request.
            self._loop = asyncio.get_running_loop()
        return self._loop

    def add(self, start: Start) -> None:
        """Have `start` called once what has arrived together is decoded: later in this turn, not after a delay."""
        if not self._due:
            self.loop.call_soon(self._run)
        self._due.append(start)

    def _run(self) -> None:
        due, self._due = self._due, []
        answers: list[Answer] = []
        since = time.perf_counter()
        for start in due:
            answer = start()
            if answer is not None:
                answers.append(answer)
                if time.perf_counter() - since > HOLD_SECONDS:
                    _tell(answers)
                    since = time.perf_counter()
        _tell(answers)


def _tell(answers: list[Answer]) -> None:
    for answer in answers:
        answer()
    answers.clear()
