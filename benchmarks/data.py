"""`make bench-data`: the data layer beside uproot alone, measured in turn in one process."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uproot

from benchmarks.data_files import NANOAOD, TREE, benchmark_file, flat_file, nanoaod_file
from benchmarks.table import HEAD, Row, machine, show
from mlaas.cluster import Cluster, open_cluster
from mlaas.dataset import Dataset, DatasetParams
from mlaas.readers import open_reader
from mlaas.selection import Selection

# Events/s of the original pipeline on the machine of the targets.
ORIGINAL_NANOAOD, ORIGINAL_FLAT = 220, 18_500
CHUNKS_TARGET = 170_000
PEAK_CHUNK, PEAK_BYTES = 100_000, 800e6
LARGE = 12  # times the benchmark file: 2 GB
FILES_FOR_SCALING = 4  # times the benchmark file
# Keeps nine events in ten.
SELECTION = {"flat_cut": {"scalar0": {"cut": "scalar0 > 4.2"}}}
PARAMS = DatasetParams(chunk_size=20_000, test=0, validation=0)


@dataclass(frozen=True)
class Rates:
    """Events a second, the best of all repetitions; `again` is a second epoch over an open dataset."""

    alone: float
    read: float
    specs: float
    chunks: float
    again: float


def benchmark(repetitions: int) -> Iterator[Row]:
    """The benchmark file: chunks and specs, selected, padded, normalised and shuffled."""
    path = benchmark_file()
    with Dataset([str(path)], ["label"], PARAMS, selection=Selection.from_dict(SELECTION)) as dataset:
        print(f"Benchmark file: {path.stat().st_size / 1e6:.0f} MB, {len(dataset.columns)} columns.\n")
        names = [feature.name for feature in dataset.features] + ["label"]
    rates = _rates(path, names, Selection.from_dict(SELECTION), repetitions)
    beside = f"uproot alone, one thread: {_rate(rates.alone)}"
    yield Row("reading by mlaas", _rate(rates.read), beside, rates.read / rates.alone, 1)
    yield Row("chunks", _rate(rates.chunks), beside, rates.chunks / rates.alone, 0.65)
    yield Row("chunks", _rate(rates.chunks), f"{CHUNKS_TARGET:,} events/s", rates.chunks / CHUNKS_TARGET, 1)
    yield Row("specs", _rate(rates.specs), beside, rates.specs / rates.alone, 0.85)


def nanoaod(repetitions: int) -> Iterator[Row]:
    """A real NanoAOD of 200 events, and one of 10,000 made of the same events."""
    if not NANOAOD.is_file():
        print(f"{NANOAOD} is not there: no row for NanoAOD", file=sys.stderr)
        return
    with open_reader(str(NANOAOD), TREE) as reader:
        names = list(reader.branches)
    for path, what in ((NANOAOD, "real NanoAOD, 200 events"), (nanoaod_file(), "the same events, 50 times over")):
        rates = _rates(path, names, Selection(), repetitions, "nMuon")
        beside = f"40 × {ORIGINAL_NANOAOD} events/s"
        yield Row(f"chunks, {what}", _rate(rates.chunks), beside, rates.chunks / ORIGINAL_NANOAOD, 40)
        yield Row("the same, later epochs", _rate(rates.again), beside, rates.again / ORIGINAL_NANOAOD, 40)


def flat(repetitions: int) -> Iterator[Row]:
    """A file without jagged branches."""
    rates = _rates(flat_file(), [f"flat{number:02d}" for number in range(22)] + ["label"], Selection(), repetitions)
    beside = f"80 × {ORIGINAL_FLAT:,} events/s"
    yield Row("chunks, flat file", _rate(rates.chunks), beside, rates.chunks / ORIGINAL_FLAT, 80)


def memory(large: bool) -> Iterator[Row]:
    """Peak memory of a process that does nothing but the first pass and the chunks."""
    path = benchmark_file()
    peak = _peak(path)
    yield Row("peak, chunks of 100,000", _megabytes(peak), _megabytes(PEAK_BYTES), peak / PEAK_BYTES, 1, most=True)
    if large:
        path = benchmark_file(LARGE * 300_000)
        larger = _peak(path)
        what = f"peak, a file of {path.stat().st_size / 1e9:.1f} GB"
        yield Row(what, _megabytes(larger), _megabytes(peak), larger / peak, 1.1, most=True)


def scaling(processes: int, repetitions: int) -> Iterator[Row]:
    """The specs pass by one process on one core, and by several on as many; the start of Dask is not counted."""
    cores = sorted(os.sched_getaffinity(0))
    if processes < 2 or processes > len(cores):
        print(f"{len(cores)} cores: no row for {processes} processes", file=sys.stderr)
        return
    path = benchmark_file(FILES_FOR_SCALING * 300_000)
    best = dict.fromkeys((1, processes), 0.0)
    try:
        for _ in range(repetitions):
            for workers in best:
                os.sched_setaffinity(0, cores[:workers])
                with open_cluster(None, workers) as cluster:
                    best[workers] = max(best[workers], _timed(partial(_specs, path, cluster)))
    finally:
        os.sched_setaffinity(0, cores)
    what = f"specs, {processes} processes"
    ratio = best[processes] / best[1] / processes
    yield Row(what, _rate(best[processes]), f"{processes} × one process: {_rate(best[1])}", ratio, 0.8)


def _specs(path: Path, cluster: Cluster | None) -> int:
    with Dataset([str(path)], ["label"], PARAMS, selection=Selection.from_dict(SELECTION), cluster=cluster) as dataset:
        return sum(dataset.entries.values())


def _rates(path: Path, names: list[str], selection: Selection, repetitions: int, label: str = "label") -> Rates:
    """In turn, so that all of them meet the same disturbances."""
    params = DatasetParams(**{**vars(PARAMS), "selected": [name for name in names if name != label]})
    best = dict.fromkeys(("alone", "read", "specs", "chunks", "again"), 0.0)
    for _ in range(repetitions):
        best["alone"] = max(best["alone"], _timed(lambda: _uproot(path, names)))
        best["read"] = max(best["read"], _timed(lambda: _read(path, names)))
        started = time.perf_counter()
        with Dataset([str(path)], [label], params, tree=TREE, selection=selection) as dataset:
            entries = sum(dataset.entries.values())
            best["specs"] = max(best["specs"], entries / (time.perf_counter() - started))
            for epoch, name in enumerate(("chunks", "again")):
                best[name] = max(best[name], _timed(partial(_chunks, dataset, epoch)))
    return Rates(**best)


def _timed(work: Callable[[], int]) -> float:
    started = time.perf_counter()
    return work() / (time.perf_counter() - started)


def _uproot(path: Path, names: list[str]) -> int:
    """Every branch with uproot as it comes, on one thread."""
    ours, uproot.compression._DecompressZLIB.library = uproot.compression._DecompressZLIB.library, "zlib"
    try:
        with uproot.open({str(path): TREE}, use_threads=False) as tree:
            for _ in tree.iterate(names, step_size=PARAMS.chunk_size, how=dict):
                pass
            return int(tree.num_entries)
    finally:
        uproot.compression._DecompressZLIB.library = ours


def _read(path: Path, names: list[str]) -> int:
    with open_reader(str(path), TREE) as reader:
        for start, stop in reader.blocks(names, reader.entries, 16 << 20):
            reader.values(names, start, stop)
        return reader.entries


def _chunks(dataset: Dataset, epoch: int = 0) -> int:
    for _ in dataset.chunks("train", epoch):
        pass
    return sum(dataset.entries.values())


def _peak(path: Path) -> float:
    """Bytes that a process of its own had resident at most."""
    command = [sys.executable, "-m", "benchmarks.data", "--peak", str(path)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _own_peak(path: str) -> float:
    params = DatasetParams(**{**vars(PARAMS), "chunk_size": PEAK_CHUNK})
    with Dataset([path], ["label"], params, selection=Selection.from_dict(SELECTION)) as dataset:
        _chunks(dataset)
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(float(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _rate(rate: float) -> str:
    return f"{rate:,.0f} events/s"


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.0f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-data", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5, help="of everything; the best counts")
    parser.add_argument("--large", action="store_true", help="also a file of 2 GB, which takes minutes to write")
    parser.add_argument("--processes", type=int, default=2, help="for the specs pass on several processes")
    parser.add_argument("--peak", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print(_own_peak(options.peak))
        return
    print(machine())
    rows = benchmark(options.repetitions)
    first = next(rows)
    print(HEAD, first, sep="\n", flush=True)
    for more in (rows, nanoaod(options.repetitions), flat(options.repetitions), memory(options.large),
                 scaling(options.processes, options.repetitions)):  # fmt: skip
        show(more)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
