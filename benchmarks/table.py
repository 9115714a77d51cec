"""What a benchmark has found, a row each."""

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One figure beside what it is compared with, and perhaps a target; `most` where less is better, else more is."""

    what: str
    measured: str
    of: str
    ratio: float
    target: float | None = None
    most: bool = False

    @property
    def met(self) -> bool:
        if self.target is None:
            return True
        return self.ratio <= self.target if self.most else self.ratio >= self.target

    def __str__(self) -> str:
        figure = f"| {self.what} | {self.measured} | {self.of} | {self.ratio:.2f} |"
        if self.target is None:
            return f"{figure} | |"
        return f"{figure} {'≤' if self.most else '≥'} {self.target:g} | {'yes' if self.met else '**no**'} |"


HEAD = "| what | measured | beside | ratio | target | met |\n|---|---|---|---|---|---|"


def machine() -> str:
    """The machine in a line."""
    import onnxruntime

    information = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(":")[2].strip() for line in information.splitlines() if "model name" in line), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return (
        f"{model or platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()},"
        f" Python {platform.python_version()}, ONNX Runtime {onnxruntime.__version__}"
    )


def show(rows: Iterable[Row]) -> None:
    for row in rows:
        print(row, flush=True)
