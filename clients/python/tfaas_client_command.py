"""Where the `tfaas-client` command begins: an interrupt is silent even while the package is being imported."""

import os
import signal

INTERRUPTED = 130


def main() -> int:
    """Runs the command line and returns its exit code."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        # Of the modules that are imported, some swallow a KeyboardInterrupt.
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    try:
        from tfaas_client.cli import main as run

        signal.signal(signal.SIGINT, handler)
        return run()
    except KeyboardInterrupt:
        return INTERRUPTED
