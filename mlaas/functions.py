"""The functions that expressions know, for whole arrays at once."""

from collections.abc import Callable
from typing import Any

import numpy as np


def _where(condition: Any, yes: Any, no: Any) -> Any:
    ak = _awkward()
    condition, yes, no = ak.broadcast_arrays(condition, yes, no)
    return ak.where(condition != 0, yes, no)


def _delta_phi(one: Any, other: Any) -> Any:
    """Difference of two angles, from -π to below π."""
    return np.mod(one - other + np.pi, 2 * np.pi) - np.pi


FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "log": (1, np.log),
    "log10": (1, np.log10),
    "log2": (1, np.log2),
    "log1p": (1, np.log1p),
    "exp": (1, np.exp),
    "expm1": (1, np.expm1),
    "sqrt": (1, np.sqrt),
    "cbrt": (1, np.cbrt),
    "abs": (1, np.abs),
    "sign": (1, np.sign),
    "floor": (1, np.floor),
    "ceil": (1, np.ceil),
    "round": (1, np.rint),
    "sin": (1, np.sin),
    "cos": (1, np.cos),
    "tan": (1, np.tan),
    "arcsin": (1, np.arcsin),
    "arccos": (1, np.arccos),
    "arctan": (1, np.arctan),
    "sinh": (1, np.sinh),
    "cosh": (1, np.cosh),
    "tanh": (1, np.tanh),
    "arcsinh": (1, np.arcsinh),
    "arccosh": (1, np.arccosh),
    "arctanh": (1, np.arctanh),
    "isnan": (1, np.isnan),
    "isfinite": (1, np.isfinite),
    "arctan2": (2, np.arctan2),
    "hypot": (2, np.hypot),
    "minimum": (2, np.minimum),
    "maximum": (2, np.maximum),
    "delta_phi": (2, _delta_phi),
    "where": (3, _where),
}

REDUCTIONS: dict[str, Callable[[Any], Any]] = {
    "sum": lambda array: _awkward().sum(array, axis=1),
    "count": lambda array: _awkward().num(array, axis=1),
    "any": lambda array: _awkward().any(array, axis=1),
    "all": lambda array: _awkward().all(array, axis=1),
    "max": lambda array: _extreme(_awkward().max, array),
    "min": lambda array: _extreme(_awkward().min, array),
    "mean": lambda array: _awkward().sum(array, axis=1) / _awkward().num(array, axis=1),
}


def object_at(array: Any, place: int) -> Any:
    """Object number ``place`` of each event as float64, counted from the last where it is below 0; NaN if not there."""
    ak = _awkward()
    there = ak.num(array, axis=1) >= (place + 1 if place >= 0 else -place)
    return ak.fill_none(ak.mask(ak.values_astype(array, np.float64), there)[:, place], np.nan)


def objects_where(array: Any, passing: Any) -> Any:
    """Those objects of each event that are ``passing``."""
    return array[passing]


def _extreme(reduce: Callable[..., Any], array: Any) -> Any:
    """Largest or smallest object of each event as float64, NaN where there is none."""
    ak = _awkward()
    return ak.fill_none(reduce(ak.values_astype(array, np.float64), axis=1), np.nan)


def _awkward() -> Any:
    import awkward

    return awkward
