"""The model run in this process by ONNX Runtime."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from mlaas.errors import one_line
from mlaas.scoring.errors import ScoringError
from mlaas.scoring.model import FloatArray, Model

# Of a run: few enough that what a graph makes of them stays near a core, and its memory small.
RUN_BYTES, RUN_EVENTS = 512 << 10, 2048
ERRORS_ONLY = 3


class SessionScorer:
    """Runs a model on all cores, a slice of the events on each; see :class:`mlaas.scoring.model.Scorer`.

    Args:
        path: The ONNX file that the registry serves.
        signature: Its inputs, each with name, dtype and shape, the first dimension being that of the events.

    Raises:
        ScoringError: ONNX Runtime can't load it.
    """

    def __init__(self, model: Model, path: Path, signature: Mapping[str, Any]) -> None:
        self.model = model
        self._inputs: Sequence[Mapping[str, Any]] = signature["inputs"]
        self._batch: int | None = self._inputs[0]["shape"][0]
        self._rows = self._batch or max(1, min(RUN_EVENTS, RUN_BYTES // (4 * model.width)))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = ERRORS_ONLY
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ScoringError(f"{model.reference} does not load: {one_line(str(error))[:300]}") from error
        self._pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)), "mlaas-score")

    def predict(self, events: FloatArray) -> list[FloatArray]:
        """See :class:`mlaas.scoring.model.Scorer`."""
        slices = [events[start : start + self._rows] for start in range(0, len(events), self._rows)]
        parts = list(self._pool.map(self._run, slices))
        return [np.concatenate(output) for output in zip(*parts, strict=True)]

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _run(self, events: FloatArray) -> list[FloatArray]:
        count = len(events)
        if self._batch is not None and count < self._batch:
            # A graph for a fixed number of events; the answers to the copies are dropped.
            events = np.concatenate([events, np.repeat(events[-1:], self._batch - count, axis=0)])
        try:
            answers = self._session.run(list(self.model.outputs), self._split(events))
        except Exception as error:
            raise ScoringError(f"{self.model.reference} fails: {one_line(str(error))[:300]}") from error
        for name, answer in zip(self.model.outputs, answers, strict=True):
            if answer.ndim == 0 or len(answer) != len(events):
                raise ScoringError(
                    f"output {name!r} of {self.model.reference} has the shape {answer.shape} for {len(events)} events:"
                    " expected numbers for each"
                )
        return [np.asarray(answer[:count], np.float32).reshape(count, -1) for answer in answers]

    def _split(self, events: FloatArray) -> dict[str, NDArray[Any]]:
        """Input → its numbers, in its shape and dtype."""
        arrays, start = {}, 0
        for spec in self._inputs:
            shape = spec["shape"][1:]
            numbers = events[:, start : start + prod(shape)]
            given = np.ascontiguousarray(numbers, spec["dtype"])
            if given.dtype.kind not in "f" and not np.array_equal(given, numbers):
                raise ScoringError(
                    f"input {spec['name']!r} of {self.model.reference} takes {spec['dtype']}, and some values are no"
                    " such numbers"
                )
            arrays[spec["name"]] = given.reshape(len(events), *shape)
            start += numbers.shape[1]
        return arrays
