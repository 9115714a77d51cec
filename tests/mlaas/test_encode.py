"""Strings that are encoded are numbers from the file to the manifest of the model."""

import json
import tarfile
from pathlib import Path
from typing import Any

import awkward as ak
import fastavro
import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from mlaas.cluster import open_cluster
from mlaas.dataset import Dataset, DatasetParams, PreparedDataset, prepare
from mlaas.dataset.bad_files import leave_out_bad_files
from mlaas.errors import DataError
from mlaas.readers import encoded
from mlaas.selection import Selection
from tests.mlaas.test_prepare import run
from tests.mlaas.test_real_files import DATA
from tests.mlaas.test_train import MODEL

CHANNELS = ("ee", "em", "mm")
PARAMS = DatasetParams(encode=["channel"], test=0, validation=0, shuffle=False, normalisation="none", chunk_size=10**6)


def columns(seed: int, events: int = 500) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, events), [CHANNELS[place] for place in rng.integers(0, len(CHANNELS) - (seed == 1), events)]


def write(path: Path, seed: int) -> str:
    x, channel = columns(seed)
    if path.suffix == ".csv":
        path.write_text("x,channel\n" + "".join(f"{a!r},{b}\n" for a, b in zip(x.tolist(), channel, strict=True)))
    elif path.suffix == ".json":
        rows = [{"x": a, "channel": b} for a, b in zip(x.tolist(), channel, strict=True)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".avro":
        kinds = {"x": "double", "channel": ["null", "string"]}
        fields = [{"name": name, "type": kind} for name, kind in kinds.items()]
        schema = fastavro.parse_schema({"type": "record", "name": "event", "fields": fields})
        with path.open("wb") as stream:
            fastavro.writer(stream, schema, [{"x": a, "channel": b} for a, b in zip(x.tolist(), channel, strict=True)])
    elif path.suffix == ".parquet":
        pq.write_table(pa.table({"x": x, "channel": pa.array(channel).dictionary_encode()}), path)
    else:
        with uproot.recreate(path) as file:
            file.mkrntuple("events", {"x": x, "channel": ak.Array(channel)})
    return str(path)


@pytest.mark.parametrize("suffix", [".root", ".csv", ".json", ".parquet", ".avro"])
def test_strings_of_all_files_are_places_in_their_order(tmp_path: Path, suffix: str) -> None:
    files = [write(tmp_path / f"{seed}{suffix}", seed) for seed in (1, 2)]  # the first has no mm
    selection = Selection.from_dict({"cuts": ["channel > 0"]})
    with Dataset(files, [1, 0], PARAMS, selection=selection) as dataset:
        (feature,) = (one for one in dataset.features if one.categories)
        assert (feature.name, feature.categories) == ("channel", CHANNELS)
        assert dataset.specs.branches["channel"].categories == CHANNELS
        (chunk,) = dataset.chunks("train")
    place = dataset.columns.index("channel")
    for label, seed in ((1, 1), (0, 2)):
        expected = [CHANNELS.index(one) for one in columns(seed)[1] if one != "ee"]
        assert chunk.x[chunk.y == label, place].tolist() == expected


def test_prepared_on_processes_and_specs_keep_the_strings(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{seed}.csv", seed) for seed in (1, 2)]
    specs = tmp_path / "specs.json"
    with (
        open_cluster(None, 1) as cluster,
        Dataset(files, [1, 0], PARAMS, specs_path=specs, cluster=cluster) as dataset,
    ):
        prepare(dataset, tmp_path / "there", {}, cluster)
        features = dataset.features
    with Dataset(files, [1, 0], PARAMS, specs_path=specs) as dataset:
        assert dataset.features == features
        prepare(dataset, tmp_path / "here", {})
    for path in (tmp_path / "here").iterdir():
        assert path.read_bytes() == (tmp_path / "there" / path.name).read_bytes(), path.name
    with PreparedDataset(tmp_path / "here", PARAMS) as prepared:
        assert prepared.features == features


def test_what_cannot_be_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [write(tmp_path / f"{seed}.csv", seed) for seed in (1, 2)]

    def refused(message: str, *encode: str) -> None:
        with pytest.raises(DataError, match=message):
            Dataset(files, [1, 0], DatasetParams(encode=encode))

    refused(r"1\.csv: branch x holds numbers; expected strings to encode", "x")
    refused(r"1\.csv: no branch chanel with a string an event to encode; did you mean channel\?", "chanel")
    monkeypatch.setattr(encoded, "MAX_CATEGORIES", 2)
    refused(r"2\.csv: branch channel has more than 2 different strings", "channel")


def test_missing_strings_are_missing_values(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"x":1,"c":"b"}\n{"x":2}\n{"x":3,"c":"a"}\n{"x":1,"c":null}\n')
    with Dataset([str(tmp_path / "a.json")], ["x"], DatasetParams(encode=["c"], test=0, validation=0)) as dataset:
        (values, _), *_ = dataset.raw_chunks("train")
    np.testing.assert_array_equal(values[:, 0], [1, np.nan, 0, np.nan])


def test_a_file_without_the_strings_is_left_out_when_asked(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{seed}.csv", seed) for seed in (1, 2)]
    (tmp_path / "3.csv").write_text("x,other\n1,a\n2,b\n")
    kept, labels, bad = leave_out_bad_files([*files, str(tmp_path / "3.csv")], [1, 0, 0], PARAMS)
    assert (kept, labels) == (files, [1, 0])
    assert "no branch channel with a string an event" in bad[str(tmp_path / "3.csv")]


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the real files are not at {DATA}")
def test_strings_of_a_real_tree() -> None:
    path = str(DATA / "uproot-Zmumu.root")
    params = DatasetParams(encode=["Type"], selected=["Type"], test=0, validation=0, shuffle=False, chunk_size=10**6)
    with Dataset([path], ["Q1"], params) as dataset, uproot.open(path) as file:
        expected, places = np.unique(file["events"]["Type"].array(library="np").astype(str), return_inverse=True)
        (feature,) = dataset.features
        assert feature.categories == tuple(expected)
        (values, _), *_ = dataset.raw_chunks("train")
        np.testing.assert_array_equal(values[:, 0], places)


def test_the_manifest_of_the_model_lists_the_strings(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{seed}.csv", seed) for seed in (1, 2)]
    (tmp_path / "net.py").write_text(MODEL)
    (tmp_path / "params.json").write_text(json.dumps({"epochs": 1, "encode": "channel"}))
    done = run(
        tmp_path, *("train", "--files", ",".join(files), "--labels", "1,0", "--model", "net.py"),
        *("--params", "params.json", "--fout", "net.tar.gz"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / "net.tar.gz") as archive:
        content = archive.extractfile("net/params.json")
        assert content is not None
        features: list[dict[str, Any]] = json.load(content)["features"]
    assert [(one["name"], one.get("categories")) for one in features] == [("x", None), ("channel", list(CHANNELS))]
    assert features[1]["scale"] == 0.5


def test_what_was_trained_on_strings_scores_files_and_is_compared_only_with_its_like(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{seed}.csv", seed) for seed in (1, 2)]
    (tmp_path / "sgd.py").write_text(
        "from sklearn.linear_model import SGDClassifier\n\n"
        "def model(idim):\n    return SGDClassifier(loss='log_loss')\n"
    )
    (tmp_path / "params.json").write_text(json.dumps({"epochs": 1, "encode": "channel"}))
    registry = f"sqlite:///{tmp_path / 'r.db'}"
    train = (
        *("train", "--labels", "1,0", "--model", "sgd.py", "--params", "params.json", "--publish", registry),
        *("--alias", "production"),
    )
    done = run(tmp_path, *train, "--files", ",".join(files), "--fout", "sgd.onnx")
    assert done.returncode == 0, done.stderr
    done = run(
        tmp_path, *("score", "--model", "sgd", "--registry", registry, "--files", files[1], "--out", "s.parquet")
    )
    assert done.returncode == 0, done.stderr
    x, channel = columns(2)
    events = np.column_stack([x, [CHANNELS.index(one) for one in channel]]).astype(np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "sgd.onnx", providers=["CPUExecutionProvider"])
    expected = session.run(None, {"features": events})[0][:, 0]
    np.testing.assert_allclose(pq.read_table(tmp_path / "s.parquet")["score"], expected, atol=1e-6)
    (tmp_path / "numbers.csv").write_text("x,channel\n1,2\n")
    refused = run(
        tmp_path, *("score", "--model", "sgd", "--registry", registry, "--files", "numbers.csv", "--out", "n.root")
    )
    assert refused.returncode == 2
    assert "branch channel holds numbers; expected strings" in refused.stderr
    # Without mm, other strings stand behind the same numbers.
    (tmp_path / "3.csv").write_text(Path(files[1]).read_text().replace("mm", "em"))
    done = run(tmp_path, *train, "--files", f"{files[0]},3.csv", "--promote-if", "auc > production")
    assert done.returncode == 2, done.stdout
    assert "sgd:1 takes channel, which this training does not use, or not in the same form" in done.stderr
