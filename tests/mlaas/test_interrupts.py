"""Ctrl-C before a command has begun."""

import signal
import subprocess
import sys

# Tells when the command begins to import, and goes no further.
TELLING = """
import sys
import time
from mlaas.__main__ import main

class Telling:
    def find_spec(self, name, path, target=None):
        if name == "mlaas.cli":
            print(flush=True)
            time.sleep(60)

sys.meta_path.insert(0, Telling())
main()
"""


def test_an_interrupt_while_it_is_loaded_exits_130_with_one_line() -> None:
    command = [sys.executable, "-c", TELLING, "train", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as loading:
        assert loading.stdout is not None
        assert loading.stderr is not None
        loading.stdout.readline()
        loading.send_signal(signal.SIGINT)
        assert (loading.wait(10), loading.stderr.read()) == (130, "mlaas: interrupted\n")
