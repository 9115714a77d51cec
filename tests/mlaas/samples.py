"""Files whose content is known, and what a matrix made of them has to be, computed event by event."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

FLAT_TYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "bool"]
JAGGED_TYPES = ["int8", "uint8", "int32", "int64", "float32", "float64", "bool"]


@dataclass
class Sample:
    """A file and its content.

    Attributes:
        flat: Branch → values of all events. jagged: branch → list of the values of each event.
    """

    path: Path
    flat: dict[str, np.ndarray] = field(default_factory=dict)
    jagged: dict[str, list[np.ndarray]] = field(default_factory=dict)

    @property
    def entries(self) -> int:
        return len(next(iter(self.flat.values())))

    def __str__(self) -> str:
        return str(self.path)


def numbers(rng: np.random.Generator, dtype: str, size: int) -> np.ndarray:
    """Random numbers that use the range of ``dtype``."""
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return rng.integers(0, 2, size).astype(bool)
    if kind.kind == "f":
        return rng.normal(0, 100, size).astype(kind)
    limits = np.iinfo(kind)
    return rng.integers(limits.min, limits.max, size, dtype=kind)


def make_sample(path: Path, entries: int = 200, seed: int = 1, form: str = "ttree", step: int = 64) -> Sample:
    """Write a file with branches of all types: ``i_int8`` is flat, ``v_float32`` is jagged.

    ``met`` and ``pt``, ``eta`` are what physics has; ``pt`` and ``eta`` have equal numbers of objects.
    """
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 5, entries)
    sample = Sample(path)
    sample.flat = {f"i_{one}": numbers(rng, one, entries) for one in FLAT_TYPES}
    sample.flat["met"] = rng.exponential(50, entries).astype("f4")
    for one in JAGGED_TYPES:
        sizes = rng.integers(0, 4, entries)
        sample.jagged[f"v_{one}"] = split(numbers(rng, one, int(sizes.sum())), sizes)
    for one in ("pt", "eta"):
        sample.jagged[one] = split(rng.normal(30, 10, int(counts.sum())).astype("f4"), counts)
    write(sample, form, step)
    return sample


def split(values: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
    return np.split(values, np.cumsum(counts)[:-1])


def jagged(lists: list[Any], dtype: str | np.dtype = "float32") -> ak.Array:
    content = np.concatenate([np.asarray(one, dtype=dtype) for one in lists] or [np.zeros(0, dtype)])
    return ak.unflatten(content, [len(one) for one in lists])


def write(sample: Sample, form: str = "ttree", step: int = 64, tree: str = "events") -> None:
    """Write ``sample`` in baskets or clusters of ``step`` events."""
    columns: dict[str, Any] = dict(sample.flat)
    columns |= {name: jagged(lists, lists[0].dtype) for name, lists in sample.jagged.items()}
    types = {name: values.dtype for name, values in sample.flat.items()}
    types |= {name: f"var * {lists[0].dtype}" for name, lists in sample.jagged.items()}
    parts = [
        {name: values[start : start + step] for name, values in columns.items()}
        for start in range(0, sample.entries, step)
    ]
    with uproot.recreate(sample.path) as file:
        if form == "ttree":
            file.mktree(tree, types)
            for part in parts:
                file[tree].extend(part)
        else:
            file.mkrntuple(tree, parts[0])
            for part in parts[1:]:
                file[tree].extend(part)


def expected_raw(sample: Sample, features: Any) -> np.ndarray:
    """The matrix of raw values, one number at a time."""
    rows = []
    for event in range(sample.entries):
        row: list[float] = []
        for feature in features:
            if feature.kind == "flat":
                row.append(float(sample.flat[feature.name][event]))
                continue
            objects = [float(one) for one in sample.jagged[feature.name][event]][: feature.dimension]
            row += objects + [float("nan")] * (feature.dimension - len(objects))
        rows.append(row)
    matrix = np.array(rows).reshape(len(rows), -1)
    matrix[~np.isfinite(matrix)] = np.nan
    return matrix
