"""`mlaas inspect` says what numpy says of a file, and draws what is in it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from PIL import Image

from mlaas.assembly import Assembler
from mlaas.errors import DataError, ParameterError
from mlaas.features import Feature
from mlaas.inspection import draw_branches, draw_histograms, inspect_file
from mlaas.inspection.histograms import _wide
from mlaas.normalisation import Scaling
from tests.mlaas.formats import WRITERS, without_huge_integers
from tests.mlaas.samples import Sample, make_sample


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return without_huge_integers(make_sample(tmp_path_factory.mktemp("inspect") / "all.root", 300))


def run(*arguments: str | Path, code: int = 0) -> Any:
    program = [str(Path(sys.executable).with_name("mlaas")), "inspect", *map(str, arguments)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.parametrize("suffix", [".root", ".parquet", ".avro", ".json"])
def test_ranges_and_shares_are_those_of_numpy(sample: Sample, tmp_path: Path, suffix: str) -> None:
    path = sample.path
    if suffix != ".root":
        path = tmp_path / f"data{suffix}"
        WRITERS[suffix](sample, path)
    found = inspect_file(str(path))
    assert (found.entries, found.read) == (300, 300)
    for name, values in sample.flat.items():
        one = found.branches[name]
        if name != "i_uint64":
            assert (one.minimum, one.maximum) == (float(values.min()), float(values.max())), name
        assert (one.dimension, one.values, one.missing, one.empty) == (1, 300, 0, 0)
    for name, lists in sample.jagged.items():
        one = found.branches[name]
        everything = np.concatenate(lists)
        assert (one.minimum, one.maximum) == (float(everything.min()), float(everything.max())), name
        assert one.dimension == max(map(len, lists))
        assert (one.values, one.empty) == (len(everything), sum(not len(values) for values in lists))


def test_missing_values_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,name\n1,a\n,b\nnan,c\ninf,d\n")
    found = inspect_file(str(tmp_path / "a.csv"))
    assert (found.branches["x"].missing, found.branches["x"].missing_share) == (3, 0.75)
    assert (found.branches["x"].minimum, found.branches["x"].maximum) == (1, 1)
    assert found.skipped == {"name": "it holds strings"}


def test_the_table_and_the_json_of_the_command(sample: Sample) -> None:
    table = run(sample.path, "--branches", "met,v_*").stdout
    assert "events: 300 events, 8 branches" in table
    assert f"{sample.flat['met'].max():.6g}" in table
    assert "events/s" in table
    assert "…" not in table
    content = json.loads(run(sample.path, "--branches", "pt", "--nevts", "100", "--json").stdout)
    assert (content["tree"], content["entries"], content["read"]) == ("events", 300, 100)
    (branch,) = content["branches"]
    assert branch["maximum"] == float(np.concatenate(sample.jagged["pt"][:100]).max())
    assert (branch["kind"], branch["dtype"]) == ("jagged", "float32")
    assert content["events_per_second"] > 0


def test_a_file_with_several_trees_lists_them(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "two.root") as file:
        for name, entries in (("events", 7), ("runs", 1)):
            file.mktree(name, {"x": "f4"})
            file[name].extend({"x": np.zeros(entries)})
    content = json.loads(run(tmp_path / "two.root", "--json").stdout)
    assert (content["trees"], content["tree"], content["branches"]) == ({"events": 7, "runs": 1}, None, [])
    assert "--tree" in run(tmp_path / "two.root").stdout
    assert "7 events" in run(tmp_path / "two.root", "--tree", "events").stdout
    wrong = run(tmp_path / "two.root", "--tree", "event", code=2).stderr
    assert wrong.count("\n") == 1
    assert "no tree event; did you mean events?" in wrong


def test_what_cannot_be_inspected(sample: Sample, tmp_path: Path) -> None:
    assert "no such file" in run(tmp_path / "none.root", code=2).stderr
    assert "expected .pdf, .png" in run(sample.path, "--hist", "x.svg", code=2).stderr
    with pytest.raises(ParameterError, match="no branch matches 'jt'"):
        inspect_file(str(sample), selected=["jt"])
    with pytest.raises(ParameterError, match=r"--nevts -2: expected -1"):
        inspect_file(str(sample), nevts=-2)
    (tmp_path / "words.csv").write_text("a,b\nx,y\n")
    with pytest.raises(DataError, match=r"no branch holds numbers: a \(it holds strings\), b"):
        inspect_file(str(tmp_path / "words.csv"))


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_output_that_nobody_takes(sample: Sample, options: tuple[str, ...]) -> None:
    program = [str(Path(sys.executable).with_name("mlaas")), "inspect", str(sample.path), *options]
    with open("/dev/full", "w") as full:
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "mlaas: cannot be written: No space left on device\n")
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_histograms_of_a_file_are_pages(sample: Sample, tmp_path: Path) -> None:
    run(sample.path, "--hist", tmp_path / "out.pdf", "--branches", "met,pt,eta,v_*")
    content = (tmp_path / "out.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert b"/Count 2" in content
    found = inspect_file(str(sample), selected=["met", "pt", "eta", "v_*"])
    written = draw_branches(tmp_path / "out.png", found)
    assert [path.name for path in written] == ["out-1.png", "out-2.png"]
    for path in written:
        with Image.open(path) as image:
            assert len(set(image.convert("L").tobytes())) > 1
    assert draw_branches(tmp_path / "pdfs", found) == [tmp_path / "pdfs" / "histograms.pdf"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out-1.png", "out-2.png", "out.pdf", "pdfs"]


@pytest.mark.parametrize("normalisation", ["minmax", "zscore", "robust", "none"])
def test_the_normalisation_of_histograms_can_be_chosen(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, normalisation: str
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr("mlaas.inspection.histograms.draw_panels", lambda target, panels: drawn.extend(panels) or [])
    draw_branches(tmp_path / "out.pdf", inspect_file(str(sample), selected=["met"]), normalisation=normalisation)
    values = sample.flat["met"].astype("f8")
    quartiles = np.quantile(values, [0.25, 0.5, 0.75])
    shift, scale = {
        "minmax": (values.min(), np.ptp(values)),
        "zscore": (values.mean(), values.std()),
        "robust": (quartiles[1], quartiles[2] - quartiles[0]),
        "none": (0, 1),
    }[normalisation]
    (panel,) = drawn
    low, high = panel.ranges[1]
    assert low == pytest.approx((values.min() - shift) / scale, abs=1e-3, rel=1e-4)
    assert high == pytest.approx((values.max() - shift) / scale, abs=1e-3, rel=1e-4)
    assert panel.counts[None][1].sum() == len(values)


def test_an_unknown_normalisation_is_refused(sample: Sample) -> None:
    done = run(sample.path, "--hist", "x.pdf", "--normalisation", "zcore", code=2)
    assert "normalisation: 'zcore' is given for *; did you mean zscore?" in done.stderr


def test_histograms_of_a_training_have_a_line_for_each_class_and_every_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = [Feature("met", "flat"), Feature("pt", "jagged", 2)]
    ranges = {"met": (0.0, 4.0), "pt": (1.0, 9.0)}
    assembler = Assembler(features, [Scaling(0.0, 1 / 4), Scaling(1.0, 1 / 8)])
    chunks = [
        (np.array([[0, 1, np.nan], [4, 5, 9]], "f4"), np.array([0, 1], "f4")),
        (np.array([[2, 1, 1]], "f4"), np.array([1], "f4")),
    ]
    drawn: list[Any] = []
    monkeypatch.setattr("mlaas.inspection.histograms.draw_panels", lambda target, panels: drawn.extend(panels) or [])
    draw_histograms(tmp_path / "out.pdf", features, ranges, chunks, assembler.normalise)
    met, pt = drawn
    for side in (0, 1):
        assert {label: one[side].sum() for label, one in met.counts.items()} == {0.0: 1, 1.0: 2}
        assert {label: one[side].sum() for label, one in pt.counts.items()} == {0.0: 1, 1.0: 4}
    assert met.counts[1.0][0].to_numpy()[0][-1] == 1
    assert met.counts[1.0][1].to_numpy()[0][49:51].sum() == 1


def test_labels_that_are_a_quantity_are_drawn_together(tmp_path: Path) -> None:
    features = [Feature("met", "flat")]
    rng = np.random.default_rng(1)
    chunks = [(rng.random((50, 1), "f4"), rng.random(50, "f4")) for _ in range(2)]
    assembler = Assembler(features, [Scaling(0.0, 1.0)])
    written = draw_histograms(tmp_path / "a.png", features, {"met": (0.0, 1.0)}, chunks, assembler.normalise)
    assert written == [tmp_path / "a.png"]


@pytest.mark.parametrize(("low", "high"), [(3.0, 3.0), (0.0, 1e-30), (-1e30, 1e30), (5e8, 5e8)])
def test_the_extremes_are_inside_the_axis(low: float, high: float) -> None:
    begin, end = _wide(low, high)
    assert begin <= low <= high < end
