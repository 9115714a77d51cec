"""A report is a page that needs nothing but itself, with the same numbers as JSON and figures for slides."""

import base64
import json
import re
import resource
import warnings
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from mlaas.dataset import Dataset, DatasetParams
from mlaas.errors import MlaasError
from mlaas.features import Feature
from mlaas.metrics import auc
from mlaas.report import DataSummary, Importance, InputFile, Run, Scores, write_report
from mlaas.report.numbers import numbers_of, plain
from mlaas.report.page import page
from mlaas.report.plots import PLOTS, house_style
from mlaas.report.text import measured
from mlaas.selection import Selection

HOSTILE = "<script>alert('x')</script>&\"$\\frac$ ☃漢"
KINDS = ("two", "one of two", "several", "quantity")


def scores(kind: str, events: int, seed: int, weighted: bool = False) -> Scores:
    rng = np.random.default_rng(seed)
    weights = rng.uniform(-0.2, 1.0, events) if weighted else None
    if kind == "quantity":
        truth = rng.normal(50, 10, events)
        return Scores(truth, (truth + rng.normal(0, 3, events))[:, None].astype("f4"), weights)
    classes = 4 if kind == "several" else 2
    labels = rng.integers(0, classes, events)
    logits = rng.normal(size=(events, classes)) + 1.5 * np.eye(classes)[labels]
    outputs = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype("f4")
    return Scores(labels, outputs[:, 1:] if kind == "one of two" else outputs, weights)


