"""A training that does not outlive the sweep that has started it: ``python -m mlaas.sweep.child PID train …``."""

import ctypes
import os
import signal
import sys

from mlaas.cli import main

PR_SET_PDEATHSIG = 1


def run(parent: int) -> None:
    """Train; where the process ``parent`` dies, the training saves itself and ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == parent:  # else it has died meanwhile
        main()


if __name__ == "__main__":
    owner = int(sys.argv.pop(1))
    sys.argv[0] = "mlaas"
    run(owner)
