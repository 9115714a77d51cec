"""New branches and cuts keep the events that a loop over the events keeps."""

import json
import math
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from mlaas.errors import SelectionError
from mlaas.readers.base import Branch
from mlaas.selection import Selection

DOCUMENTED: dict[str, Any] = {
    "new_branch": {
        "log_partonE": {
            "def": "log(partonE)",
            "type": "jagged",
            "cut_1": ["log_partonE<6.31", "any"],
            "cut_2": ["log_partonE>5.85", "all"],
            "remove": "False",
            "keys_to_remove": ["partonE"],
        },
        "nJets_square": {
            "def": "nJets**2",
            "type": "flat",
            "cut": "1<=nJets_square<=16",
            "remove": "False",
            "keys_to_remove": ["nJets"],
        },
    },
    "flat_cut": {"nLeptons": {"cut": "0<=nLeptons<=2", "remove": "False"}},
    "jagged_cut": {"partonPt": {"cut": ["partonPt>200", "all"], "remove": "False"}},
}
BRANCHES = {
    name: Branch(name, kind, "float32")
    for name, kind in {"nJets": "flat", "nLeptons": "flat", "partonE": "jagged", "partonPt": "jagged"}.items()
}


def make_events(entries: int = 500) -> tuple[dict[str, ak.Array], list[dict[str, Any]]]:
    """The same events as arrays and one by one."""
    rng = np.random.default_rng(7)
    rows = []
    for _ in range(entries):
        objects = int(rng.integers(0, 4))
        rows.append(
            {
                "nJets": int(rng.integers(0, 6)),
                "nLeptons": int(rng.integers(0, 4)),
                "partonE": rng.uniform(340, 700, objects).tolist(),
                "partonPt": rng.uniform(190, 400, objects).tolist(),
            }
        )
    array = ak.Array(rows)
    return {name: array[name] for name in BRANCHES}, rows


def test_the_documented_selection_keeps_what_a_loop_keeps() -> None:
    events, rows = make_events()
    selection = Selection.from_dict(DOCUMENTED)
    cuts = [
        lambda row: any(math.log(one) < 6.31 for one in row["partonE"]),
        lambda row: all(math.log(one) > 5.85 for one in row["partonE"]),
        lambda row: 1 <= row["nJets"] ** 2 <= 16,
        lambda row: 0 <= row["nLeptons"] <= 2,
        lambda row: all(one > 200 for one in row["partonPt"]),
    ]
    kept = np.ones(len(rows), bool)
    left = []
    for cut in cuts:
        kept &= [cut(row) for row in rows]
        left.append(kept.sum())
    selected = selection.apply(events, len(rows))
    assert 0 < kept.sum() < len(rows)
    np.testing.assert_array_equal(selected.kept, kept)
    assert selected.left == left
    assert selection.labels() == [
        "log_partonE<6.31 (any)", "log_partonE>5.85 (all)", "1<=nJets_square<=16", "0<=nLeptons<=2",
        "partonPt>200 (all)",
    ]  # fmt: skip
    for row, logs, square in zip(
        rows, selected.events["log_partonE"].to_list(), selected.events["nJets_square"].to_list(), strict=True
    ):
        assert logs == pytest.approx([math.log(one) for one in row["partonE"]], rel=1e-12)
        assert square == row["nJets"] ** 2


def test_removed_branches_are_read_but_are_no_features() -> None:
    selection = Selection.from_dict(DOCUMENTED)
    assert list(selection.branches(BRANCHES)) == ["nLeptons", "partonPt", "log_partonE", "nJets_square"]
    assert selection.required(BRANCHES) == ["nJets", "nLeptons", "partonE", "partonPt"]


def test_remove_takes_the_new_branch_or_the_cut_one_away() -> None:
    selection = Selection.from_dict(
        {
            "new_branch": {"x": {"def": "nJets+1", "type": "flat", "cut": "x>1", "remove": "True"}},
            "flat_cut": {"nLeptons": {"cut": "nLeptons<2", "remove": True}},
        }
    )
    assert list(selection.branches(BRANCHES)) == ["nJets", "partonE", "partonPt"]


def test_new_branches_build_on_earlier_ones() -> None:
    selection = Selection.from_dict(
        {
            "new_branch": {
                "twice": {"def": "2*partonE", "type": "jagged"},
                "total": {"def": "sum(twice)", "type": "flat"},
            }
        }
    )
    events, rows = make_events(50)
    selected = selection.apply(events, 50)
    assert selected.events["total"].to_list() == pytest.approx([2 * sum(row["partonE"]) for row in rows])
    assert selected.kept.all()
    later = {"new_branch": dict(reversed(list(json.loads(json.dumps(DOCUMENTED))["new_branch"].items())))}
    later["new_branch"]["nJets_square"]["def"] = "sum(log_partonE)"
    with pytest.raises(SelectionError, match=r"new_branch\.nJets_square: no branch log_partonE"):
        Selection.from_dict(later).required(BRANCHES)


