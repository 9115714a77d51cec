"""The report as one HTML page that needs nothing but itself."""

from base64 import b64encode
from collections.abc import Mapping
from html import escape
from importlib import resources
from string import Template
from typing import Any

from mlaas.report.markup import folded, items, pairs, picture, section, table, tile
from mlaas.report.plots import Plot
from mlaas.report.text import class_name, measured, number, probability, share, with_unit

PART_NAMES = {"test": "Test", "train": "Training"}


def page(numbers: dict[str, Any], pictures: Mapping[str, tuple[Plot, bytes]]) -> str:
    """The page.

    Args:
        numbers: Those of :func:`mlaas.report.numbers.numbers_of`.
        pictures: Name of each figure → the figure, and the figure as SVG.
    """
    template = Template(resources.files("mlaas.report").joinpath("page.html").read_text("utf-8"))
    return template.substitute(
        title=escape(f"{numbers['model']}: training report"),
        subtitle=escape(f"{numbers['created']} · {_task(numbers)}"),
        version=escape(numbers["mlaas"]),
        tiles="\n".join(_tiles(numbers)),
        sections="\n".join([_results(numbers), _figures(pictures), _data(numbers), _provenance(numbers)]),
    )


def _task(numbers: dict[str, Any]) -> str:
    if not numbers["classes"]:
        return f"regression of {with_unit(**numbers['quantity'])}"
    names = [class_name(name) for name in numbers["classes"]]
    return f"signal: {names[1]}, background: {names[0]}" if len(names) == 2 else f"classes: {', '.join(names)}"


def _tiles(numbers: dict[str, Any]) -> list[str]:
    test = numbers["test"]
    counts = numbers["data"]["counts"]
    names = {"auc": "AUC", "accuracy": "Accuracy", "ece": "Calibration error", "mae": "Mean absolute error", "r2": "R²"}
    unit = {"mae": (numbers["quantity"] or {}).get("unit", "")}
    tiles = [
        tile(name, measured(test[key], unit.get(key, "")), test[key].get("reason", "test part"))
        for key, name in names.items()
        if test and key in test
    ]
    if not test:
        tiles.append(tile("Test", "–", "the test part has no event"))
    p_values = [
        one["kolmogorov_smirnov"]["p_value"]
        for entry in numbers["distributions"]
        for one in ([entry[side] for side in ("signal", "background")] if numbers["classes"] else [entry])
        if one["kolmogorov_smirnov"]["p_value"] is not None
    ]
    if p_values:
        tiles.append(
            tile("Overtraining", f"KS p {probability(min(p_values))}", f"the smallest of {len(p_values)} p-values")
        )
    events = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    return [*tiles, tile("Events", f"{sum(counts.values()):,}", events)]


def _results(numbers: dict[str, Any]) -> str:
    cards = [_merits(numbers), _working_points(numbers), _overtraining(numbers)]
    return section("Results", *(f'<div class="card">{card}</div>' for card in cards if card))


def _merits(numbers: dict[str, Any]) -> str:
    """Figures of merit, a column for each part."""
    parts = [part for part in PART_NAMES if numbers[part]]
    names = {
        "auc": "AUC", "accuracy": "Accuracy", "brier": "Brier score", "ece": "Expected calibration error",
        "mse": "Mean squared error", "mae": "Mean absolute error", "bias": "Mean of prediction − truth", "r2": "R²",
    }  # fmt: skip
    unit = (numbers["quantity"] or {"unit": ""})["unit"]
    units = {"mse": f"({unit})²", "mae": unit, "bias": unit} if unit else {}
    rows = [
        [name, *(measured(numbers[part][key], units.get(key, "")) for part in parts)]
        for key, name in names.items()
        if any(key in numbers[part] for part in parts)
    ]
    if len(numbers["classes"]) > 2:
        rows += [
            [f"AUC of {class_name(name)}", *(measured(numbers[part]["classes"][place]["auc"]) for part in parts)]
            for place, name in enumerate(numbers["classes"])
        ]
    events = ["Events", *(_events(numbers[part]) for part in parts)]
    reasons = {
        f"{names[key]}, {PART_NAMES[part].lower()}: {numbers[part][key]['reason']}."
        for part in parts
        for key in names
        if "reason" in numbers[part].get(key, {})
    }
    found = table(["Figure of merit", *(PART_NAMES[part] for part in parts)], [*rows, events] if parts else [])
    return found + items(sorted(reasons))


def _events(part: dict[str, Any]) -> str:
    sample = f" of {part['sampled_of']:,}" if part["sampled_of"] else ""
    weights = f" (sum of weights {number(part['sum_of_weights'])})" if part["weighted"] else ""
    return f"{part['events']:,}{sample}{weights}"


def _working_points(numbers: dict[str, Any]) -> str:
    several = len(numbers["classes"]) > 2
    rows = [
        [
            *([class_name(one["class"])] if several else []),
            f"{point['wanted']:.0%}",
            share(point["signal_efficiency"]),
            f"{point['threshold']:.4g}",
            f"{point['background_efficiency']:.4g}",
            _rejection(point),
        ]
        for one in (numbers["test"] or {}).get("classes", [])
        for point in one["working_points"]
    ]
    headers = ["Signal wanted", "Signal kept", "Cut on the score", "Background kept", "Background rejection"]
    return table([*(["Class"] if several else []), *headers], rows, "Working points, test part")


