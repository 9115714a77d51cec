"""A bounded number of events, for frameworks that need all of theirs at once."""

import numpy as np

from mlaas.dataset import EventData, Part
from mlaas.trainers import FloatArray


def collect_sample(dataset: EventData, limit: int, part: Part) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    """At most `limit` events of a part, spread evenly over all of it.

    The whole part is read: its first chunks would show but some stretches of each file, and runs or
    processes that lie one after the other in a file would be missing.

    Returns:
        (n, width) normalised, (n,) labels and (n,) weights, which are None where the events have none.
    """
    total = dataset.counts[part]
    kept = min(limit, total)
    x = np.empty((kept, len(dataset.columns)), np.float32)
    y = np.empty(kept, np.float32)
    weights = np.empty(kept, np.float32) if dataset.weighted else None
    seen = filled = 0
    for chunk in dataset.chunks(part):
        seen += len(chunk.y)
        share = seen * kept // total - filled
        rows = np.arange(share) * len(chunk.y) // max(share, 1)
        place = slice(filled, filled + share)
        x[place], y[place] = chunk.x[rows], chunk.y[rows]
        if weights is not None and chunk.weights is not None:
            weights[place] = chunk.weights[rows]
        filled += share
    return x, y, weights
