"""Reading ahead while the consumer works."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


class _End:
    """The last thing in the queue: the items have ended, with ``error`` or without."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def read_ahead(items: Iterable[Item], depth: int = 1) -> Iterator[Item]:
    """Iterate over ``items`` on one background thread, at most ``depth`` finished items ahead.

    What ``items`` raises is raised to the consumer. When the consumer stops early the thread finishes the
    item it is at, and has ended before the generator is closed.
    """
    finished: queue.Queue[Item | _End] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def work() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                finished.put(item)
                if stopped.is_set():
                    break
        except BaseException as raised:  # noqa: BLE001 - it is raised again, to the consumer
            error = raised
        finished.put(_End(error))

    thread = threading.Thread(target=work, name="mlaas-read-ahead", daemon=True)
    thread.start()
    ended = False
    try:
        while not isinstance(item := finished.get(), _End):
            yield item
        ended = True
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        while not ended:
            ended = isinstance(finished.get(), _End)
        thread.join()
