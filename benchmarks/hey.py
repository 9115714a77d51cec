"""Load by `hey`, a client written in Go, with what it measures."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Load:
    """What a client has measured: requests a second, milliseconds, and requests that were not answered with 200."""

    rate: float
    p50: float
    p99: float
    failures: int


def hey(url: str, body: Path, clients: int, requests: int, keep_alive: bool = True) -> Load:
    command = ["hey", "-c", str(clients), "-n", str(requests), "-m", "POST", "-D", str(body)]
    command += [] if keep_alive else ["-disable-keepalive"]
    done = subprocess.run([*command, url], capture_output=True, text=True, check=True)
    answered = _number(r"\[200\]\s+(\d+) responses", done.stdout)
    # hey shares the requests out evenly and leaves out the rest.
    return Load(
        _number(r"Requests/sec:\s+([\d.]+)", done.stdout),
        1000 * _number(r"50% in ([\d.]+) secs", done.stdout),
        1000 * _number(r"99% in ([\d.]+) secs", done.stdout),
        requests // clients * clients - int(answered),
    )


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    return float(found[1]) if found else 0.0