def test_an_event_without_objects_passes_all_and_not_any() -> None:
    events = {"v": ak.Array([[], [1.0], [3.0]])}
    for quantifier, kept in (("any", [False, False, True]), ("all", [True, False, True])):
        selection = Selection.from_dict({"jagged_cut": {"v": {"cut": ["v>2", quantifier]}}})
        assert selection.apply(events, 3).kept.tolist() == kept


def test_digest_depends_on_meaning_and_not_on_spelling() -> None:
    same = json.loads(json.dumps(DOCUMENTED))
    same["flat_cut"]["nLeptons"] = {"remove": False, "cut": " 0<=nLeptons<=2 "}
    other = json.loads(json.dumps(DOCUMENTED))
    other["flat_cut"]["nLeptons"]["cut"] = "0<=nLeptons<=3"
    digest = Selection.from_dict(DOCUMENTED).digest
    assert digest == Selection.from_dict(same).digest != Selection.from_dict(other).digest
    assert Selection.from_dict({}) == Selection()


def edited(path: str, value: Any) -> dict[str, Any]:
    """The documented content with another value at a dotted path."""
    content = json.loads(json.dumps(DOCUMENTED))
    *parents, last = path.split(".")
    entry = content
    for name in parents:
        entry = entry[name]
    entry[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("new_branch.log_partonE.def", "log(partonE", r"new_branch\.log_partonE\.def: .*not an expression"),
        ("new_branch.log_partonE.def", 5, r"new_branch\.log_partonE\.def: 5 is given"),
        ("new_branch.log_partonE.type", "list", r"new_branch\.log_partonE\.type: 'list' is given; expected 'flat' or"),
        ("new_branch.log_partonE.cut_1", "log_partonE<6", r"new_branch\.log_partonE\.cut_1: .*'any' or 'all'"),
        ("new_branch.log_partonE.cut_1", ["log_partonE<6", "some"], r"cut_1: .*'any' or 'all'"),
        ("new_branch.nJets_square.cut", ["nJets>1", "any"], r"new_branch\.nJets_square\.cut: .*in quotes"),
        ("new_branch.nJets_square.cutt", "nJets>1", r"new_branch\.nJets_square: unknown key 'cutt'; did you mean cut"),
        ("new_branch.nJets_square.remove", "perhaps", r"nJets_square\.remove: 'perhaps' is given"),
        ("new_branch.nJets_square.keys_to_remove", "nJets", r"keys_to_remove: 'nJets' is given; expected a list"),
        ("new_branch.nJets_square", [], r"new_branch\.nJets_square: \[\] is given"),
        ("flat_cut.nLeptons", {}, r"flat_cut\.nLeptons: 'cut' is missing"),
        ("flat_cuts", {}, r"preproc: unknown key 'flat_cuts'; did you mean flat_cut"),
        ("new_branch.x", {"type": "flat"}, r"new_branch\.x: 'def' is missing"),
    ],
)
def test_errors_name_the_place_in_the_file(tmp_path: Path, path: str, value: Any, message: str) -> None:
    file = tmp_path / "preproc.json"
    file.write_text(json.dumps(edited(path, value)))
    with pytest.raises(SelectionError, match=message) as caught:
        Selection.from_file(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("new_branch.log_partonE.def", "sum(partonE)", r"log_partonE\.type: 'jagged' is declared, .* is flat"),
        ("new_branch.nJets_square.def", "partonE*2", r"nJets_square\.type: 'flat' is declared, .* is jagged"),
        ("flat_cut.nLeptons.cut", "nLeptons", r"flat_cut\.nLeptons\.cut: 'nLeptons' is not a comparison"),
        ("flat_cut.nLeptons.cut", "partonPt>2", r"flat_cut\.nLeptons\.cut: .*is jagged: expected any"),
        ("jagged_cut.partonPt.cut", ["nJets>2", "any"], r"jagged_cut\.partonPt\.cut: .*is flat"),
    ],
)
def test_results_have_to_be_what_is_declared(path: str, value: Any, message: str) -> None:
    with pytest.raises(SelectionError, match=message):
        Selection.from_dict(edited(path, value)).apply(make_events(20)[0], 20)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("flat_cut.nLeptons.cut", "nLepton>2", r"flat_cut\.nLeptons\.cut: no branch nLepton, .*did you mean nLeptons"),
        ("flat_cut.nLepton", {"cut": "nLeptons>2", "remove": "True"}, r"no branch nLepton to remove.*mean nLeptons"),
        ("new_branch.nLeptons", {"def": "nJets", "type": "flat"}, "the file already has a branch nLeptons"),
    ],
)
def test_branches_have_to_exist(path: str, value: Any, message: str) -> None:
    selection = Selection.from_dict(edited(path, value))
    with pytest.raises(SelectionError, match=message):
        selection.required(BRANCHES), selection.branches(BRANCHES)


