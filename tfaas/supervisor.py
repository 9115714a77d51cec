"""A server that a native library has ended is started again."""

import logging
import os
import signal
import socket
import sys
import time

from tfaas.sandbox import end_with_parent

# A server that is ended so soon so many times in a row is broken, and would be again. A model that a client insists on
# is quarantined before that.
SHORT_LIFE, MOST_SHORT_LIVES = 5.0, 5
FORWARDED = (signal.SIGINT, signal.SIGTERM)

log = logging.getLogger(__name__)


def go_on_in_a_child(listener: socket.socket) -> None:
    """Return in a child process, and in another one whenever a signal has ended the last; this process only waits.

    It keeps `listener` open, so that who connects meanwhile waits. It passes on what it is told by SIGINT and SIGTERM,
    and exits with the child's exit code. The child ends with it.
    """
    parent, short_lives = os.getpid(), 0
    while True:
        started = time.monotonic()
        child = os.fork()
        if not child:
            os.setpgid(0, 0)  # a terminal's Ctrl-C comes through the parent, and once
            end_with_parent(parent)
            return
        code = _wait(child, listener)
        if code >= 0:
            sys.exit(code)
        name = signal.Signals(-code).name
        short_lives = short_lives + 1 if time.monotonic() - started < SHORT_LIFE else 0
        if short_lives == MOST_SHORT_LIVES:
            log.error("the server was ended by %s as soon as it was started, %d times in a row", name, short_lives)
            sys.exit(1)
        log.error("the server was ended by %s and is started again", name)


def _wait(child: int, listener: socket.socket) -> int:
    """The exit code, or the negative number of the signal that ended it although this process was told nothing."""
    told: list[int] = []

    def pass_on(number: int, frame: object) -> None:
        told.append(number)
        listener.close()  # nobody shall wait for a server that ends
        os.kill(child, number)

    before = {number: signal.signal(number, pass_on) for number in FORWARDED}
    _, status = os.waitpid(child, 0)
    for number, handler in before.items():
        signal.signal(number, handler)
    code = os.waitstatus_to_exitcode(status)
    if code < 0 and told:
        return 130 if told[0] == signal.SIGINT else 0  # it was still starting, and had nothing to answer
    return code
