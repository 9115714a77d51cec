"""The command `mlaas`, which can be interrupted while it is being loaded."""

import os
import signal
from types import FrameType

from mlaas.interrupts import INTERRUPTED


def main() -> None:
    """Load and run the command line."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        # Of the modules that are imported, some swallow a KeyboardInterrupt.
        signal.signal(signal.SIGINT, _exit)
    from mlaas.cli import main as run

    signal.signal(signal.SIGINT, handler)
    run()


def _exit(number: int, frame: FrameType | None) -> None:
    os.write(2, b"mlaas: interrupted\n")
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
