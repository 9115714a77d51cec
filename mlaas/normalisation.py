"""How the values of a branch are scaled, from its specs: shift subtracted first, scale multiplied after."""

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np

from mlaas.branchspecs import BranchSpecs
from mlaas.errors import ParameterError, listing, suggestion

DEFAULT = "minmax"


class Scaling(NamedTuple):
    """``(value - shift) * scale``, both exact in float32."""

    shift: float
    scale: float


def _minmax(branch: BranchSpecs) -> Scaling:
    """Smallest value to 0, largest to 1."""
    low, high = np.float32(branch.minimum or 0.0), np.float32(branch.maximum or 0.0)
    with np.errstate(over="ignore"):
        too_wide = not np.isfinite(high - low)
    if too_wide:  # a range that float32 cannot express is only divided by its largest magnitude
        return _scaling(0.0, max(-float(low), float(high)))
    return _scaling(float(low), float(high) - float(low))


def _zscore(branch: BranchSpecs) -> Scaling:
    """Mean to 0, standard deviation to 1."""
    return _scaling(branch.mean or 0.0, branch.deviation or 0.0)


def _robust(branch: BranchSpecs) -> Scaling:
    """Median to 0, the middle half of the values to a width of 1; the deviation where that half is one value."""
    low, median, high = (branch.quantiles.get(level, 0.0) for level in ("0.25", "0.5", "0.75"))
    return _scaling(median, high - low or branch.deviation or 0.0)


def _none(branch: BranchSpecs) -> Scaling:
    return Scaling(0.0, 1.0)


NORMALISATIONS: dict[str, Callable[[BranchSpecs], Scaling]] = {
    "minmax": _minmax,
    "zscore": _zscore,
    "robust": _robust,
    "none": _none,
}


def checked(normalisation: str | Mapping[str, str]) -> dict[str, str]:
    """Name or pattern of branches → one of ``NORMALISATIONS``; a name alone holds for all branches.

    Raises:
        ParameterError: It is none of them.
    """
    chosen = {"*": normalisation} if isinstance(normalisation, str) else dict(normalisation)
    for pattern, name in chosen.items():
        if name not in NORMALISATIONS:
            raise ParameterError(
                f"normalisation: {name!r} is given for {pattern}{suggestion(str(name), NORMALISATIONS)}; "
                f"expected one of {listing(NORMALISATIONS)}"
            )
    return chosen


def scalings(branches: Mapping[str, BranchSpecs], normalisation: Mapping[str, str]) -> list[Scaling]:
    """Scaling of each of ``branches``: by its own name, else by the first pattern it matches, else min-max.

    Raises:
        ParameterError: A name or pattern matches no branch.
    """
    for pattern in normalisation:
        if not any(pattern == name or fnmatchcase(name, pattern) for name in branches):
            raise ParameterError(f"normalisation: no feature matches {pattern!r}{suggestion(pattern, branches)}")
    return [NORMALISATIONS[_chosen(name, normalisation)](branch) for name, branch in branches.items()]


def _chosen(name: str, normalisation: Mapping[str, str]) -> str:
    matching: Iterable[str] = (scheme for pattern, scheme in normalisation.items() if fnmatchcase(name, pattern))
    return normalisation.get(name) or next(iter(matching), DEFAULT)


def _scaling(shift: float, width: float) -> Scaling:
    """What takes ``shift`` to 0 and ``shift + width`` to 1; without a width, or with one too small, only shifts."""
    with np.errstate(over="ignore", divide="ignore"):
        scale = np.float32(1.0 / np.float64(width))
    return Scaling(float(np.float32(shift)), float(scale) if np.isfinite(scale) else 1.0)
