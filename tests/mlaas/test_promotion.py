"""Aliases move to a new version where it is better on the same test part, in a database and through a server."""

import getpass
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlaas import api, workflow
from mlaas.demo.sample import write_sample
from mlaas.errors import MlaasError, ParameterError, PublishError
from mlaas.publish import existing
from tests.servers import Server

MODEL = """
from sklearn.linear_model import SGDClassifier


def model(idim, rate=0.05):
    return SGDClassifier(loss="log_loss", learning_rate="constant", eta0=rate, random_state=0)
"""
PARAMS = {"branch": "Events", "epochs": 3, "exclude_branches": ["run", "event"]}
# Weights so small that every event gets the same answer.
IGNORANT = {"epochs": 1, "model": {"rate": 1e-30}}

Train = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Trains in a folder of its own: what it returns and what it tells."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    # Its figures take most of the time of a training, and nothing here looks at them.
    monkeypatch.setattr(workflow, "report_training", lambda *arguments: None)
    files = [tmp_path / "signal.root", tmp_path / "background.root"]
    for seed, path in enumerate(files):
        write_sample(path, 600, path.stem == "signal", seed)
    Path("net.py").write_text(MODEL)

    def train(changes: dict[str, Any], **options: Any) -> tuple[dict[str, Any], str]:
        told: list[str] = []
        done = api.train(files, [1, 0], "net.py", params=PARAMS | changes, tell=told.append, **options)
        return done, "\n".join(told)

    return train


@pytest.fixture(params=["database", "server"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "database":
        return f"sqlite:///{tmp_path}/registry.db"
    server: Server = request.getfixturevalue("server")
    return server.url


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name that no other test publishes under."""
    return f"promotion-{abs(hash(request.node.name))}"


def test_only_a_better_version_takes_over(train: Train, registry: str, name: str) -> None:
    options = {"name": name, "publish": registry, "alias": "production", "promote_if": "auc > production"}
    done, told = train(IGNORANT, **options)
    assert done["test_auc"] == 0.5
    assert done["alias"] == "production"
    assert f"production moves: auc 0.5000, and there is no {name}@production to beat" in told
    assert existing(registry, name).aliases == {"latest": 1, "production": 1}

    done, told = train({}, **options)
    assert done["test_auc"] > 0.6
    assert f"production moves: auc {done['test_auc']:.4f} is > 0.5000 of {name}@production, version 1" in told
    assert f"{name}@production is version 2" in told
    assert existing(registry, name).aliases == {"latest": 2, "production": 2}

    stayed, told = train(IGNORANT, **options)
    assert stayed["version"] == 3
    assert stayed["alias"] is None
    assert f"production stays: auc 0.5000 is not > {done['test_auc']:.4f} of {name}@production, version 2" in told
    assert existing(registry, name).aliases == {"latest": 3, "production": 2}


def test_an_alias_without_a_condition_moves_and_the_rival_can_be_latest_or_a_number(
    train: Train, tmp_path: Path
) -> None:
    registry = f"sqlite:///{tmp_path}/registry.db"
    assert train({}, publish=registry, alias="good")[0]["alias"] == "good"
    _, told = train(IGNORANT, publish=registry, alias="good", promote_if="accuracy >= latest")
    assert "of net@latest, version 1" in told
    assert "good stays" in told
    train({}, publish=registry, alias="good", promote_if="auc >= 0.6")
    assert existing(registry, "net").aliases == {"latest": 3, "good": 3}


def test_two_versions_that_cannot_be_compared_publish_nothing(train: Train, registry: str, name: str) -> None:
    train(IGNORANT, name=name, publish=registry, alias="production")
    fewer = {"exclude_branches": ["run", "event", "jet_*", "met"]}
    with pytest.raises(PublishError) as raised:
        train(fewer, name=name, publish=registry, alias="production", promote_if="auc > production", run="run")
    message = str(raised.value)
    assert "\n" not in message
    assert f"{name}:1 takes met, jet_pt, jet_eta, jet_phi, jet_btag, which this training does not use" in message
    assert "the trained model is kept, publish it by: " in message
    assert str(Path("run", f"{name}.tar.gz").resolve()) in message
    assert Path("run", f"{name}.tar.gz").is_file()
    assert existing(registry, name).aliases == {"latest": 1, "production": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alias": "production", "promote_if": "auc"}, "expected one of auc, accuracy, mse, a sign, and an alias"),
        ({"alias": "production", "promote_if": ""}, "expected one of auc, accuracy, mse"),
        ({"alias": "production", "promote_if": "f1 > production"}, "expected one of auc, accuracy, mse"),
        ({"alias": "production", "promote_if": "auc => production"}, "expected one of auc, accuracy, mse"),
        ({"alias": "production", "promote_if": "auc > the best"}, "expected one of auc, accuracy, mse"),
        ({"alias": "production", "promote_if": "auc > a/b"}, "--promote-if 'auc > a/b'"),
        ({"alias": "production", "promote_if": "auc > nan"}, "expected .*number"),
        ({"alias": "production", "promote_if": "auc > -inf"}, "expected .*number"),
        ({"alias": "a/b"}, "--alias"),
        ({"promote_if": "auc > production"}, "--alias is missing, which says what moves"),
        ({"alias": "production", "publish": None}, "--alias production: --publish is missing"),
        ({"promote_if": "auc > 0.5", "publish": None}, "--promote-if auc > 0.5: --publish is missing"),
    ],
)
def test_what_cannot_be_meant_is_told_before_the_training(
    train: Train, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        train({}, **({"publish": f"sqlite:///{tmp_path}/registry.db"} | options))
    assert not Path("mlaas-runs").exists()
    assert not Path("registry.db").exists()


def test_equal_versions_are_not_better(train: Train, tmp_path: Path) -> None:
    registry = f"sqlite:///{tmp_path}/registry.db"
    train(IGNORANT, publish=registry, alias="production")
    done, told = train(IGNORANT, publish=registry, alias="production", promote_if="mse < production")
    assert "production stays: mse 0.2500 is not < 0.2500" in told
    assert done["version"] == 2


def test_a_name_belongs_to_who_has_published_under_it(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = f"sqlite:///{tmp_path}/registry.db"
    monkeypatch.setenv("LOGNAME", "alice")
    assert getpass.getuser() == "alice"
    train(IGNORANT, publish=registry)
    monkeypatch.setenv("LOGNAME", "bob")
    with pytest.raises(PublishError, match="the model net belongs to alice: expected another --name, or --any-owner"):
        train(IGNORANT, publish=registry, run="refused")
    assert not Path("refused").exists()
    assert existing(registry, "net").owners == {"alice"}
    done, _ = train(IGNORANT, publish=registry, any_owner=True)
    assert done["version"] == 2
    assert existing(registry, "net").owners == {"alice", "bob"}
    # Both have published now.
    assert train(IGNORANT, publish=registry)[0]["version"] == 3


def test_the_errors_of_a_registry_that_is_no_registry_are_one_line(train: Train, tmp_path: Path) -> None:
    (tmp_path / "registry.db").write_text("this is no database")
    with pytest.raises(MlaasError) as raised:
        train(IGNORANT, publish=f"sqlite:///{tmp_path}/registry.db")
    assert "\n" not in str(raised.value)
