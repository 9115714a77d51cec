"""A dataset as the training loops of frameworks take it."""

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlaas.dataset.chunks import Chunk
from mlaas.dataset.split import Part
from mlaas.errors import ParameterError

if TYPE_CHECKING:
    from mlaas.dataset.base import EventData

Batch = tuple[NDArray[np.float32], ...]


def batches(dataset: "EventData", part: Part, batch_size: int, epoch: int = 0) -> Iterator[Batch]:
    """All events of ``part``, each once, in batches of ``batch_size`` across the chunks; the last may be smaller.

    Returns:
        x float32 (n, width) and y float32 (n,), and the weights float32 (n,) where the events have some.
    """
    if batch_size < 1:
        raise ParameterError(f"batch_size: {batch_size} is given; expected at least 1")
    rest: Batch | None = None
    for chunk in dataset.chunks(part, epoch):
        arrays = _arrays(chunk)
        if rest is not None:
            missing = batch_size - len(rest[0])
            rest = tuple(np.concatenate([old, new[:missing]]) for old, new in zip(rest, arrays, strict=True))
            arrays = tuple(new[missing:] for new in arrays)
            if len(rest[0]) < batch_size:
                continue
            yield rest
        whole = len(arrays[0]) - len(arrays[0]) % batch_size
        for start in range(0, whole, batch_size):
            yield tuple(array[start : start + batch_size] for array in arrays)
        # A copy, so that the chunk can go.
        rest = tuple(array[whole:].copy() for array in arrays) if whole < len(arrays[0]) else None
    if rest is not None:
        yield rest


def tensorflow_dataset(dataset: "EventData", part: Part, batch_size: int) -> Any:
    """See :meth:`mlaas.dataset.base.EventData.tensorflow`."""
    import tensorflow as tf

    epochs = itertools.count()
    shapes: list[tuple[int | None, ...]] = [(None, len(dataset.columns)), (None,)]
    if dataset.weighted:
        shapes.append((None,))
    signature = tuple(tf.TensorSpec(shape, tf.float32) for shape in shapes)
    stream = tf.data.Dataset.from_generator(
        lambda: batches(dataset, part, batch_size, next(epochs)), output_signature=signature
    )
    number = -(-dataset.counts[part] // batch_size)
    return stream.apply(tf.data.experimental.assert_cardinality(number))


def torch_dataset(dataset: "EventData", part: Part, batch_size: int) -> Any:
    """See :meth:`mlaas.dataset.base.EventData.torch`."""
    import torch
    from torch.utils.data import IterableDataset, get_worker_info

    class Batches(IterableDataset):  # type: ignore[misc,type-arg,unused-ignore]
        """The batches of one part; every iteration is the next epoch."""

        def __init__(self) -> None:
            self._epochs = itertools.count()

        def __len__(self) -> int:
            return -(-dataset.counts[part] // batch_size)

        def __iter__(self) -> Iterator[tuple[Any, ...]]:
            if get_worker_info() is not None:
                raise ParameterError("num_workers: the dataset reads ahead itself; expected 0")
            for batch in batches(dataset, part, batch_size, next(self._epochs)):
                yield tuple(torch.from_numpy(array) for array in batch)

    return Batches()


def _arrays(chunk: Chunk) -> Batch:
    return (chunk.x, chunk.y) if chunk.weights is None else (chunk.x, chunk.y, chunk.weights)
