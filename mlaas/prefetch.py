"""Reading ahead while the consumer works."""

import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


class _End:
    """The last thing in the queue: the items have ended, with ``error`` or without."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def read_ahead(items: Iterable[Item], depth: int = 1) -> Iterator[Item]:
    """Iterate over ``items`` on one background thread, at most ``depth`` items ahead of the consumer's.

    What ``items`` raises is raised to the consumer. When the consumer stops early the thread finishes the
    item it is at, closes ``items``, and has ended before the generator is closed.
    """
    finished: queue.SimpleQueue[Item | _End] = queue.SimpleQueue()
    # An item is begun when there is room for it, so that no more than depth + 1 of them are in memory.
    room = threading.Semaphore(depth)
    stopped = threading.Event()

    def work() -> None:
        error: BaseException | None = None
        try:
            iterator = iter(items)
            while room.acquire() and not stopped.is_set():
                finished.put(next(iterator))
        except StopIteration:
            pass
        except BaseException as raised:  # noqa: BLE001 - it is raised again, to the consumer
            error = raised
        finally:
            if isinstance(items, Generator):
                items.close()
        finished.put(_End(error))

    thread = threading.Thread(target=work, name="mlaas-read-ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(item := finished.get(), _End):
            room.release()
            yield item
            del item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        room.release()
        thread.join()
