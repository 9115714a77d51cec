"""`mlaas score` that is killed, interrupted or out of room goes on where it was."""

import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlaas.scoring import ScoreOptions, ScoringError, score_files
from tests.mlaas.scored import MLAAS, mlaas_score, publish, read_scores, write_bundle, write_events

EVENTS, STEP = 4000, 8


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two files of events, a registry that has a model, and the scores as they should be."""
    folder = tmp_path_factory.mktemp("resume")
    for number in (1, 2):
        write_events(folder / f"events{number}.root", EVENTS // 2, seed=number, step=1000)
    publish(write_bundle(folder, "net"), folder)
    score(folder, folder / "whole.root", step=1000)
    return folder


def score(work: Path, out: Path, tell: Callable[[str], None] = lambda line: None, **options: Any) -> None:
    given = {"files": f"{work}/events1.root,{work}/events2.root", "step": STEP} | options
    score_files(ScoreOptions(model="net", registry=f"sqlite:///{work / 'registry.db'}", out=out, **given), tell)


def arguments(work: Path, out: Path, *more: object) -> list[str]:
    given = ["--model", "net", "--registry", f"sqlite:///{work / 'registry.db'}", "--out", out, "--step", STEP]
    return [*map(str, given), "--files", f"{work}/events1.root,{work}/events2.root", *map(str, more)]


def stopped(work: Path, out: Path, number: int, *more: str) -> subprocess.CompletedProcess[str]:
    """`mlaas score`, sent a signal when it has made some parts."""
    state = state_of(out)
    process = subprocess.Popen(
        [MLAAS, "score", *arguments(work, out, *more)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and len(list(state.glob("*.arrow"))) < 5:
        time.sleep(0.001)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def state_of(out: Path) -> Path:
    return out / ".scoring" if not out.suffix else out.with_name(f".{out.name}.scoring")


def assert_same(first: Path, second: Path) -> None:
    one, other = read_scores(first), read_scores(second)
    assert list(one) == list(other)
    for name, values in one.items():
        assert values.dtype == other[name].dtype
        np.testing.assert_array_equal(values, other[name])


@pytest.mark.parametrize("name", ["s.root", "s.parquet"])
def test_killed_and_resumed_gives_the_same_as_left_alone(work: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    assert stopped(work, out, signal.SIGKILL).returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == [f".{name}.scoring"]
    refused = mlaas_score(*arguments(work, out))
    assert refused.returncode == 2
    assert "an unfinished scoring is there; expected --resume to go on with it, or --force" in refused.stderr
    shutil.copytree(state_of(out), kept := tmp_path / "kept")
    done = mlaas_score(*arguments(work, out, "--resume"))
    assert done.returncode == 0, done.stderr
    assert_same(out, work / "whole.root")
    # What was done before the kill is not done again: a part that was changed stays so.
    other = tmp_path / f"other-{name}"
    kept.rename(state_of(other))
    part = next(state_of(other).glob("0-0-*.arrow"))
    with pa.OSFile(str(part)) as source:
        table = pa.ipc.open_file(source).read_all()
    marked = table.set_column(3, "score", pa.array(np.full(STEP, 42, "f4")))
    with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, marked.schema) as writer:
        writer.write_table(marked)
    score(work, other, resume=True)
    scores = read_scores(other)["score"]
    assert (scores[:STEP] == 42).all()
    np.testing.assert_array_equal(scores[STEP:], read_scores(out)["score"][STEP:])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, other.name])


def test_a_folder_of_outputs_goes_on_where_it_was(work: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores"
    assert stopped(work, out, signal.SIGTERM).returncode == 130
    assert state_of(out).is_dir()
    score(work, out, resume=True)
    assert sorted(path.name for path in out.iterdir()) == ["events1.root", "events2.root"]
    together = read_scores(work / "whole.root")["score"]
    apart = [read_scores(out / f"events{number}.root")["score"] for number in (1, 2)]
    np.testing.assert_array_equal(np.concatenate(apart), together)


def test_control_c_keeps_what_is_done_and_says_so(work: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.root"
    done = stopped(work, out, signal.SIGINT)
    assert done.returncode == 130
    assert done.stderr.strip() == "mlaas: interrupted"
    assert f"what is done is kept in {state_of(out)}: --resume goes on with it" in done.stdout
    assert not out.exists()


def test_begin_again_by_force(work: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.root"
    stopped(work, out, signal.SIGKILL)
    score(work, out, force=True, step=1000)
    assert_same(out, work / "whole.root")
    assert [path.name for path in tmp_path.iterdir()] == ["s.root"]


def test_another_scoring_can_not_go_on_with_it(work: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.root"
    stopped(work, out, signal.SIGKILL)
    others: dict[str, dict[str, Any]] = {
        f"has step {STEP}, not 100": {"step": 100},
        "has other files, or files that have changed": {"files": f"{work}/events2.root,{work}/events1.root"},
        "has format ttree, not rntuple": {"format": "rntuple"},
        "has other identifiers": {"identifier": "event"},
    }
    for message, changed in others.items():
        with pytest.raises(ScoringError, match=message):
            score(work, out, resume=True, **changed)
    score(work, out, resume=True)
    assert_same(out, work / "whole.root")


def test_two_at_a_time_are_refused(work: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.root"
    process = subprocess.Popen([MLAAS, "score", *arguments(work, out)], stdout=subprocess.DEVNULL)
    try:
        while process.poll() is None and not list(state_of(out).glob("*.arrow")):
            time.sleep(0.001)
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(ScoringError, match="another process is scoring into it"):
            score(work, out, resume=True)
    finally:
        process.send_signal(signal.SIGCONT)
        process.wait(60)
    assert process.returncode == 0
    assert_same(out, work / "whole.root")


@pytest.mark.parametrize("name", ["s.root", "s.parquet"])
@pytest.mark.parametrize("room", [600, 30_000])
def test_a_full_disk_leaves_nothing_half_written(work: Path, tmp_path: Path, name: str, room: int) -> None:
    out = tmp_path / name
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_the_disk(line: str) -> None:
        # Told before anything is written; no file may grow beyond this, as if the disk were full.
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))

    try:
        with pytest.raises(ScoringError, match=f"{name}: cannot be written: File too large"):
            score(work, out, tell=fill_the_disk)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not out.exists()
    score(work, out, resume=True)
    assert_same(out, work / "whole.root")
