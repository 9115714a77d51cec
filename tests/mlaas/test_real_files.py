"""Real files of experiments, against a plain uproot and numpy reading of every branch."""

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from mlaas.dataset import PARTS, Dataset, DatasetParams
from mlaas.errors import DataError, ParameterError
from mlaas.readers import open_reader
from mlaas.selection import Selection

DATA = Path(__file__).parents[3] / "shared" / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real files are not at {DATA}")

FILES = [
    ("heptut_single_top.root", "events", 5684, 28, 23),
    ("heptut_ww.root", "events", 4580, 28, 23),
    ("nanoAOD_2015_CMS_Open_Data_ttbar.root", "Events", 200, 603, 344),
    ("coffea_nano_dy.root", "Events", 40, 1120, 379),
    ("uproot-Zmumu.root", "events", 2304, 19, 0),
    ("Run2012BC_DoubleMuParked_Muons_rntuple.root", "Events", 1000, 1, 5),
]
# A flat branch of each file that is not the same in all events.
LABELS = {
    ("events", 5684): "NJet",
    ("events", 4580): "NJet",
    ("Events", 200): "event",
    ("Events", 40): "event",
    ("events", 2304): "Q1",
    ("Events", 1000): "nMuon",
}
TOP, WW = (str(DATA / name) for name in ("heptut_single_top.root", "heptut_ww.root"))
NO_ANSWERS = DatasetParams(excluded=["EventWeight", "MC*"], chunk_size=2000)


def plain(path: Path, tree: str, name: str) -> ak.Array:
    with uproot.open(path) as file:
        return file[tree][name].array()


@pytest.mark.parametrize(("name", "tree", "entries", "flat", "jagged"), FILES)
def test_every_branch_is_found_and_read(name: str, tree: str, entries: int, flat: int, jagged: int) -> None:
    with open_reader(str(DATA / name), tree) as reader, uproot.open(DATA / name) as file:
        kinds = [branch.kind for branch in reader.branches.values()]
        assert (reader.entries, kinds.count("flat"), kinds.count("jagged")) == (entries, flat, jagged)
        start, stop = entries // 3, entries - 1
        events = reader.read(list(reader.branches), start, stop)
        plain_tree = file[tree]
        for branch in reader.branches:
            expected = plain_tree[branch].array()[start:stop]
            assert ak.array_equal(events[branch], expected, equal_nan=True), branch


@pytest.mark.parametrize(("name", "tree", "entries", "flat", "jagged"), FILES)
def test_chunks_are_the_values_scaled_by_their_extremes(
    name: str, tree: str, entries: int, flat: int, jagged: int
) -> None:
    path = DATA / name
    params = DatasetParams(test=0.0, validation=0.0, chunk_size=10**6, shuffle=False)
    with Dataset([str(path)], [LABELS[tree, entries]], params, tree=tree) as dataset, uproot.open(path) as file:
        plain_tree = file[tree]
        (chunk,) = dataset.chunks("train")
        assert chunk.x.shape == (entries, len(dataset.columns))
        column = 0
        for feature in dataset.features:
            values = plain_tree[feature.name].array()
            if feature.kind == "jagged":
                values = ak.pad_none(values, feature.dimension, clip=True)
            matrix = ak.to_numpy(ak.fill_none(ak.values_astype(values, np.float64), np.nan)).reshape(entries, -1)
            matrix = np.where(np.isfinite(matrix), matrix, np.nan)
            low, high = np.nanmin(matrix), np.nanmax(matrix)
            there = ~np.isnan(matrix)
            expected = np.where(there, (matrix - low) / (high - low or 1), 0)
            part = slice(column, column + feature.dimension)
            np.testing.assert_array_equal(chunk.mask[:, part], there, feature.name)
            # Numbers as large as event numbers have steps in float32 that show after scaling.
            step = float(np.spacing(np.float32(max(abs(low), abs(high))))) / (high - low or 1)
            np.testing.assert_allclose(chunk.x[:, part], expected, atol=1e-6 + 2 * step, err_msg=feature.name)
            column += feature.dimension
        empty = set(dataset.specs.branches) - {feature.name for feature in dataset.features}
        for branch in empty:
            assert not np.isfinite(ak.to_numpy(ak.ravel(plain_tree[branch].array()))).any(), branch


def test_single_top_against_ww() -> None:
    with Dataset([TOP, WW], [1, 0], NO_ANSWERS) as dataset:
        assert list(dataset.entries.values()) == [5684, 4580]
        assert not any(name.startswith("MC") or name == "EventWeight" for name in dataset.columns)
        assert sum(dataset.counts.values()) == 10264
        for chunk in dataset.chunks("train"):
            assert abs(chunk.y.mean() - 5684 / 10264) < 0.05
        for part in PARTS:
            assert sum(len(chunk.y) for chunk in dataset.chunks(part)) == dataset.counts[part]


def test_cuts_keep_the_events_that_numpy_keeps() -> None:
    selection = Selection.from_dict(
        {
            "new_branch": {
                "Jet_Pt": {"def": "sqrt(Jet_Px**2 + Jet_Py**2)", "type": "jagged", "cut": ["Jet_Pt>50", "any"]}
            },
            "flat_cut": {"NJet": {"cut": "1<=NJet<=3"}},
        }
    )
    expected = 0
    for path in (TOP, WW):
        px, py, number = (plain(Path(path), "events", name) for name in ("Jet_Px", "Jet_Py", "NJet"))
        pt = ak.to_numpy(ak.fill_none(ak.max(np.hypot(px, py), axis=1), 0))
        expected += int(np.sum((pt > 50) & ak.to_numpy((number >= 1) & (number <= 3))))
    with Dataset([TOP, WW], [1, 0], NO_ANSWERS, selection=selection) as dataset:
        assert sum(dataset.counts.values()) == expected
        assert list(dataset.cutflow.values())[-1] == expected


def test_two_nanoaods_differ_and_common_branches_can_be_chosen() -> None:
    files = [str(DATA / name) for name in ("nanoAOD_2015_CMS_Open_Data_ttbar.root", "coffea_nano_dy.root")]
    with pytest.raises(
        DataError, match=r"\.root: no 964 branches: Electron_eCorr, .* and 954 more, which another file has"
    ):
        Dataset(files, [1, 0], tree="Events")
    with Dataset(files, [1, 0], DatasetParams(selected=["MET_*t", "Jet_pt", "Muon_eta"]), tree="Events") as dataset:
        assert {"MET_pt", "Jet_pt", "Muon_eta"} <= {feature.name for feature in dataset.features}
    with pytest.raises(DataError, match="name the tree to read, the file has Events, Runs"):
        Dataset(files[1:], ["run"])


def test_a_string_branch_is_named_and_left_out() -> None:
    path = str(DATA / "uproot-Zmumu.root")
    with Dataset([path], ["Q1"]) as dataset:
        assert dataset.classes == (-1.0, 1.0)
        assert "Type" not in dataset.columns
        assert dataset.notes[0] == "not used: Type (it holds strings)"
    with pytest.raises(ParameterError, match="branch Type cannot be a feature: it holds strings"):
        Dataset([path], ["Q1"], DatasetParams(selected=["Type"]))
