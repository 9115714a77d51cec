"""Files for `make bench-data`, written once with a fixed seed and kept in `build/bench-data`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import uproot

FOLDER = Path("build/bench-data")
NANOAOD = Path("../shared/data/nanoAOD_2015_CMS_Open_Data_ttbar.root")
TREE = "Events"
SEED = 2203
STEP = 10_000  # events in a basket

MEMBERS = ("pt", "eta", "phi", "mass")
# Thirteen collections of four branches each; the largest event of a collection has so many objects.
COLLECTIONS = {f"Col{number:02d}": 10 - number % 4 for number in range(13)}
SCALARS = tuple(f"scalar{number}" for number in range(9))
FLAT = tuple(f"flat{number:02d}" for number in range(22))
MEAN_OBJECTS = 2.75
NANOAOD_COPIES = 50

Columns = dict[str, Any]


def benchmark_file(events: int = 300_000) -> Path:
    """22 flat branches, of which 13 count the objects of the 52 jagged ones, and the `label`."""
    collection = "var * {" + ", ".join(f"{member}: float32" for member in MEMBERS) + "}"
    types = {"label": "int32"} | dict.fromkeys(SCALARS, "float32") | dict.fromkeys(COLLECTIONS, collection)

    def block(generator: np.random.Generator, size: int) -> Columns:
        columns: Columns = {"label": generator.integers(0, 2, size, dtype="i4")}
        columns |= {name: _numbers(generator, size) for name in SCALARS}
        for name, most in COLLECTIONS.items():
            counts = np.minimum(generator.poisson(MEAN_OBJECTS, size), most)
            members = {member: ak.unflatten(_numbers(generator, int(counts.sum())), counts) for member in MEMBERS}
            columns[name] = ak.zip(members)
        return columns

    return _cached(f"benchmark-{events}.root", lambda path: _write(path, types, _blocks(block, events)))


def flat_file(events: int = 1_000_000) -> Path:
    """22 flat branches and the `label`."""
    types = {"label": "int32"} | dict.fromkeys(FLAT, "float32")

    def block(generator: np.random.Generator, size: int) -> Columns:
        numbers = {name: _numbers(generator, size) for name in FLAT}
        return {"label": generator.integers(0, 2, size, dtype="i4"), **numbers}

    return _cached(f"flat-{events}.root", lambda path: _write(path, types, _blocks(block, events)))


def nanoaod_file() -> Path:
    """The events of the real NanoAOD, many times over: what a file of the size that the field writes has in it."""
    return _cached(f"nanoaod-{NANOAOD_COPIES}.root", _write_nanoaod)


def _numbers(generator: np.random.Generator, size: int) -> npt.NDArray[np.float32]:
    """Numbers that compress as those of real files do: their last bits are cut off."""
    bits = generator.exponential(40, size).astype(np.float32).view(np.uint32)
    return (bits & np.uint32(0xFFFFFFC0)).view(np.float32)


def _blocks(block: Callable[[np.random.Generator, int], Columns], events: int) -> Iterator[Columns]:
    generator = np.random.default_rng(SEED)
    for start in range(0, events, STEP):
        yield block(generator, min(STEP, events - start))


def _write_nanoaod(path: Path) -> None:
    with uproot.open({str(NANOAOD): TREE}) as tree:
        interpretations = {branch.name: branch.interpretation for branch in tree.branches}
        arrays = tree.arrays(list(interpretations), how=dict)
    arrays = {name: array for name, array in arrays.items() if array.ndim <= 2 and "string" not in str(array.type)}
    types = {name: array.type.content for name, array in arrays.items()}
    copied = {name: ak.concatenate([array] * (NANOAOD_COPIES // 10)) for name, array in arrays.items()}
    _write(path, types, (copied for _ in range(10)))


def _write(path: Path, types: dict[str, Any], blocks: Iterator[Columns]) -> None:
    with uproot.recreate(path, compression=uproot.ZLIB(1)) as file:
        tree = file.mktree(TREE, types)
        for block in blocks:
            tree.extend(block)


def _cached(name: str, write: Callable[[Path], None]) -> Path:
    """The file, written first where it is not there yet."""
    path = FOLDER / name
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        write(unfinished)
        unfinished.rename(path)
    return path
