"""Many events → requests of a size that servers take, and their answers → one array for each output."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._exceptions import InputError, MalformedResponseError

Outputs: TypeAlias = dict[str, NDArray[np.float32]]
"""An array (events, numbers) for each output; (events,) where the output is one number."""

Progress: TypeAlias = Callable[[int, int], object]
"""Is told how many events are done, of how many."""

BATCH_EVENTS = 10_000
BATCH_BYTES = 16 * 2**20
CONCURRENCY = 4


def batches(events: int, width: int, batch_events: int | None) -> Iterator[slice]:
    """Returns the events of each request, by default 10,000 and no more than 16 MiB; one without events for none.

    Raises:
        InputError: `batch_events` is out of range.
    """
    if batch_events is not None and batch_events < 1:
        raise InputError(f"batch_events is {batch_events}: expected 1 or more")
    size = batch_events or min(BATCH_EVENTS, max(1, BATCH_BYTES // (4 * width)))
    return (slice(start, min(start + size, events)) for start in range(0, max(1, events), size))


class Collected:
    """Collects the answers to all batches in order."""

    def __init__(self, events: int, progress: Progress | None) -> None:
        self._events = events
        self._progress = progress
        self._done = 0
        self._outputs: Outputs = {}

    def add(self, answer: Mapping[str, NDArray[np.float32]]) -> None:
        """Takes the next batch, each output as (events, numbers)."""
        if not self._outputs:
            self._outputs = {
                name: np.empty((self._events, output.shape[1]), np.float32) for name, output in answer.items()
            }
        shapes = {name: output.shape[1] for name, output in answer.items()}
        expected = {name: output.shape[1] for name, output in self._outputs.items()}
        if shapes != expected:
            raise MalformedResponseError(f"a batch has the outputs {shapes} where the first one has {expected}")
        count = len(next(iter(answer.values())))
        for name, output in answer.items():
            self._outputs[name][self._done : self._done + count] = output
        self._done += count
        if self._progress is not None:
            self._progress(self._done, self._events)

    @property
    def outputs(self) -> Outputs:
        return {name: output[:, 0] if output.shape[1] == 1 else output for name, output in self._outputs.items()}
