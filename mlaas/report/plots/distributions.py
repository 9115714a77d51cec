"""Training and test overlaid: a model that has learnt its events by heart answers differently to others."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlaas.report.plots.style import GREY, MOST_CLASSES, SIZE, Plot, colour, first_of, literal, marker, new_figure
from mlaas.report.text import class_name, probability, with_unit

# Of the fullest bin to the median one, from which on the axis is logarithmic.
STEEP = 20.0
PULL_LIMIT = 4.0
SIDES = ("signal", "background")
CAPTION = (
    "Filled: test. Points: training, with the square root of the sum of the squares of the weights as errors. KS p: the"
    " probability that two samples of one distribution are further apart, by the test of Kolmogorov and Smirnov;"
    " small values speak for overtraining."
)


def score_distributions(numbers: dict[str, Any]) -> Plot | None:
    """The score of signal and background, for each class that is told from others."""
    if not numbers["classes"]:
        return None
    several = len(numbers["classes"]) > 2
    found = [one for one in numbers["distributions"] if any(_filled(one[side]) for side in SIDES)][:MOST_CLASSES]
    if not found:
        return None
    columns = min(len(found), 2)
    rows = -(-len(found) // columns)
    figure = new_figure((SIZE[0] * (1.0 if columns == 1 else 1.9), 6.2 * rows))
    for part, one in zip(figure.subfigures(rows, columns, squeeze=False).flat, found, strict=False):
        names = _names(numbers, one["class"])
        label = f"Score of {literal(class_name(one['class']))}" if several else "Score"
        _draw(part, one["edges"], [(names[side], one[side]) for side in SIDES], label)
    values = "; ".join(f"{_names(numbers, one['class'])[side]}: {_ks(one[side])}" for one in found for side in SIDES)
    caption = CAPTION + first_of(numbers["classes"])
    return Plot("Overtraining check", caption, f"Score distributions of training and test. {values}.", figure)


def residual_distributions(numbers: dict[str, Any]) -> Plot | None:
    """Prediction - truth of a quantity."""
    if numbers["classes"] or not _filled(numbers["distributions"][0]):
        return None
    (one,) = numbers["distributions"]
    quantity = numbers["quantity"]
    figure = new_figure((SIZE[0], 6.2))
    unit = literal(quantity["unit"])
    label = with_unit(f"Prediction − truth of {literal(quantity['name'])}", unit)
    _draw(figure, one["edges"], [("residuals", one)], label, unit)
    return Plot(
        "Residuals",
        f"{CAPTION} The bins at the ends hold what is outside.",
        f"Distributions of prediction minus truth of training and test, {_ks(one)}.",
        figure,
    )


def _filled(side: dict[str, Any]) -> bool:
    return side["train"] is not None or side["test"] is not None


def _names(numbers: dict[str, Any], name: str) -> dict[str, str]:
    classes = numbers["classes"]
    other = class_name(classes[0]) if len(classes) == 2 else "all others"
    return {"signal": class_name(name), "background": other}


def _ks(side: dict[str, Any]) -> str:
    return f"KS p = {probability(side['kolmogorov_smirnov']['p_value'])}"


def _draw(figure: Any, edges: list[float], sides: list[tuple[str, dict[str, Any]]], label: str, unit: str = "") -> None:
    """Histograms above, and the differences in standard deviations below."""
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1.0))
    bins = np.array(edges)
    centres = (bins[1:] + bins[:-1]) / 2.0
    for place, (name, side) in enumerate(sides):
        if side["test"] is not None:
            _fill(upper, bins, side["test"], place, f"{literal(name)}, test")
        if side["train"] is not None:
            upper.errorbar(
                centres,
                side["train"]["shares"],
                yerr=side["train"]["uncertainties"],
                fmt=marker(place),
                color=colour(place),
                elinewidth=1.2,
                label=f"{literal(name)}, training ({_ks(side)})",
            )
        if side["train"] is not None and side["test"] is not None:
            there, pulls = _pulls(side)
            lower.plot(centres[there], np.clip(pulls, -PULL_LIMIT, PULL_LIMIT), marker(place), color=colour(place))
    _scale(upper, [side[part] for _, side in sides for part in ("train", "test") if side[part] is not None])
    upper.set_ylabel(f"Share of the events / {bins[1] - bins[0]:.3g} {unit}".rstrip())
    upper.legend(loc="upper center", ncols=1)
    lower.axhspan(-1.0, 1.0, color="#e8e8e8", zorder=0)
    lower.axhline(0.0, color=GREY, linewidth=1.0)
    lower.set(
        xlabel=label, ylabel="Difference\nin σ", ylim=(-PULL_LIMIT * 1.1, PULL_LIMIT * 1.1), xlim=(bins[0], bins[-1])
    )
    figure.align_ylabels([upper, lower])


def _fill(axes: Any, bins: NDArray[np.float64], histogram: dict[str, Any], place: int, label: str) -> None:
    shared = {"color": colour(place), "zorder": 1.5}
    axes.stairs(histogram["shares"], bins, fill=True, alpha=0.25, **shared)
    hatch = ("", "////")[place % 2]
    axes.stairs(histogram["shares"], bins, linewidth=1.4, hatch=hatch, label=label, **shared)


def _pulls(side: dict[str, Any]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Where training or test has events, and how many standard deviations they differ there."""
    shares = [np.array(side[part]["shares"]) for part in ("train", "test")]
    deviation = np.hypot(*(np.array(side[part]["uncertainties"]) for part in ("train", "test")))
    there = deviation > 0.0
    return there, (shares[0] - shares[1])[there] / deviation[there]


def _scale(axes: Any, histograms: list[dict[str, Any]]) -> None:
    """A logarithmic axis where the distributions are steep, with room for the legend."""
    shares = np.concatenate([one["shares"] for one in histograms])
    positive = shares[shares > 0.0]
    if not len(positive):
        return
    if positive.max() > STEEP * np.median(positive):
        axes.set_yscale("log")
        low = positive.min() / 2.0
        axes.set_ylim(low, positive.max() * (positive.max() / low) ** 0.45)
    else:
        axes.set_ylim(min(0.0, float(shares.min()) * 1.1), positive.max() * 1.55)
