"""Several things at a time, and their results in order."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, Self, TypeVar

from ._exceptions import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")


class InOrder(Generic[Item, Result]):
    """Iterates over what `work` makes of each item, with no more than `concurrency` of them begun and not yet taken.

    Used as a context it leaves nothing running behind.
    """

    def __init__(
        self, work: Callable[[Item], Coroutine[Any, Any, Result]], items: Iterable[Item], concurrency: int
    ) -> None:
        _check(concurrency)
        self._work = work
        self._items = iter(items)
        self._concurrency = concurrency
        self._running: deque[asyncio.Task[Result]] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Result:
        for item in self._items:
            self._running.append(asyncio.create_task(self._work(item)))
            if len(self._running) >= self._concurrency:
                break
        if not self._running:
            raise StopAsyncIteration
        return await self._running.popleft()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Cancels what still runs."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running.clear()


def in_order(work: Callable[[Item], Result], items: Iterable[Item], concurrency: int) -> Generator[Result, None, None]:
    """The same by threads. When it is left, what they still work on isn't waited for."""
    _check(concurrency)
    if concurrency == 1:
        yield from map(work, items)
        return
    running: deque[Future[Result]] = deque()
    threads = ThreadPoolExecutor(concurrency, "tfaas-client")
    try:
        for item in items:
            running.append(threads.submit(work, item))
            if len(running) >= concurrency:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def _check(concurrency: int) -> None:
    if concurrency < 1:
        raise InputError(f"concurrency is {concurrency}: expected 1 or more")
