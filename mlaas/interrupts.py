"""Ctrl-C at a place where work can be saved."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130  # the exit code
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """Work has ended early, after it was saved; the message says how to go on."""

    def _render_traceback_(self) -> list[str]:
        """What IPython and Jupyter show: the line that says it all."""
        return [f"{type(self).__name__}: {self}"]


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Note the first Ctrl-C, or what batch systems send, instead of being interrupted; the second one interrupts.

    Yields:
        Whether there was one. Only the main thread gets signals: elsewhere there never is.
    """
    asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, note)
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
