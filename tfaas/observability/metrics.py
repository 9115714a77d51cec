"""What a worker counts."""

import time
from collections import Counter


class Metrics:
    """Counters of one worker since its start."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.requests: Counter[str] = Counter()
        self.events = 0
        self.unexpected = 0

    @property
    def uptime(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started
