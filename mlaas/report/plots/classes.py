"""How well classes are told apart."""

from typing import Any

import numpy as np

from mlaas.report.plots.style import (
    GREY,
    LINES,
    MOST_CLASSES,
    SIZE,
    Plot,
    colour,
    first_of,
    literal,
    marker,
    new_figure,
)
from mlaas.report.text import class_name, measured

# Confusion matrices of more classes have no numbers in their cells.
MOST_NUMBERED = 12
PART_NAMES = {"test": "test", "train": "training"}


def roc_curves(numbers: dict[str, Any]) -> Plot | None:
    """Signal efficiency by background efficiency."""
    curves = _curves(numbers)
    if not curves:
        return None
    figure = new_figure((SIZE[1] * 1.15, SIZE[1] * 1.1))
    axes = figure.subplots()
    for place, part, one in curves:
        axes.plot(
            [0.0, *one["roc"]["background_efficiency"]],
            [0.0, *one["roc"]["signal_efficiency"]],
            color=colour(place),
            label=f"{literal(_label(numbers, one, part))}: AUC {measured(one['auc'])}",
            **_line(place, part),
        )
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.2, label="by chance")
    axes.set(
        xlabel=r"Background efficiency $\varepsilon_B$",
        ylabel=r"Signal efficiency $\varepsilon_S$",
        xlim=(-0.01, 1.01),
        ylim=(-0.01, 1.01),
    )
    axes.legend(loc="lower right", fontsize="small" if len(curves) > 3 else None)
    return Plot(
        "ROC",
        "Share of signal and background that cuts on the score keep. The uncertainty of the area under the curve is"
        f" that of DeLong et al., with the squares of the weights.{_signal(numbers)}",
        "ROC curves. "
        + "; ".join(f"{_label(numbers, one, part)} AUC {measured(one['auc'])}" for _, part, one in curves),
        figure,
    )


def rejection_curves(numbers: dict[str, Any]) -> Plot | None:
    """Background rejection by signal efficiency."""
    curves = [curve for curve in _curves(numbers) if max(curve[2]["roc"]["background_efficiency"]) > 0.0]
    if not curves:
        return None
    figure = new_figure()
    axes = figure.subplots()
    for place, part, one in curves:
        points = np.array([one["roc"]["signal_efficiency"], one["roc"]["background_efficiency"]])
        points = points[:, (points[1] > 0.0) & (points[0] > 0.01)]
        label = literal(_label(numbers, one, part))
        axes.plot(points[0], 1.0 / points[1], color=colour(place), label=label, **_line(place, part))
        if part == "test":
            _mark(axes, one["working_points"], place)
    chance = np.linspace(0.01, 1.0, 200)
    axes.plot(chance, 1.0 / chance, color=GREY, linestyle=":", linewidth=1.2, label="by chance")
    axes.set(
        xlabel=r"Signal efficiency $\varepsilon_S$", ylabel=r"Background rejection $1/\varepsilon_B$", xlim=(0.0, 1.0)
    )
    axes.set_yscale("log")
    axes.legend(fontsize="small" if len(curves) > 3 else None)
    return Plot(
        "Background rejection",
        "One over the share of the background that a cut keeps, by the share of the signal that it keeps. The points"
        f" are those of the table.{_signal(numbers)}",
        "Curves of the background rejection by signal efficiency; the table has the numbers.",
        figure,
    )


def calibration_curves(numbers: dict[str, Any]) -> Plot | None:
    """Observed share of signal by predicted probability, and how often it is predicted."""
    found = [
        one for one in (numbers["test"] or {}).get("classes", []) if one["calibration"] and one["calibration"]["bins"]
    ][:MOST_CLASSES]
    if not found:
        return None
    figure = new_figure((SIZE[0], 6.2))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1.0))
    upper.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.2, label="perfect")
    for place, one in enumerate(found):
        _reliability(upper, lower, one, place)
    upper.set(ylabel="Observed share", xlim=(0.0, 1.0), ylim=(-0.02, 1.05))
    upper.legend(loc="upper left")
    lower.set(xlabel="Predicted probability", ylabel="Share of\nevents")
    lower.set_ylim(bottom=0.0)
    figure.align_ylabels([upper, lower])
    part = numbers["test"]
    return Plot(
        "Calibration",
        f"Test part. Brier score {measured(part['brier'])}, expected calibration error {measured(part['ece'])}. The"
        f" probabilities are those of the mixture of classes that the weights make.{first_of(numbers['classes'])}",
        f"Observed share by predicted probability; expected calibration error {measured(part['ece'])}.",
        figure,
    )


