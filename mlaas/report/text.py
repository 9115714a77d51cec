"""Numbers and names as people read them, in the figures and on the page."""

from typing import Any

import numpy as np

from mlaas.errors import one_line

LONGEST_NAME = 40


def measured(estimate: dict[str, Any], unit: str = "") -> str:
    """``0.9123 ± 0.0031``: a value with the digits that its uncertainty leaves; a dash where there is none."""
    value, uncertainty = estimate["value"], estimate["uncertainty"]
    if value is None:
        return "–"
    suffix = f" {unit}" if unit else ""
    if not uncertainty:
        return number(value) + suffix
    # Two digits of the uncertainty, as the Particle Data Group does for most.
    digits = 1 - int(np.floor(np.log10(uncertainty)))
    if not -5 <= digits <= 6:
        return f"{value:.4g} ± {uncertainty:.2g}{suffix}"
    places = max(digits, 0)
    return f"{round(value, digits):,.{places}f} ± {round(uncertainty, digits):,.{places}f}{suffix}"


def number(value: float | None) -> str:
    """A number with four digits, or a dash where there is none."""
    if value is None:
        return "–"
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:.4g}" if abs(value) < 1e3 else f"{value:,.0f}"


def share(value: float | None) -> str:
    """A share in per cent, or a dash where there is none."""
    return "–" if value is None else f"{value:.1%}"


def probability(value: float | None) -> str:
    """A p-value."""
    if value is None:
        return "–"
    return "< 0.0001" if value < 1e-4 else f"{value:.2f}" if value >= 0.095 else f"{value:.2g}"


def class_name(name: str) -> str:
    """A name for a class, whose own may be but a number."""
    try:
        float(name)
    except ValueError:
        return name
    return f"class {name}"


def short(name: str) -> str:
    """``name`` in one line that is not too long."""
    name = one_line(name)
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def with_unit(name: str, unit: str) -> str:
    """What an axis is called."""
    return f"{name} [{unit}]" if unit else name