def test_files_that_are_not_json(tmp_path: Path) -> None:
    path = tmp_path / "preproc.json"
    with pytest.raises(SelectionError, match=r"preproc\.json: No such file"):
        Selection.from_file(path)
    path.write_text('{"flat_cut": ')
    with pytest.raises(SelectionError, match=r"preproc\.json: not JSON: .*line 1"):
        Selection.from_file(path)
    path.write_text('{"flat_cut": {"n": {"cut": "n>1", "cut": "n>2"}}}')
    with pytest.raises(SelectionError, match="'cut' is there twice"):
        Selection.from_file(path)
    path.write_text("[1]")
    with pytest.raises(SelectionError, match="expected an object"):
        Selection.from_file(path)
    assert Selection.from_file(None) == Selection()


YAML = """
define:                         # in order; flat or jagged follows from the definition
  hard: partonE[partonPt > 300]
  ht: sum(hard)
cuts:
  - nLeptons <= 2
  - a hard parton: any(partonPt > 300) and partonPt[0] > 200
  - count(hard) < 4
remove: [nJets, hard]
"""


def test_yaml_says_more_in_less(tmp_path: Path) -> None:
    (tmp_path / "preproc.yaml").write_text(YAML)
    selection = Selection.from_file(tmp_path / "preproc.yaml")
    events, rows = make_events()
    selected = selection.apply(events, len(rows))
    kept = [
        row["nLeptons"] <= 2 and any(one > 300 for one in row["partonPt"]) and row["partonPt"][0] > 200 for row in rows
    ]
    assert 0 < sum(kept) < len(rows)
    np.testing.assert_array_equal(selected.kept, kept)
    assert selection.labels() == ["nLeptons <= 2", "a hard parton", "count(hard) < 4"]
    hard = [[energy for energy, pt in zip(row["partonE"], row["partonPt"], strict=True) if pt > 300] for row in rows]
    assert selected.events["hard"].to_list() == hard
    branches = selection.branches(BRANCHES)
    assert {name: branch.kind for name, branch in branches.items()} == {
        "nLeptons": "flat", "partonE": "jagged", "partonPt": "jagged", "ht": "flat"
    }  # fmt: skip
    renamed = YAML.replace("a hard parton", "another name")
    (tmp_path / "renamed.yml").write_text(renamed)
    assert Selection.from_file(tmp_path / "renamed.yml").digest == selection.digest


def test_yaml_takes_the_sections_of_json_too(tmp_path: Path) -> None:
    (tmp_path / "preproc.yaml").write_text(json.dumps(DOCUMENTED))
    assert Selection.from_file(tmp_path / "preproc.yaml") == Selection.from_dict(DOCUMENTED)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cuts: [", r"preproc\.yaml: not YAML in line 1, character \d+"),
        ("define:\n  a: nJets\n  a: nJets * 2\n", r"line 2: the key 'a' is there twice"),
        ("cuts: nJets > 2", "cuts: 'nJets > 2' is given; expected a list"),
        ("cuts:\n  - nJets >\n", r"cuts\[1\]: '▸nJets >' is not an expression"),
        ("cuts:\n  - nJets > 1\n  - {a: nJets > 1, b: nJets > 2}\n", r"cuts\[2\]: .*expected a cut, or a name"),
        ("define:\n  a: 5\n", "define.a: 5 is given; expected an expression in quotes"),
        ("remove: nJets", "remove: 'nJets' is given; expected a list of branch names"),
        ("cut: []", "unknown key 'cut'; did you mean cuts"),
        ("cuts: !!python/object/apply:os.system ['true']", "not YAML"),
    ],
)
def test_errors_in_yaml_name_the_place(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "preproc.yaml").write_text(text)
    with pytest.raises(SelectionError, match=message) as caught:
        Selection.from_file(tmp_path / "preproc.yaml")
    assert "\n" not in str(caught.value)


def test_a_cut_on_lists_says_how_to_make_it_one_number() -> None:
    with pytest.raises(SelectionError, match=r"cuts\[1\]: 'partonPt > 3' is jagged: expected any\(…\) or all"):
        Selection.from_dict({"cuts": ["partonPt > 3"]}).apply(make_events(20)[0], 20)