def confusion_matrix(numbers: dict[str, Any]) -> Plot | None:
    """Which class is taken for which, in the test part."""
    part = numbers["test"]
    if not part or len(numbers["classes"]) < 2:
        return None
    names = [literal(class_name(name)) for name in numbers["classes"]]
    rows = part["confusion"]["shares_of_true_class"]
    shares = np.array([[np.nan] * len(names) if row is None else row for row in rows])
    side = float(np.clip(3.0 + 0.75 * len(names), 5.0, 12.0))
    figure = new_figure((side + 1.2, side))
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    figure.colorbar(image, ax=axes, label="Share of the true class", shrink=0.85)
    axes.set_xticks(range(len(names)), names, rotation=90 if len(names) > 2 and max(map(len, names)) > 5 else 0)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="Predicted class", ylabel="True class")
    axes.grid(visible=False)
    if len(names) <= MOST_NUMBERED:
        for (row, column), value in np.ndenumerate(shares):
            if np.isfinite(value):
                shade = "white" if value > 0.55 else "black"
                axes.text(column, row, f"{value:.1%}", ha="center", va="center", color=shade)
    return Plot(
        "Confusion matrix",
        f"Test part; every row adds up to 100 %. {_decision(part['confusion']['threshold'])} Right are"
        f" {measured(part['accuracy'])} of the events.",
        f"Share of each true class by predicted class; accuracy {measured(part['accuracy'])}.",
        figure,
    )


def _mark(axes: Any, points: list[dict[str, Any]], place: int) -> None:
    """Draw the working points whose rejection is known."""
    marked = [point for point in points if point["rejection"]["value"] is not None]
    axes.errorbar(
        [point["signal_efficiency"] for point in marked],
        [point["rejection"]["value"] for point in marked],
        yerr=[point["rejection"]["uncertainty"] for point in marked],
        fmt=marker(place),
        color=colour(place),
        markersize=7,
        capsize=3,
    )


def _reliability(upper: Any, lower: Any, one: dict[str, Any], place: int) -> None:
    """Draw observed by predicted, and the share of the events in each bin below."""
    bins = one["calibration"]["bins"]
    upper.errorbar(
        [entry["predicted"] for entry in bins],
        [entry["observed"] for entry in bins],
        yerr=[entry["uncertainty"] for entry in bins],
        color=colour(place),
        marker=marker(place),
        capsize=3,
        label=f"{literal(class_name(one['class']))}, test",
    )
    total = sum(entry["sum_of_weights"] for entry in bins)
    for entry in bins:
        lower.stairs([entry["sum_of_weights"] / total], [entry["low"], entry["high"]], color=colour(place), lw=1.6)


def _curves(numbers: dict[str, Any]) -> list[tuple[int, str, dict[str, Any]]]:
    """Place of the colour, part and numbers of each ROC curve; with several classes those of the test part only."""
    several = len(numbers["classes"]) > 2
    parts = [part for part in PART_NAMES if numbers[part] and "classes" in numbers[part]]
    return [
        (place, part, one)
        for part in (parts[:1] if several else parts)
        for place, one in enumerate(numbers[part]["classes"][:MOST_CLASSES])
        if one["roc"]
    ]


def _line(place: int, part: str) -> dict[str, Any]:
    """The training part is dashed; several classes have different lines."""
    if part == "train":
        return {"linestyle": "--", "linewidth": 1.4, "alpha": 0.8}
    return {"linestyle": LINES[place % len(LINES)]}


def _label(numbers: dict[str, Any], one: dict[str, Any], part: str) -> str:
    return class_name(one["class"]) if len(numbers["classes"]) > 2 else PART_NAMES[part]


def _signal(numbers: dict[str, Any]) -> str:
    classes = [class_name(name) for name in numbers["classes"]]
    if len(classes) == 2:
        return f" Signal: {classes[1]}; background: {classes[0]}."
    return f" Signal: each class in turn; background: all others.{first_of(numbers['classes'])}"


def _decision(threshold: float | None) -> str:
    if threshold is None:
        return "The predicted class has the highest score."
    return f"The second class is predicted where the score is at least {threshold:g}."