def make_run(kind: str = "one of two", events: int = 600, last: int = 3, **changes: Any) -> Run:
    classes = {"several": ("0", "1", "W", HOSTILE), "quantity": ()}.get(kind, ("background", "signal"))
    features = [Feature("jet_pt", "jagged", 4), Feature(HOSTILE, "flat"), Feature("met", "flat")]
    cuts = {"nlepton <= 2": 700, "any(jet_pt > 30)": 650}
    files = [InputFile(f"/data/{name}.root", 1_000, cuts, label) for name, label in (("a & b", "1"), ("c", "0"))]
    counts = {"train": events, "validation": 10, "test": events // 2}
    by_class = {part: dict.fromkeys(classes, 5) for part in counts} if classes else {}
    run = Run(
        model="single_top",
        data=DataSummary(files, features, counts, by_class, None, ("a note & more",)),
        classes=classes,
        epochs=[
            {
                "epoch": number,
                "loss": 1.0 / number,
                "validation_loss": 1.1 / number + 0.1 * (number > 2),
                "validation_auc": None if kind == "quantity" else 0.9 - 0.1 / number,
                "events_per_second": 1e5,
            }
            for number in range(1, last + 1)
        ],
        scores={"train": scores(kind, events, 1), "test": scores(kind, events // 2, 2)},
        parameters={
            "nan": float("nan"),
            "selected_branches": [HOSTILE],
            "batch_size": np.int64(100),
            "path": Path("a"),
        },
        lineage={"preproc": {"flat_cut": {HOSTILE: {"cut": "x<3"}}}, "files": [{"path": "a.root"}]},
        command=f"mlaas train --files {HOSTILE}",
        ranking=[Importance(feature.name, 0.1, 0.01) for feature in features],
        quantity="p_T^miss",
        unit="GeV",
    )
    return replace(run, **changes)


@pytest.fixture(scope="module", params=KINDS)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Any]:
    """A kind of model, the folder of its report and what was returned of it."""
    folder = tmp_path_factory.mktemp("report")
    return request.param, folder, write_report(folder, make_run(request.param))


def shown(run: Run) -> tuple[Any, str]:
    """The numbers of a run as JSON has them and the text of its page, after its figures were drawn."""
    numbers = json.loads(json.dumps(numbers_of(run), allow_nan=False))
    with house_style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        for draw in PLOTS.values():
            if (plot := draw(numbers)) is not None:
                plot.figure.set_layout_engine("none")
                plot.figure.draw_without_rendering()
    return numbers, Page(page(numbers, {})).text


class Page(HTMLParser):
    """What a browser would load, follow and show."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.add(tag)
        self.loaded += [value for name in ("src", "srcset", "data") if (value := attributes.get(name))]
        if tag in ("link", "base"):
            self.loaded.append(attributes.get("href") or "")
        if tag == "a":
            self.links.append(attributes.get("href") or "")
        if tag == "img":
            self.images.append(attributes)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def strict_json(path: Path) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_a_page_needs_nothing_but_itself(written: tuple[str, Path, Any]) -> None:
    _, folder, numbers = written
    assert strict_json(folder / "report.json") == numbers
    text = (folder / "report.html").read_text()
    found = Page(text)
    assert found.loaded
    assert all(source.startswith("data:image/svg+xml;base64,") for source in found.loaded)
    style = re.search("<style>(.*)</style>", text, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    assert not found.tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for source in found.loaded:
        picture = base64.b64decode(source.partition(",")[2]).decode()
        assert not re.search(r'(?:href|src)="(?!#|data:)', picture)
    for image in found.images:
        assert image["alt"]
    # What links lead to is beside the page.
    assert found.links
    assert all((folder / link).is_file() for link in found.links)
    assert HOSTILE in found.text
    assert "a note & more" in found.text


def test_figures_are_there_as_png_and_pdf(written: tuple[str, Path, Any]) -> None:
    kind, folder, _ = written
    expected = {"ranking", "training"}
    expected |= (
        {"truth", "residuals"} if kind == "quantity" else {"roc", "scores", "rejection", "confusion", "calibration"}
    )
    names = sorted(path.name for path in (folder / "figures").iterdir())
    assert names == sorted(f"{name}.{kind}" for name in expected for kind in ("pdf", "png"))
    for name in expected:
        with Image.open(folder / "figures" / f"{name}.png") as image:
            assert image.width > 1_200
            assert len(set(image.convert("L").tobytes())) > 1
        content = (folder / "figures" / f"{name}.pdf").read_bytes()
        assert content.startswith(b"%PDF")
        assert b"/Type3" not in content
    assert sorted(path.name for path in folder.iterdir()) == ["figures", "report.html", "report.json"]


@pytest.mark.parametrize("kind", KINDS)
def test_axes_have_labels_and_curves_have_legends(kind: str) -> None:
    numbers = numbers_of(make_run(kind))
    with house_style():
        for name, draw in PLOTS.items():
            plot = draw(numbers)
            if plot is None:
                continue
            assert plot.title
            assert plot.caption
            assert plot.alternative
            figure = plot.figure
            axes = [one for one in figure.axes if one.get_label() != "<colorbar>"]
            for one in axes:
                # Panels below each other share the label of the lowest.
                shared = one.get_shared_x_axes().get_siblings(one)
                assert any(other.get_xlabel() for other in shared), name
                assert one.get_ylabel(), name
                sizes = [text.get_size() for text in (one.xaxis.label, one.yaxis.label, *one.get_yticklabels())]
                assert min(sizes) >= 12, name
            if name not in ("ranking", "confusion"):
                assert any(one.get_legend() is not None for one in axes), name
    if kind == "quantity":
        with house_style():
            truth = PLOTS["truth"](numbers)
            residuals = PLOTS["residuals"](numbers)
        assert truth is not None
        assert residuals is not None
        assert truth.figure.axes[0].get_xlabel() == "True p_T^miss [GeV]"
        assert residuals.figure.axes[0].get_ylabel().endswith(" GeV")
        assert residuals.figure.axes[1].get_xlabel().endswith("p_T^miss [GeV]")


def test_figures_leave_no_trace_in_matplotlib(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    with mpl.rc_context({"text.usetex": True, "font.size": 40}):
        write_report(tmp_path / "a", make_run("quantity", created="2026-01-01"))
    assert dict(mpl.rcParams) == before
    write_report(tmp_path / "b", make_run("quantity", created="2026-01-01"))
    for path in sorted((tmp_path / "a").rglob("*.*")):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes(), path


def test_the_overlay_shows_training_as_points_and_test_as_filled_histograms() -> None:
    numbers = numbers_of(make_run())
    with house_style():
        plot = PLOTS["scores"](numbers)
    assert plot is not None
    upper = plot.figure.axes[0]
    labels = [text.get_text() for text in upper.get_legend().get_texts()]
    assert [label for label in labels if label.endswith("test")] == ["signal, test", "background, test"]
    assert sum("training (KS p = " in label for label in labels) == 2
    assert len(upper.containers) == 2
    signal = numbers["distributions"][0]["signal"]["train"]
    points, _, (bars,) = upper.containers[0].lines
    assert points.get_ydata() == pytest.approx(signal["shares"])
    heights = [segment[1][1] - segment[0][1] for segment in bars.get_segments()]
    assert heights == pytest.approx(2 * np.array(signal["uncertainties"]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "changes",
    [
        {"scores": {}},
        {"epochs": [], "ranking": None},
        {"data": DataSummary([], [], {"train": 0, "validation": 0, "test": 0})},
        {"parameters": {}, "lineage": {}, "command": "", "ranking": []},
    ],
    ids=["no scores", "no epochs", "no data", "no parameters"],
)
def test_what_is_missing_is_left_out(kind: str, changes: dict[str, Any]) -> None:
    _, text = shown(make_run(kind, **changes))
    assert ("the test part has no event" in text) == ("scores" in changes)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("events", [0, 1, 2, 3])
def test_few_events_in_the_test_part(kind: str, events: int) -> None:
    run = make_run(kind, scores={"train": scores(kind, 50, 1), "test": scores(kind, events, 2)}, epochs=[])
    numbers, _ = shown(run)
    assert (numbers["test"] or {"events": 0})["events"] == events


def test_one_class_alone_in_the_test_part() -> None:
    one = Scores(np.ones(40, int), np.linspace(0, 1, 40, dtype="f4")[:, None])
    run = make_run()
    numbers, text = shown(replace(run, scores={"train": run.scores["train"], "test": one}))
    assert numbers["test"]["auc"] == {
        "value": None,
        "uncertainty": None,
        "reason": "signal: there is no background event",
    }
    assert "there is no background event" in text


def test_a_class_with_negative_weights_alone() -> None:
    part = scores("one of two", 80, 3)
    weights = np.where(part.truth == 1, -1.0, 1.0)
    numbers, _ = shown(make_run(scores={"train": part, "test": Scores(part.truth, part.outputs, weights)}))
    assert "signal: the weights of the signal add up to" in numbers["test"]["auc"]["reason"]
    assert numbers["distributions"][0]["signal"]["test"] is None


@pytest.mark.parametrize("kind", KINDS)
def test_constant_scores_and_one_epoch(kind: str) -> None:
    run = make_run(kind, last=1)
    constant = {
        name: Scores(part.truth, np.full_like(part.outputs, 1 / part.outputs.shape[1]))
        for name, part in run.scores.items()
    }
    numbers, _ = shown(replace(run, scores=constant))
    assert numbers["best_epoch"] == 1
    if kind != "quantity":
        assert numbers["test"]["auc"]["value"] == 0.5


def test_a_single_class_has_no_figures_of_two() -> None:
    part = Scores(np.zeros(40, int), np.linspace(0, 1, 40, dtype="f4")[:, None])
    numbers, text = shown(make_run(classes=["1"], scores={"train": part, "test": part}))
    assert numbers["test"]["classes"][0]["events"] == 40
    assert "class 1: there is no background event" in text


def test_the_area_of_the_report_is_that_of_the_training(written: tuple[str, Path, Any]) -> None:
    kind, _, numbers = written
    if kind == "quantity":
        assert "auc" not in numbers["test"]
        return
    part = make_run(kind).scores["test"]
    assert numbers["test"]["auc"]["value"] == pytest.approx(auc(part.truth, part.outputs), abs=1e-12)


def test_without_validation_there_is_no_best_epoch() -> None:
    epochs = [{"epoch": 1, "loss": 0.5, "validation_loss": None, "validation_auc": None, "events_per_second": 9.0}]
    numbers, _ = shown(make_run(epochs=epochs))
    assert numbers["best_epoch"] is None
    with house_style():
        plot = PLOTS["training"](numbers)
    assert plot is not None
    (axes,) = plot.figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["training"]


def test_the_best_epoch_is_that_of_the_lowest_validation_loss() -> None:
    assert numbers_of(make_run(last=4))["best_epoch"] == 4
    assert numbers_of(make_run(last=3))["best_epoch"] == 3


def test_many_features_are_ranked_in_the_json_and_the_first_30_drawn() -> None:
    ranking = [Importance(f"feature {place}", 1.0 / (place + 1), 0.001) for place in range(500)]
    features = [Feature(one.feature, "flat") for one in ranking]
    run = make_run(ranking=ranking)
    numbers, text = shown(replace(run, data=replace(run.data, features=features)))
    assert [one["feature"] for one in numbers["ranking"]["features"]] == [one.feature for one in ranking]
    with house_style():
        plot = PLOTS["ranking"](numbers)
    assert plot is not None
    assert [text.get_text() for text in plot.figure.axes[0].get_yticklabels()] == [f"feature {n}" for n in range(30)]
    assert len(text) < 200_000


def test_many_classes_and_files_stay_readable() -> None:
    rng = np.random.default_rng(5)
    truth, outputs = rng.integers(0, 40, 2_000), rng.random((2_000, 40), "f4")
    run = make_run("several")
    files = [InputFile(f"/data/{place}.root", 10, {"a": 5}) for place in range(2_000)]
    part = Scores(truth, outputs / outputs.sum(axis=1, keepdims=True))
    run = replace(
        run,
        classes=[str(place) for place in range(40)],
        scores={"train": part, "test": part},
        data=replace(run.data, files=files),
    )
    numbers, text = shown(run)
    assert len(numbers["test"]["classes"]) == 40
    assert numbers["data"]["cutflow"] == {"a": 10_000}
    assert "and 1,400 more, which are in report.json" in text
    assert len(text) < 500_000


def test_another_report_takes_the_place_of_the_first(tmp_path: Path) -> None:
    write_report(tmp_path, make_run())
    (tmp_path / "figures" / "mine.txt").write_text("kept")
    write_report(tmp_path, make_run("quantity"))
    names = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert names == {"truth", "residuals", "ranking", "training", "mine"}


def test_a_place_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MlaasError, match=r"file/report: the report cannot be written: Not a directory"):
        write_report(tmp_path / "file" / "report", make_run())


def test_outputs_that_do_not_fit_the_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="test: 4 outputs for 2 classes: expected 1 or 2"):
        make_run(scores={"test": scores("several", 10, 1)})
    with pytest.raises(ValueError, match="expected indices of the classes"):
        make_run(scores={"test": Scores(np.array([0, 2]), np.zeros((2, 1), "f4"))})


def test_a_summary_of_real_events(tmp_path: Path) -> None:
    for name, shift in (("signal", 1), ("background", 0)):
        rows = [f"{event + shift},{event % 7}" for event in range(200)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["met,nlepton", *rows]) + "\n")
    files = [str(tmp_path / f"{name}.csv") for name in ("signal", "background")]
    selection = Selection.from_dict({"cuts": ["nlepton <= 4"]})
    with Dataset(files, [1, 0], DatasetParams(), selection=selection) as dataset:
        summary = DataSummary.of(dataset, dict(zip(files, ("1", "0"), strict=True)))
        numbers, text = shown(make_run(data=summary))
        left = sum(dataset.counts.values())
    assert [(file["path"], file["label"], file["entries"]) for file in numbers["data"]["files"]] == [
        (files[0], "1", 200),
        (files[1], "0", 200),
    ]
    assert numbers["data"]["cutflow"] == {"nlepton <= 4": left}
    assert numbers["data"]["features"][0] == {"name": "met", "kind": "flat", "dimension": 1}
    assert {name: sum(counts.values()) for name, counts in numbers["data"]["class_counts"].items()} == dataset.counts
    assert f"nlepton <= 4{left:,}" in text


@pytest.mark.parametrize(
    ("value", "uncertainty", "text"),
    [
        (0.912345, 0.00312, "0.9123 ± 0.0031"),
        (580.7, 183.0, "580 ± 180"),
        (12_345.6, 98.7, "12,346 ± 99"),
        (1.5e9, 2e8, "1.5e+09 ± 2e+08"),
        (0.5, 0.0, "0.5"),
        (3.0, None, "3"),
        (None, None, "–"),
    ],
)
def test_values_have_the_digits_that_their_uncertainties_leave(
    value: float | None, uncertainty: float | None, text: str
) -> None:
    assert measured({"value": value, "uncertainty": uncertainty}) == text


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    write_report(tmp_path, make_run("quantity", created="before"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, hard))
    try:
        with pytest.raises(MlaasError, match="the report cannot be written: File too large"):
            write_report(tmp_path, make_run("quantity", created="after"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert strict_json(tmp_path / "report.json")["created"] == "before"
    assert not list(tmp_path.rglob(".*"))


def test_the_documentation_names_every_number(written: tuple[str, Path, Any]) -> None:
    _, _, numbers = written
    text = (Path(__file__).parents[2] / "docs" / "report.md").read_text()

    def names(value: Any) -> set[str]:
        if isinstance(value, dict):
            return set(value).union(*map(names, value.values()))
        return set().union(*map(names, value)) if isinstance(value, list) else set()

    # What the user and the files name is theirs.
    ours = {key: one for key, one in numbers.items() if key not in ("parameters", "lineage", "epochs", "data")}
    known = set(numbers) | set(numbers["data"]) | names(ours)
    assert sorted(name for name in known if f"`{name}`" not in text) == []


def test_numbers_are_plain() -> None:
    content = {"a": np.float32("nan"), "b": [np.int64(3), float("inf")], 4: {"c": (True, None, Path("x"))}}
    assert plain(content) == {"a": None, "b": [3, None], "4": {"c": [True, None, "x"]}}
