"""How well a quantity is told."""

from typing import Any

import numpy as np

from mlaas.report.plots.style import Plot, literal, new_figure
from mlaas.report.text import measured, with_unit


def truth_and_prediction(numbers: dict[str, Any]) -> Plot | None:
    """Events by truth and prediction, in the test part."""
    part = numbers["test"]
    if not part or "map" not in part:
        return None
    from matplotlib.colors import LogNorm

    edges, sums = np.array(part["map"]["edges"]), np.array(part["map"]["sums_of_weights"])
    quantity = numbers["quantity"]
    name, unit = literal(quantity["name"]), literal(quantity["unit"])
    figure = new_figure((7.2, 6.0))
    axes = figure.subplots()
    shown = np.ma.masked_less_equal(sums.T, 0.0)
    norm = LogNorm() if shown.count() else None
    mesh = axes.pcolormesh(edges, edges, shown, norm=norm, cmap="viridis", rasterized=True)
    figure.colorbar(mesh, ax=axes, label="Sum of weights" if part["weighted"] else "Events")
    axes.axline((edges[0], edges[0]), slope=1.0, color="#d55e00", linestyle="--", label="prediction = truth")
    axes.set(
        xlabel=with_unit(f"True {name}", unit),
        ylabel=with_unit(f"Predicted {name}", unit),
        xlim=(edges[0], edges[-1]),
        ylim=(edges[0], edges[-1]),
    )
    axes.grid(visible=False)
    axes.legend(loc="upper left")
    return Plot(
        "Truth and prediction",
        "Test part. The cells at the ends hold what is outside.",
        f"Map of truth and prediction; mean absolute error {measured(part['mae'], quantity['unit'])}.",
        figure,
    )
