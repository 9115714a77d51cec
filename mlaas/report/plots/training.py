"""How the training went, and which features it uses."""

from typing import Any

from mlaas.report.plots.style import COLOURS, GREY, LINES, SIZE, Plot, colour, literal, marker, new_figure
from mlaas.report.text import number

MOST_FEATURES = 30
MOST_MARKED_EPOCHS = 40


def training_curves(numbers: dict[str, Any]) -> Plot | None:
    """Losses and AUC by epoch."""
    epochs = numbers["epochs"]
    names = list(dict.fromkeys(name for epoch in epochs for name in epoch))
    panels = [
        (title, chosen)
        for title, ending in (("Loss", "loss"), ("AUC", "auc"))
        if (chosen := [name for name in names if name.endswith(ending) and _known(epochs, name)])
    ]
    if not panels:
        return None
    figure = new_figure((SIZE[0] * (1.6 if len(panels) > 1 else 1.0), SIZE[1]))
    for axes, (title, chosen) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for place, name in enumerate(chosen):
            points = [(epoch["epoch"], epoch[name]) for epoch in epochs if epoch.get(name) is not None]
            axes.plot(
                *zip(*points, strict=True),
                color=colour(place),
                linestyle=LINES[place % len(LINES)],
                marker=marker(place) if len(points) <= MOST_MARKED_EPOCHS else "",
                label=literal(_part_of(name)),
            )
        if numbers["best_epoch"] is not None:
            axes.axvline(numbers["best_epoch"], color=GREY, linestyle=":", label="lowest validation loss")
        axes.set(xlabel="Epoch", ylabel=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend()
    last = epochs[-1]
    ended = ", ".join(f"{name.replace('_', ' ')} {number(last.get(name))}" for _, chosen in panels for name in chosen)
    return Plot(
        "Training",
        "Mean over the events of the training part, and of the validation part after each epoch."
        + (
            f" The model has the weights of epoch {numbers['best_epoch']}, which has the lowest validation loss."
            if numbers["best_epoch"] is not None
            else ""
        ),
        f"Curves by epoch; after epoch {last['epoch']}: {ended}.",
        figure,
    )


def feature_ranking(numbers: dict[str, Any]) -> Plot | None:
    """The most important features as bars."""
    ranking = numbers["ranking"]
    if not ranking or not ranking["features"]:
        return None
    shown = ranking["features"][:MOST_FEATURES]
    figure = new_figure((SIZE[0] * 1.15, max(2.6, 1.3 + 0.29 * len(shown))))
    axes = figure.subplots()
    axes.barh(
        range(len(shown)),
        [one["loss"] for one in shown],
        xerr=[one["deviation"] or 0.0 for one in shown],
        color=COLOURS[5],
        ecolor="#333333",
        capsize=3,
    )
    axes.set_yticks(range(len(shown)), [literal(one["feature"]) for one in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.axvline(0.0, color=GREY, linewidth=1.0)
    what = "Fall of the AUC" if ranking["metric"] == "auc" else "Rise of the mean squared error"
    axes.set(xlabel=f"{what} when permuted{_squared(numbers)}", ylabel="Feature")
    first = shown[0]
    return Plot(
        "Feature ranking",
        f"{what} on a sample when all columns of a feature are permuted among the events, with the standard deviation"
        " of the repetitions. Features that tell the same stand in for each other: none of them then seems important."
        + (
            f" The first {len(shown)} of {len(ranking['features'])} features."
            if len(shown) < len(ranking["features"])
            else ""
        ),
        f"Bars for {len(shown)} features; the most important is {first['feature']} with {number(first['loss'])}.",
        figure,
    )


def _known(epochs: list[dict[str, Any]], name: str) -> bool:
    return any(epoch.get(name) is not None for epoch in epochs)


def _part_of(name: str) -> str:
    """``validation_loss`` → ``validation``, ``loss`` → ``training``."""
    return name.rpartition("_")[0].replace("_", " ") or "training"


def _squared(numbers: dict[str, Any]) -> str:
    unit = (numbers["quantity"] or {}).get("unit")
    return f" [({literal(unit)})²]" if unit else ""
