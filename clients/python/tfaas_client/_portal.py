"""An event loop in a thread of its own, for callers that have none."""

import asyncio
import os
import threading
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

from ._in_order import InOrder

Result = TypeVar("Result")
END = object()


class Portal:
    """Runs coroutines for any thread; one that is interrupted while it waits takes its coroutine back."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name="tfaas-client", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """False in a process that was forked from the one with the thread."""
        return self._process == os.getpid()

    def call(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Returns what `coroutine` does."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()

    def iterate(self, answers: InOrder[Any, Result]) -> Generator[Result, None, None]:
        """Yields each answer; the work that was begun goes on meanwhile, and ends with the iteration."""
        try:
            while (answer := self.call(_next(answers))) is not END:
                yield answer  # type: ignore[misc]
        finally:
            self.call(answers.aclose())

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Runs `last` and ends the thread; waits for it, except where the thread itself collects garbage."""
        asyncio.run_coroutine_threadsafe(self._end(last), self._loop)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    async def _end(self, last: Coroutine[Any, Any, None]) -> None:
        try:
            await last
        finally:
            self._loop.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()


async def _next(answers: InOrder[Any, Result]) -> Result | object:
    return await anext(answers, END)