def _rejection(point: dict[str, Any]) -> str:
    if point["at_least"] is not None:
        return f"> {number(point['at_least'])} (95 %)"
    return measured(point["rejection"])


def _overtraining(numbers: dict[str, Any]) -> str:
    """The test of Kolmogorov and Smirnov for each distribution."""
    classes = numbers["classes"]
    if not classes:
        sides = [("Residuals", numbers["distributions"][0])]
    elif len(classes) == 2:
        (one,) = numbers["distributions"]
        sides = [(class_name(classes[1]), one["signal"]), (class_name(classes[0]), one["background"])]
    else:
        sides = [
            (f"Score of {class_name(one['class'])}, {whose}", one[side])
            for one in numbers["distributions"]
            for side, whose in (("signal", "its events"), ("background", "all others"))
        ]
    rows = [
        [name, number(ks["statistic"]), probability(ks["p_value"]), ks.get("reason", "")]
        for name, ks in ((name, side["kolmogorov_smirnov"]) for name, side in sides)
    ]
    return table(["Training and test", "KS distance", "p-value", ""], rows, "Overtraining check")


def _figures(pictures: Mapping[str, tuple[Plot, bytes]]) -> str:
    figures = [
        picture(
            plot.title,
            f"data:image/svg+xml;base64,{b64encode(svg).decode()}",
            plot.alternative,
            plot.caption,
            [f"figures/{name}.png", f"figures/{name}.pdf"],
            plot.wide,
        )
        for name, (plot, svg) in pictures.items()
    ]
    return section("Figures", '<div class="figures">\n' + "\n".join(figures) + "\n</div>" if figures else "")


def _data(numbers: dict[str, Any]) -> str:
    data = numbers["data"]
    features = [[one["name"], one["kind"], f"{one['dimension']:,}"] for one in data["features"]]
    ranking = (numbers["ranking"] or {"features": []})["features"]
    ranked = [[one["feature"], f"{one['loss']:.4g}", number(one["deviation"])] for one in ranking]
    cards = [
        _counts(data),
        _cutflow(data),
        _files(data),
        folded(
            f"{len(features):,} features in {data['columns']:,} columns",
            table(["Feature", "Kind", "Columns"], features),
        )
        + folded("Feature ranking", table(["Feature", "Loss when permuted", "Standard deviation"], ranked)),
        items(data["notes"]),
    ]
    return section("Data", *(f'<div class="card">{card}</div>' for card in cards if card))


def _counts(data: dict[str, Any]) -> str:
    """Events of each part and class."""
    classes = list(dict.fromkeys(name for counts in data["class_counts"].values() for name in counts))
    rows = [
        [part, f"{count:,}", *(f"{data['class_counts'].get(part, {}).get(name, 0):,}" for name in classes)]
        for part, count in data["counts"].items()
    ]
    return table(["Part", "Events", *map(class_name, classes)], rows, "Events after the selection")


def _files(data: dict[str, Any]) -> str:
    cuts = list(data["cutflow"])
    rows = [
        [
            file["path"],
            file["label"] or "–",
            f"{file['entries']:,}",
            *(f"{file['cutflow'].get(cut, 0):,}" for cut in cuts),
        ]
        for file in data["files"]
    ]
    return table(["File", "Label", "Events", *cuts], rows, "Files, and the events left after each cut")


def _cutflow(data: dict[str, Any]) -> str:
    """Events of all files after each cut, with the share of all and of those before the cut."""
    first = "all events" if data["cutflow"] else "all events, without cuts"
    rows, before = [[first, f"{data['entries']:,}", "", ""]], data["entries"]
    for cut, left in data["cutflow"].items():
        rows.append([cut, f"{left:,}", share(_ratio(left, before)), share(_ratio(left, data["entries"]))])
        before = left
    return table(["Cut", "Events left", "of those before", "of all"], rows, "Cut flow") if data["files"] else ""


def _ratio(left: int, of: int) -> float | None:
    return left / of if of else None


def _provenance(numbers: dict[str, Any]) -> str:
    cards = [
        f"<h3>Command</h3><pre>{escape(numbers['command'])}</pre>" if numbers["command"] else "",
        f"<h3>Parameters</h3>{pairs(numbers['parameters'])}" if numbers["parameters"] else "",
        folded("Lineage, as it is published with the model", pairs(numbers["lineage"])),
        _epochs(numbers["epochs"]),
    ]
    return section("Training", *(f'<div class="card">{card}</div>' for card in cards if card))


def _epochs(epochs: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for epoch in epochs for name in epoch))
    rows = [[_cell(epoch.get(name)) for name in names] for epoch in epochs]
    title = f"{len(epochs):,} epochs" if len(epochs) != 1 else "1 epoch"
    return folded(title, table([name.replace("_", " ") for name in names], rows))


def _cell(value: Any) -> str:
    return number(value) if isinstance(value, int | float | None) else str(value)
