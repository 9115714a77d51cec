"""A bounded number of events, for frameworks that need all of theirs at once."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mlaas.dataset import Chunk, EventData, Part
from mlaas.trainers import FloatArray


def collect_sample(dataset: EventData, limit: int, part: Part) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    """At most `limit` events of a part, spread evenly over all of it.

    The whole part is read: its first chunks would show but some stretches of each file, and runs or
    processes that lie one after the other in a file would be missing.

    Returns:
        (n, width) normalised, (n,) labels and (n,) weights, which are None where the events have none.
    """
    kept = min(limit, dataset.counts[part])
    x = np.empty((kept, len(dataset.columns)), np.float32)
    y = np.empty(kept, np.float32)
    weights = np.empty(kept, np.float32) if dataset.weighted else None
    filled = 0
    for chunk, rows in spread(dataset, limit, part):
        place = slice(filled, filled + len(rows))
        x[place], y[place] = chunk.x[rows], chunk.y[rows]
        if weights is not None and chunk.weights is not None:
            weights[place] = chunk.weights[rows]
        filled += len(rows)
    return x, y, weights


def spread(dataset: EventData, limit: int, part: Part) -> Iterator[tuple[Chunk, NDArray[np.int64]]]:
    """Chunks of a part, each with those of its rows that are among at most `limit` events spread evenly over all."""
    total = dataset.counts[part]
    kept = min(limit, total)
    seen = filled = 0
    for chunk in dataset.chunks(part):
        seen += len(chunk.y)
        if share := seen * kept // total - filled:
            yield chunk, np.arange(share) * len(chunk.y) // share
            filled += share
