"""`mlaas score`: what comes out, whatever goes in."""

import asyncio
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from mlaas.errors import DataError, MlaasError, ParameterError
from mlaas.features import Feature
from mlaas.publish import publish_bundle
from mlaas.scoring import Scored, ScoreOptions, ScoringError, score_files
from tests.mlaas.conftest import XRootD
from tests.mlaas.samples import make_sample
from tests.mlaas.scored import (
    expected_scores,
    mlaas_score,
    network,
    publish,
    read_branches,
    read_scores,
    write_bundle,
    write_events,
)
from tests.networks import model_bytes
from tests.postgresql import running_postgresql

DATA = Path(__file__).parents[3] / "shared" / "data"
IDENTIFIERS = ("run", "luminosityBlock", "event")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of events, a bundle and a registry that has it."""
    folder = tmp_path_factory.mktemp("score")
    write_events(folder / "events.root", 500)
    publish(write_bundle(folder, "net"), folder)
    return folder


def score(work: Path, files: object, out: Path, **options: object) -> Scored:
    given = {"model": "net", "registry": f"sqlite:///{work / 'registry.db'}", **options}
    return score_files(ScoreOptions(files=str(files), out=out, **given), lambda line: None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "form"), [("s.root", "ttree"), ("s.root", "rntuple"), ("s.parquet", "parquet")])
def test_an_entry_for_each_entry_in_the_same_order_with_exact_numbers(
    work: Path, tmp_path: Path, name: str, form: str
) -> None:
    path = work / "events.root"
    done = mlaas_score(
        *("--model", "net@latest", "--registry", f"sqlite:///{work / 'registry.db'}"),
        *("--files", path, "--out", tmp_path / name, "--format", form, "--step", 70),
    )
    assert done.returncode == 0, done.stderr
    assert "500 events" in done.stdout
    assert [one.name for one in tmp_path.iterdir()] == [name]
    scores, original = read_scores(tmp_path / name), read_branches(path, *IDENTIFIERS)
    assert set(scores) == {*IDENTIFIERS, "score"}
    for branch, values in original.items():
        assert scores[branch].dtype == values.dtype
        np.testing.assert_array_equal(scores[branch], values)
    assert int(scores["event"][1]) == 2**60 + 4
    assert scores["score"].dtype == np.float32
    np.testing.assert_allclose(scores["score"], expected_scores(path)[:, 0], rtol=1e-6)


def test_the_friend_tree_says_where_it_comes_from(work: Path, tmp_path: Path) -> None:
    score(work, work / "events.root", tmp_path / "s.root")
    with uproot.open(tmp_path / "s.root") as file:
        assert file.classnames() == {"scores;1": "TTree"}
        assert file["scores"].title.startswith("scores of net:1, bundle sha256 ")


def test_a_bundle_needs_no_registry(work: Path, tmp_path: Path) -> None:
    path = work / "events.root"
    done = mlaas_score("--model", work / "net.tar.gz", "--files", path, "--out", tmp_path / "s.parquet")
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(read_scores(tmp_path / "s.parquet")["score"], expected_scores(path)[:, 0], rtol=1e-6)


def test_inside_a_running_event_loop_as_notebooks_have_it(work: Path, tmp_path: Path) -> None:
    async def cell() -> Scored:
        return score(work, work / "events.root", tmp_path / "s.root")

    assert asyncio.run(cell()).outputs == {tmp_path / "s.root": 500}


def test_a_model_in_postgresql(work: Path, tmp_path: Path) -> None:
    with running_postgresql() as database:
        publish_bundle(work / "net.tar.gz", database.url)
        done = score(work, work / "events.root", tmp_path / "s.root", registry=database.url)
    assert done.model == "net:1"
    expected = expected_scores(work / "events.root")[:, 0]
    np.testing.assert_allclose(read_scores(tmp_path / "s.root")["score"], expected, rtol=1e-6)


def test_a_class_has_a_branch_each_named_by_its_label(work: Path, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, "classes", labels=["top", "W+jets", "7"])
    score(work, work / "events.root", tmp_path / "s.root", model=str(bundle))
    scores = read_scores(tmp_path / "s.root")
    expected = expected_scores(work / "events.root", outputs=3)
    for place, name in enumerate(("score_top", "score_W_jets", "score_7")):
        np.testing.assert_allclose(scores[name], expected[:, place], rtol=1e-6)


def test_every_output_of_floating_point_and_fixed_batches(work: Path, tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    content = model_bytes(
        [
            helper.make_node("ReduceSum", ["x", "axes"], ["total"]),
            helper.make_node("Mul", ["x", "two"], ["twice"]),
            helper.make_node("ArgMax", ["x"], ["largest"], axis=1),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [64, 2])],
        [
            helper.make_tensor_value_info("largest", TensorProto.INT64, [64, 1]),
            helper.make_tensor_value_info("total", TensorProto.FLOAT, [64, 1]),
            helper.make_tensor_value_info("twice", TensorProto.FLOAT, [64, 2]),
        ],
        axes=np.array([1]),
        two=np.float32([2]),
    )
    features = [Feature("met", "flat"), Feature("njet", "flat")]
    bundle = write_bundle(tmp_path, "several", features, content)
    score(work, work / "events.root", tmp_path / "s.root", model=str(bundle))
    scores, events = read_scores(tmp_path / "s.root"), read_branches(work / "events.root", "met", "njet")
    assert set(scores) == {*IDENTIFIERS, "score_total", "score_twice_0", "score_twice_1"}
    np.testing.assert_array_equal(scores["score_twice_0"], 2 * events["met"])
    np.testing.assert_array_equal(scores["score_twice_1"], 2 * events["njet"])
    np.testing.assert_allclose(scores["score_total"], events["met"] + events["njet"], rtol=1e-6)


def test_new_branches_are_computed_and_cuts_are_not_applied(work: Path, tmp_path: Path) -> None:
    features = [Feature("log_met", "flat"), Feature("hard", "jagged", 2)]
    preproc = {
        "define": {"twice": "2 * met", "log_met": "log(twice)", "hard": "jet_pt[jet_pt > 30]", "other": "absent + 1"},
        "cuts": ["log_met > 100", "absent > 3"],
        "remove": ["twice"],
    }
    bundle = write_bundle(tmp_path, "new", features, lineage={"preproc": preproc})
    done = score(work, work / "events.root", tmp_path / "s.root", model=str(bundle))
    assert done.outputs == {tmp_path / "s.root": 500}
    with uproot.open(work / "events.root") as file:
        events = file["Events"].arrays()
    with uproot.recreate(tmp_path / "computed.root") as file:
        file["Events"] = {
            "log_met": np.log(2 * ak.to_numpy(events["met"]).astype("f8")),
            "hard": events["jet_pt"][events["jet_pt"] > 30],
        }
    expected = expected_scores(tmp_path / "computed.root", features)
    np.testing.assert_allclose(read_scores(tmp_path / "s.root")["score"], expected[:, 0], rtol=1e-5)


def test_files_one_after_the_other_or_an_output_each(work: Path, tmp_path: Path) -> None:
    paths = [write_events(tmp_path / f"{name}.root", count, seed) for name, count, seed in
             (("a", 130, 3), ("none", 0, 4), ("b", 70, 5))]  # fmt: skip
    (tmp_path / "files.txt").write_text("".join(f"{path}\n" for path in paths))
    together = score(work, tmp_path / "files.txt", tmp_path / "s.root")
    apart = score(work, tmp_path / "files.txt", tmp_path / "scores", format="parquet")
    assert list(together.outputs.values()) == [200]
    assert {path.name: events for path, events in apart.outputs.items()} == {
        "a.parquet": 130, "none.parquet": 0, "b.parquet": 70,
    }  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "scores").iterdir()) == ["a.parquet", "b.parquet", "none.parquet"]
    parts = [read_scores(tmp_path / "scores" / f"{name}.parquet") for name in ("a", "none", "b")]
    for name, values in read_scores(tmp_path / "s.root").items():
        np.testing.assert_array_equal(values, np.concatenate([part[name] for part in parts]))
        assert parts[1][name].dtype == values.dtype


@pytest.mark.parametrize("name", ["s.root", "s.parquet"])
@pytest.mark.parametrize("form", ["ttree", "rntuple"])
def test_a_file_without_events_has_scores_without_events(work: Path, tmp_path: Path, name: str, form: str) -> None:
    path = write_events(tmp_path / "none.root", 0)
    if name == "s.parquet":
        score(work, path, tmp_path / name)
    else:
        score(work, path, tmp_path / name, format=form)
    assert {branch: len(values) for branch, values in read_scores(tmp_path / name).items()} == {
        "run": 0, "luminosityBlock": 0, "event": 0, "score": 0,
    }  # fmt: skip


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet", ".avro"])
def test_other_formats_and_named_identifiers(work: Path, tmp_path: Path, suffix: str) -> None:
    from tests.mlaas.formats import WRITERS

    sample = make_sample(tmp_path / "sample.root", 90)
    del sample.flat["i_uint64"]  # whose largest numbers Avro cannot hold
    path = tmp_path / f"sample{suffix}"
    WRITERS[suffix](sample, path)
    features = [Feature("met", "flat"), Feature("i_int16", "flat")]
    bundle = write_bundle(tmp_path, "flat", features)
    score(work, path, tmp_path / "s.root", model=str(bundle), identifier="i_int64, i_uint32")
    scores = read_scores(tmp_path / "s.root")
    for name in ("i_int64", "i_uint32"):
        assert scores[name].dtype.kind in "iu"
        np.testing.assert_array_equal(scores[name], sample.flat[name])
    expected = expected_scores(tmp_path / "sample.root", features, tree="events")
    np.testing.assert_allclose(scores["score"], expected[:, 0], rtol=1e-6)


def test_over_xrootd(work: Path, tmp_path: Path, xrootd: XRootD) -> None:
    path = write_events(xrootd.root / "scored.root", 300)
    score(work, xrootd.url(path), tmp_path / "s.root")
    np.testing.assert_allclose(read_scores(tmp_path / "s.root")["score"], expected_scores(path)[:, 0], rtol=1e-6)


def test_one_of_several_trees(work: Path, tmp_path: Path) -> None:
    path = write_events(tmp_path / "two.root", 40)
    with uproot.update(path) as file:
        file["Runs"] = {"run": np.arange(3)}
    with pytest.raises(DataError, match="name the tree to read, the file has Events, Runs"):
        score(work, path, tmp_path / "s.root")
    assert score(work, path, tmp_path / "s.root", tree="Events").outputs == {tmp_path / "s.root": 40}


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (("RunNumber", "lumiBlock", "EventNumber"), ["RunNumber", "lumiBlock", "EventNumber"]),
        (("EventInfo.runNumber", "x", "EventInfo.eventNumber"), ["EventInfo_runNumber", "EventInfo_eventNumber"]),
        (("a", "b", "c"), []),
    ],
)
def test_the_usual_names_of_identifiers(work: Path, tmp_path: Path, names: tuple[str, ...], kept: list[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    events = {name: np.arange(5) + place for place, name in enumerate(names)} | {"met": np.ones(5, "f4")}
    pq.write_table(pa.table(events), tmp_path / "e.parquet")
    bundle = write_bundle(tmp_path, "one", [Feature("met", "flat")])
    score(work, tmp_path / "e.parquet", tmp_path / "s.root", model=str(bundle))
    scores = read_scores(tmp_path / "s.root")
    assert list(scores) == [*kept, "score"]
    for name in kept:
        np.testing.assert_array_equal(scores[name], events[name.replace("_", ".")])


def test_identifiers_that_are_missing_in_an_event_are_not_rounded(work: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"event": [2**60 + 1, None], "met": [1.0, 2.0]}), tmp_path / "e.parquet")
    bundle = write_bundle(tmp_path, "one", [Feature("met", "flat")])
    with pytest.raises(DataError, match=r"branch event has missing values.* expected int64 in every event"):
        score(work, tmp_path / "e.parquet", tmp_path / "s.root", model=str(bundle))
    assert not (tmp_path / "s.root").exists()


def test_a_branch_that_is_not_there_is_told_before_anything_is_written(work: Path, tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "other.root") as file:
        file["Events"] = {"MET": np.ones(5), "njet": np.ones(5)}
    (tmp_path / "out").mkdir()
    done = mlaas_score(
        *("--model", "net", "--registry", f"sqlite:///{work / 'registry.db'}"),
        *("--files", f"{work / 'events.root'},{tmp_path / 'other.root'}", "--out", tmp_path / "out" / "s.root"),
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"mlaas: {tmp_path / 'other.root'}: no 2 branches: met (flat), jet_pt (jagged) in Events; net:1 expects them;"
        " did you mean MET?"
    ]
    assert list((tmp_path / "out").iterdir()) == []


def test_a_branch_of_another_kind(work: Path, tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "other.root") as file:
        file["Events"] = {"met": np.ones(5), "njet": np.ones(5), "jet_pt": np.ones(5)}
    with pytest.raises(DataError, match="branch jet_pt is flat; net:1 expects it jagged"):
        score(work, tmp_path / "other.root", tmp_path / "s.root")


def test_a_model_without_a_rule_for_missing_values_gets_none(work: Path, tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "nan.root") as file:
        file["Events"] = {"met": np.array([1, 2, np.nan, 4], "f4"), "jet_pt": ak.Array([[1.0], [], [2.0], []])}
    features = [Feature("jet_pt", "jagged", 2), Feature("met", "flat")]
    bundle = write_bundle(tmp_path, "strict", features, missing=False)
    with pytest.raises(DataError, match=r"branch met has no finite float32 in entry 2; expected a number"):
        score(work, tmp_path / "nan.root", tmp_path / "s.root", model=str(bundle))


def test_bad_files_are_left_out_when_asked(work: Path, tmp_path: Path) -> None:
    good = write_events(tmp_path / "good.root", 300, seed=8)
    damaged = write_events(tmp_path / "damaged.root", 300, seed=9)
    with uproot.open(damaged) as file:
        place = int(file["Events"]["met"].basket(3).cursor.index)
    content = bytearray(damaged.read_bytes())
    content[place : place + 60] = bytes(60)
    damaged.write_bytes(content)
    files = f"{damaged},{tmp_path / 'absent.root'},{good}"
    with pytest.raises(DataError):
        score(work, files, tmp_path / "s.root")
    done = score(work, files, tmp_path / "s.root", skip_bad_files=True)
    assert set(done.left_out) == {str(damaged), str(tmp_path / "absent.root")}
    np.testing.assert_allclose(read_scores(tmp_path / "s.root")["score"], expected_scores(good)[:, 0], rtol=1e-6)
    with pytest.raises(DataError, match="can be used"):
        score(work, damaged, tmp_path / "t.root", skip_bad_files=True)
    assert not (tmp_path / "t.root").exists()


def test_what_is_there_is_only_replaced_by_force(work: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.root"
    out.write_text("precious")
    with pytest.raises(ParameterError, match="is there already"):
        score(work, work / "events.root", out)
    assert out.read_text() == "precious"
    score(work, work / "events.root", out, force=True)
    assert len(read_scores(out)["score"]) == 500
    with pytest.raises(ParameterError, match="is one of the files to score"):
        score(work, out, out, force=True, model=str(write_bundle(tmp_path, "own", [Feature("score", "flat")])))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"files": "{work}/events.root,{work}/events.root"}, "the file is given twice"),
        ({"files": "{work}/absent.root"}, "no such file"),
        ({"model": "other"}, "no model 'other': there is net"),
        ({"model": "net:7"}, "no 'net:7': model 'net' has versions 1"),
        ({"model": "net@production"}, "no 'net@production'"),
        ({"model": "no name"}, "is not allowed"),
        ({"registry": "sqlite:///{work}/absent.db"}, "there is no file"),
        ({"registry": None}, "--registry is missing"),
        ({"model": "absent.tar.gz", "registry": None}, "No such file"),
        ({"out": "s.csv"}, "expected a .root or .parquet file, or a folder"),
        ({"out": "s.root", "format": "parquet"}, "expected a name that ends in .parquet"),
        ({"out": "absent/s.root"}, "there is no folder"),
        ({"identifier": "evt"}, "no branch evt to keep"),
        ({"identifier": "jet_pt"}, "branch jet_pt is jagged"),
        ({"step": 0}, "expected a number of events"),
    ],
)
def test_bad_options_write_nothing(work: Path, tmp_path: Path, options: dict[str, str], message: str) -> None:
    given = {"files": "{work}/events.root", "out": "s.root"} | options
    filled = {name: value.format(work=work) if isinstance(value, str) else value for name, value in given.items()}
    with pytest.raises(MlaasError, match=message):
        score(work, filled.pop("files"), tmp_path / str(filled.pop("out")), **filled)
    assert list(tmp_path.iterdir()) == []


def test_files_of_one_name_need_folders_of_their_own(work: Path, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        write_events(tmp_path / name / "events.root", 10, seed=ord(name))
    with pytest.raises(ParameterError, match=r"would all become events.root"):
        score(work, f"{tmp_path}/a/events.root,{tmp_path}/b/events.root", tmp_path / "out")


def test_names_keep_their_dots_and_lose_their_format(work: Path, tmp_path: Path) -> None:
    import gzip

    (tmp_path / "mc.run3.csv.gz").write_bytes(gzip.compress(b"event,met\n5,1.5\n"))
    write_events(tmp_path / "mc.run2.root", 3)
    bundle = write_bundle(tmp_path, "one", [Feature("met", "flat")])
    files = [tmp_path / "mc.run3.csv.gz", tmp_path / "mc.run2.root"]
    done = score_files(ScoreOptions(str(bundle), files, str(tmp_path / "out")), lambda line: None)
    assert {path.name: events for path, events in done.outputs.items()} == {"mc.run3.root": 1, "mc.run2.root": 3}


def test_no_two_columns_have_one_name(work: Path, tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "e.root") as file:
        file["Events"] = {"score": np.arange(4), "met": np.ones(4, "f4")}
    bundle = write_bundle(tmp_path, "one", [Feature("met", "flat")])
    score(work, tmp_path / "e.root", tmp_path / "s.root", model=str(bundle), identifier="score")
    scores = read_scores(tmp_path / "s.root")
    assert list(scores) == ["score", "score_2"]
    np.testing.assert_array_equal(scores["score"], np.arange(4))


def test_a_new_branch_that_the_file_has_already(work: Path, tmp_path: Path) -> None:
    bundle = write_bundle(
        tmp_path, "new", [Feature("met", "flat")], lineage={"preproc": {"define": {"met": "2 * njet"}}}
    )
    with pytest.raises(DataError, match=r"events.root: define.met: the file already has a branch met"):
        score(work, work / "events.root", tmp_path / "s.root", model=str(bundle))


def test_a_model_without_features_can_not_be_scored(work: Path, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, "nameless", [], network(), missing=False)
    with pytest.raises(ScoringError, match="declares no features"):
        score(work, work / "events.root", tmp_path / "s.root", model=str(bundle))


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the real files are not at {DATA}")
@pytest.mark.parametrize(
    ("name", "tree", "features", "identifiers"),
    [
        ("heptut_ww.root", "events", [Feature("NJet", "flat"), Feature("Jet_Px", "jagged", 4)], ()),
        (
            "nanoAOD_2015_CMS_Open_Data_ttbar.root",
            "Events",
            [Feature("MET_pt", "flat"), Feature("Jet_pt", "jagged", 6), Feature("Muon_charge", "jagged", 2)],
            IDENTIFIERS,
        ),
    ],
)
def test_real_files(
    work: Path, tmp_path: Path, name: str, tree: str, features: list[Feature], identifiers: tuple[str, ...]
) -> None:
    bundle = write_bundle(tmp_path, "real", features)
    score(work, DATA / name, tmp_path / "s.root", model=str(bundle), tree=tree)
    scores = read_scores(tmp_path / "s.root")
    for branch, values in read_branches(DATA / name, *identifiers, tree=tree).items():
        np.testing.assert_array_equal(scores[branch], values)
    expected = expected_scores(DATA / name, features, tree=tree)
    np.testing.assert_allclose(scores["score"], expected[:, 0], rtol=1e-5, atol=1e-7)
