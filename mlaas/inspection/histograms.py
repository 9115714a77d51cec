"""Histograms of branches before and after normalisation, as pages of PDF or PNG."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlaas.branchspecs import BranchSpecs
from mlaas.errors import MlaasError, ParameterError
from mlaas.features import Feature, width
from mlaas.inspection.inspect import Inspection, event_blocks, numbers_of
from mlaas.normalisation import DEFAULT, checked, scalings
from mlaas.readers import open_reader
from mlaas.selection import Selection
from mlaas.specs import compute_specs
from mlaas.wholefile import whole_file

BINS = 100
# Labels that get a line each; events of more are drawn together, for then the label is a quantity.
MAX_CLASSES = 10
_PANELS = 5
# Normalisations that an inspection knows enough for.
_BY_EXTREMES = ("minmax", "none")
# Events that are normalised at a time, whatever the size of a chunk.
_EVENTS_AT_A_TIME = 4096

Matrix = NDArray[np.float32]


@dataclass
class Panel:
    """A pair of histograms of a branch.

    Attributes:
        ranges: Of the values as they are, and of the normalised ones.
        counts: Label → float64 (2, BINS); None is the label where there is but one line.
    """

    title: str
    ranges: tuple[tuple[float, float], tuple[float, float]]
    counts: dict[float | None, Any] = field(default_factory=dict)

    def fill(self, raw: NDArray[Any], normalised: NDArray[Any], label: float | None = None) -> None:
        """Take in finite numbers, those of an event at the same place in both arrays."""
        from hist import Hist
        from hist.axis import Regular

        if label not in self.counts:
            self.counts[label] = [Hist(Regular(BINS, *one)) for one in self.ranges]
        for histogram, numbers in zip(self.counts[label], (raw, normalised), strict=True):
            histogram.fill(numbers)


def draw_histograms(
    target: Path,
    features: Sequence[Feature],
    ranges: Mapping[str, tuple[float, float]],
    chunks: Iterable[tuple[Matrix, NDArray[np.float32]]],
    normalise: Callable[[Matrix], tuple[Matrix, NDArray[np.bool_]]],
) -> list[Path]:
    """Draw every feature before and after normalisation, a line for each class.

    Args:
        target: See :func:`pages`.
        features: In the order of their columns.
        ranges: Smallest and largest value of each feature before normalisation.
        chunks: float32 (n, width) values that are not normalised, NaN for what is missing, and float32 (n,) labels.
        normalise: From such a matrix to the normalised one, and a mask that is True where there is a value.

    Returns:
        The files that were written.

    Raises:
        MlaasError: They cannot be.
    """
    target = pages(target)
    panels = _panels(features, ranges, normalise)
    for chunk, chunk_labels in chunks:
        for start in range(0, len(chunk), _EVENTS_AT_A_TIME):
            rows = slice(start, start + _EVENTS_AT_A_TIME)
            _fill(panels, features, chunk[rows], chunk_labels[rows], normalise)
    return draw_panels(target, panels)


def draw_branches(
    target: Path, found: Inspection, dtype: str | None = None, normalisation: str = DEFAULT
) -> list[Path]:
    """Draw all branches of an inspected file, for which its events are read again.

    Args:
        target: See :func:`pages`.
        dtype: See :func:`mlaas.readers.open_reader`.
        normalisation: One of ``NORMALISATIONS``; what needs more than the extremes reads the events once more.

    Returns:
        The files that were written.

    Raises:
        MlaasError: They cannot be, or there is nothing to draw.
    """
    target = pages(target)
    specs = {
        name: BranchSpecs(one.branch.kind, one.branch.dtype, one.minimum, one.maximum)
        for name, one in found.branches.items()
        if one.minimum is not None
    }
    if not specs:
        raise ParameterError(f"{found.path}: no branch to draw, name the tree or other branches")
    if normalisation not in _BY_EXTREMES:
        with open_reader(found.path, found.tree, dtype) as reader:
            branches = {name: found.branches[name].branch for name in specs}
            specs = compute_specs([reader], branches, Selection(), [found.read]).branches
    panels = {}
    for (name, one), (shift, scale) in zip(specs.items(), scalings(specs, checked(normalisation)), strict=True):
        low, high = one.minimum or 0.0, one.maximum or 0.0
        ranges = (_wide(low, high), _wide((low - shift) * scale, (high - shift) * scale))
        panels[name] = (Panel(name, ranges), shift, scale)
    for events in event_blocks(found.path, found.tree, dtype, list(panels), found.read):
        for name, (panel, shift, scale) in panels.items():
            numbers, _ = numbers_of(events[name], found.branches[name].branch)
            numbers = numbers[np.isfinite(numbers)]
            panel.fill(numbers, (numbers - shift) * scale)
    return draw_panels(target, [panel for panel, _, _ in panels.values()])


def pages(target: Path) -> Path:
    """The file that a name stands for: itself where it ends in .pdf or .png, else histograms.pdf in that folder.

    Raises:
        ParameterError: It ends in something else.
    """
    if target.suffix.lower() in (".pdf", ".png"):
        return target
    if target.suffix and not target.is_dir():
        raise ParameterError(f"hist: {target} ends in {target.suffix}; expected .pdf, .png or the name of a folder")
    return target / "histograms.pdf"


def draw_panels(target: Path, panels: Sequence[Panel]) -> list[Path]:
    """Draw ``panels``, five a page: one PDF of all pages, or a PNG for each page.

    Raises:
        MlaasError: They cannot be written.
    """
    groups = [panels[start : start + _PANELS] for start in range(0, len(panels), _PANELS)]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix.lower() == ".pdf" or len(groups) == 1:
            return [_write(target, groups)]
        return [
            _write(target.with_name(f"{target.stem}-{number}{target.suffix}"), [group])
            for number, group in enumerate(groups, 1)
        ]
    except OSError as error:
        raise MlaasError(f"{target}: the histograms cannot be written: {error.strerror}") from error


def _fill(
    panels: Sequence[Panel],
    features: Sequence[Feature],
    raw: Matrix,
    labels: NDArray[np.float32],
    normalise: Callable[[Matrix], tuple[Matrix, NDArray[np.bool_]]],
) -> None:
    """Take in some events, float32 (n, width) and (n,)."""
    normalised, mask = normalise(raw)
    known = set(panels[0].counts)
    classes = np.unique(labels)
    several = len({*known, *classes.tolist()}) <= MAX_CLASSES and None not in known
    for label in classes.tolist() if several else [None]:
        rows = slice(None) if label is None else labels == label
        column = 0
        for panel, feature in zip(panels, features, strict=True):
            part = slice(column, column + feature.dimension)
            there = mask[rows, part]
            panel.fill(raw[rows, part][there], normalised[rows, part][there], label)
            column += feature.dimension


def _panels(
    features: Sequence[Feature],
    ranges: Mapping[str, tuple[float, float]],
    normalise: Callable[[Matrix], tuple[Matrix, NDArray[np.bool_]]],
) -> list[Panel]:
    """A panel for each feature, whose range after normalisation is that of its extremes."""
    extremes = np.empty((2, width(features)), dtype=np.float32)
    column = 0
    for feature in features:
        extremes[:, column : column + feature.dimension] = np.array(ranges[feature.name])[:, None]
        column += feature.dimension
    normalised, _ = normalise(extremes.copy())
    panels, column = [], 0
    for feature in features:
        low, high = (float(value) for value in normalised[:, column])
        panels.append(Panel(feature.name, (_wide(*ranges[feature.name]), _wide(low, high))))
        column += feature.dimension
    return panels


def _wide(low: float, high: float) -> tuple[float, float]:
    """A range that is not empty and has both values inside, also as they are in float32."""
    margin = 1e-6 * max(high - low, abs(low), abs(high))
    if low == high:
        margin = max(0.5, margin)
    return low - margin, high + margin


def _page(panels: Sequence[Panel]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.3, 11.7))
    # Fixed, since a layout that is fitted to its texts takes three times as long.
    figure.subplots_adjust(left=0.08, right=0.97, bottom=0.03, top=0.97, wspace=0.2, hspace=0.3)
    grid = figure.subplots(_PANELS, 2, squeeze=False)
    for row, axes in enumerate(grid):
        if row >= len(panels):
            for one in axes:
                one.set_axis_off()
            continue
        panel = panels[row]
        for side, (one, when) in enumerate(zip(axes, ("before", "after"), strict=True)):
            for label, histograms in sorted(panel.counts.items(), key=lambda item: (item[0] is None, item[0])):
                counts, edges = histograms[side].to_numpy()
                one.stairs(counts, edges, label=None if label is None else f"{label:g}")
            one.set_title(f"{panel.title} {when} normalisation", fontsize="small", y=1.0, parse_math=False)
            one.tick_params(labelsize="x-small")
            one.locator_params(nbins=4)  # ticks are most of the time of a page
            if any(label is not None for label in panel.counts):
                one.legend(loc="upper right", fontsize="x-small")
    return figure


def _write(path: Path, groups: Sequence[Sequence[Panel]]) -> Path:
    """Write a file that is there as a whole or not at all."""
    from matplotlib.backends.backend_pdf import PdfPages

    with whole_file(path) as partial:
        if path.suffix.lower() == ".pdf":
            with PdfPages(partial) as document:
                for group in groups:
                    document.savefig(_page(group))
        else:
            _page(groups[0]).savefig(partial, format="png", dpi=100)
    return path
