"""Prepared events are those of the files, wherever they were prepared, and training takes them."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlaas.cluster import open_cluster
from mlaas.dataset import PARTS, Dataset, DatasetParams, EventData, PreparedDataset, prepare
from mlaas.dataset import arrowfiles as arrows
from mlaas.errors import DataError, ParameterError
from mlaas.inspection import histograms as drawing
from mlaas.params import TrainParams
from mlaas.prepare import tell_dataset
from mlaas.selection import Selection
from tests.mlaas.samples import make_sample
from tests.mlaas.test_train import MLAAS, MODEL

PARAMS = DatasetParams(
    selected=["met", "pt", "eta", "i_int32"], chunk_size=100, weight_branch="i_int8", jagged_quantile=0.9,
    normalisation="zscore",
)  # fmt: skip
CUT = {"define": {"ht": "sum(pt)"}, "cuts": ["met > 5"]}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("prepare")
    return [str(make_sample(folder / f"{seed}.root", 1000 * seed, seed, step=50)) for seed in (1, 2)]


def opened(files: list[str], **options: Any) -> Dataset:
    return Dataset(files, [1, 0], PARAMS, selection=Selection.from_dict(CUT), **options)


@pytest.fixture(scope="module")
def folder(files: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared") / "events"
    with opened(files) as dataset, pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrows, "BATCH_BYTES", 3000)  # many record batches
        prepare(dataset, folder, {})
    return folder


def rows(dataset: EventData, part: Any) -> np.ndarray:
    chunks = list(dataset.chunks(part))
    table = np.concatenate([np.column_stack([one.x, one.mask, one.y, one.weights]) for one in chunks])  # type: ignore[list-item]
    return table[np.lexsort(table.T)]


def raw(dataset: EventData, part: Any) -> np.ndarray:
    table = np.concatenate([np.column_stack(pair) for pair in dataset.raw_chunks(part)])
    return table[np.lexsort(np.nan_to_num(table, nan=-1e9).T)]


def test_prepared_events_are_those_of_the_files(files: list[str], folder: Path) -> None:
    with opened(files) as live, PreparedDataset(folder, PARAMS) as prepared:
        for part in PARTS:
            np.testing.assert_array_equal(rows(prepared, part), rows(live, part))
            np.testing.assert_array_equal(raw(prepared, part), raw(live, part))
        for name in (
            "features", "columns", "specs", "selection", "entries", "label_branch", "cutflow", "cutflows", "counts",
            "class_counts", "classes", "weighted", "notes",
        ):  # fmt: skip
            assert getattr(prepared, name) == getattr(live, name), name
        np.testing.assert_array_equal(prepared.assembler.scale, live.assembler.scale)


def test_chunks_are_mixed_and_differ_between_epochs(folder: Path) -> None:
    with PreparedDataset(folder, PARAMS) as prepared:
        chunks = list(prepared.chunks("train", 3))
        share = prepared.class_counts["train"][1.0] / prepared.counts["train"]
        assert all(len(one.y) <= 100 and one.y.sum() == pytest.approx(share * len(one.y), abs=2) for one in chunks)
        assert any(0 < one.y[:20].sum() < 20 for one in chunks)
        again, other = list(prepared.chunks("train", 3)), list(prepared.chunks("train", 4))
        np.testing.assert_array_equal(chunks[0].x, again[0].x)
        first, second = ({row.tobytes() for row in epoch[0].x} for epoch in (chunks, other))
        assert len(first & second) < len(first)


def test_fill_and_normalisation_may_still_be_chosen(folder: Path) -> None:
    with PreparedDataset(folder, DatasetParams(fill=-5, normalisation="none")) as prepared:
        chunk = next(prepared.chunks("test"))
        values, _ = next(prepared.raw_chunks("test"))
        np.testing.assert_array_equal(chunk.x, np.where(np.isnan(values), -5, values))


def test_processes_prepare_the_same_bytes(files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(files) as dataset:
        prepare(dataset, tmp_path / "here", {})
    seen: list[tuple[int, int]] = []
    with open_cluster(None, 2) as cluster, opened(files, cluster=cluster) as dataset:
        prepare(dataset, tmp_path / "there", {}, cluster, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (3000, 3000)
    names = sorted(path.name for path in (tmp_path / "here").iterdir())
    assert names == ["000000.arrow", "000001.arrow", "manifest.json", "specs.json"]
    for name in names:
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes(), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "there"]


def die_once(task: tuple[str, int]) -> int:
    flag, number = task
    if number == 3 and not os.path.exists(flag):
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def fail(number: int) -> int:
    raise DataError(f"file {number} is damaged")


def test_a_worker_that_dies_costs_its_tasks_and_not_the_job(tmp_path: Path) -> None:
    flag = str(tmp_path / "died")
    with open_cluster(None, 2) as cluster:
        assert cluster is not None
        assert list(cluster.map(die_once, [(flag, number) for number in range(20)])) == [n * n for n in range(20)]
        assert os.path.exists(flag)
        with pytest.raises(DataError, match="file 0 is damaged"):
            list(cluster.map(fail, [0, 1]))


def test_a_scheduler_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlaas.cluster.CONNECTION_TIMEOUT", 0.5)
    for address in ("tcp://127.0.0.1:1", "nonsense://"):
        with pytest.raises(ParameterError, match=f"--dask {address}: no scheduler"), open_cluster(address, None):
            pass


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Iterator[Path]:
    target = tmp_path / "copy"
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def test_damaged_folders_are_refused(copy: Path) -> None:
    def read() -> None:
        with PreparedDataset(copy) as prepared:
            for part in PARTS:
                list(prepared.chunks(part))

    read()
    file = copy / "000001.arrow"
    content = file.read_bytes()
    for place in range(1000, len(content) - 1000, len(content) // 7):
        file.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        with pytest.raises(DataError, match=r"000001\.arrow: "):
            read()
    file.write_bytes(content[:5000])
    with pytest.raises(DataError, match=r"000001\.arrow: cannot be read"):
        read()
    file.unlink()
    with pytest.raises(DataError, match=r"000001\.arrow: cannot be read: .*[Nn]o such file"):
        read()
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"format": 9}))
    with pytest.raises(DataError, match="format 9; expected 1"):
        read()
    (copy / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match=r"manifest\.json: not a manifest"):
        read()


def test_nothing_half_written_stays(files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(files) as dataset:
        (tmp_path / "there").mkdir()
        with pytest.raises(ParameterError, match="there is there already"):
            prepare(dataset, tmp_path / "there", {})
        with pytest.raises(ParameterError, match="there is no folder"):
            prepare(dataset, tmp_path / "no" / "folder", {})
        dataset.sources.readers[1].values = None  # type: ignore[assignment, method-assign]
        with pytest.raises(TypeError):
            prepare(dataset, tmp_path / "new", {})
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_the_training_part_is_drawn_from_files_and_from_prepared_events(
    files: list[str], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    draw_panels = drawing.draw_panels

    def draw(target: Path, panels: Any) -> list[Path]:
        drawn.append(panels)
        return draw_panels(target, panels)

    monkeypatch.setattr(drawing, "draw_panels", draw)
    monkeypatch.setattr(drawing, "_EVENTS_AT_A_TIME", 7)
    told: list[str] = []
    with opened(files) as live, PreparedDataset(folder, PARAMS) as prepared:
        for dataset, target in ((live, tmp_path / "live"), (prepared, tmp_path / "prepared.pdf")):
            tell_dataset(dataset, TrainParams(hist=str(target)), told.append)
            for panel in drawn[-1]:
                if panel.title in ("met", "i_int32"):  # one value in every event
                    for side in (0, 1):
                        counts = {label: one[side].sum() for label, one in panel.counts.items()}
                        assert counts == dataset.class_counts["train"], panel.title
        for one, other in zip(*drawn, strict=True):
            for label, histograms in one.counts.items():
                for mine, others in zip(histograms, other.counts[label], strict=True):
                    np.testing.assert_array_equal(mine.values(), others.values())
    assert [line for line in told if "drawn" in line] == [
        f"drawn: {tmp_path}/live/histograms.pdf", f"drawn: {tmp_path}/prepared.pdf",
    ]  # fmt: skip
    with pytest.raises(ParameterError, match=r"hist: x\.svg ends in \.svg; expected \.pdf"):
        TrainParams(hist="x.svg")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([MLAAS, *arguments], cwd=folder, capture_output=True, text=True, timeout=240, check=False)


def test_prepare_and_train_on_the_command_line(files: list[str], tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(MODEL)
    settings = {
        "epochs": 1,
        "selected_branches": ["met", "pt"],
        "chunk_size": 500,
        "weight": "i_uint8",
        "normalisation": "zscore",
    }
    (tmp_path / "params.json").write_text(json.dumps(settings))
    (tmp_path / "other.json").write_text(json.dumps(settings | {"split": 0.3}))
    (tmp_path / "preproc.yaml").write_text("cuts: [met > 5]\n")
    given = ("--files", ",".join(files), "--labels", "1,0", "--params", "params.json", "--preproc", "preproc.yaml")
    prepared = run(tmp_path, "prepare", *given, "--output", "events")
    assert prepared.returncode == 0, prepared.stderr
    assert "cut met > 5: " in prepared.stdout
    assert "events in events, " in prepared.stdout
    again = run(tmp_path, "prepare", *given, "--output", "events")
    assert (again.returncode, again.stderr) == (2, "mlaas: events is there already; expected a new folder\n")
    train = ("train", "--files", "events", "--model", "net.py", "--fout", "net.tar.gz", "--summary", "summary.json")
    for options, message in (
        (("--params", "other.json"), "prepared with split 0.2, not 0.3"),
        (("--labels", "1,0", "--params", "params.json"), "--labels: events was prepared with its own"),
    ):
        refused = run(tmp_path, *train, *options)
        assert refused.returncode == 2
        assert message in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
    trained = run(tmp_path, *train, "--params", "params.json")
    assert trained.returncode == 0, trained.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["features"] == ["met", "pt"]
    assert f"prepared {summary['events']} events" in prepared.stdout
    assert (tmp_path / "net.tar.gz").is_file()
    missing = run(tmp_path, "train", "--files", files[0], "--model", "net.py")
    assert (missing.returncode, "--labels is missing" in missing.stderr) == (2, True)
