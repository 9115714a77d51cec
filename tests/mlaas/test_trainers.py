"""What trainers promise, on numbers and without files."""

import builtins
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from mlaas.errors import ModelError
from mlaas.export import check_exportable
from mlaas.features import Feature
from mlaas.trainers import Trainer, is_sample_trainer, make_trainer
from mlaas.trainers.thresholds import not_above
from mlaas.usercode import build_model, load_model_function

WIDTH = 6
Make = Callable[[], Any]


def events(classes: int, number: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values with zeros among them, labels that they tell, and weights."""
    generator = np.random.default_rng(5)
    x = generator.random((number, WIDTH), np.float32)
    x[generator.random(x.shape) < 0.2] = 0
    score = x[:, 0] + x[:, 1] * x[:, 2]
    y = np.digitize(score, np.quantile(score, np.arange(1, classes) / classes)) if classes else score
    return x, y.astype(np.float32), generator.uniform(0.5, 2, number).astype(np.float32)


def made(make: Make, classes: int = 2) -> Trainer:
    return make_trainer(make(), WIDTH, classes)


def fit(trainer: Trainer, classes: int = 2, weighted: bool = False) -> float:
    x, y, weights = events(classes)
    given = weights if weighted else None
    if is_sample_trainer(trainer):
        return trainer.fit_sample(x, y, given, (x, y, given))
    return trainer.fit(x, y, 100, given)


def exported(trainer: Trainer, x: np.ndarray, folder: Path) -> np.ndarray:
    trainer.export(folder / "network.onnx")
    session = onnxruntime.InferenceSession(str(folder / "network.onnx"))
    (output,) = session.get_outputs()
    assert output.name == "output"
    return np.asarray(session.run(None, {"normalised": x})[0])


def sklearn_model(name: str, **parameters: Any) -> Make:
    def make() -> Any:
        from sklearn import ensemble, linear_model, naive_bayes, neural_network, svm

        modules = (ensemble, linear_model, naive_bayes, neural_network, svm)
        return next(getattr(module, name) for module in modules if hasattr(module, name))(**parameters)

    return make


def scaled_forest() -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), sklearn_model("RandomForestClassifier", n_estimators=10)())


def xgboost_model(name: str, **parameters: Any) -> Make:
    return lambda: getattr(import_module("xgboost"), name)(**parameters)


def booster(**parameters: Any) -> Any:
    made = import_module("xgboost").Booster(parameters)
    made.set_attr(num_boost_round="15")
    return made


def lightgbm_model(name: str, **parameters: Any) -> Make:
    return lambda: getattr(import_module("lightgbm"), name)(n_estimators=15, **parameters)


def torch_model(outputs: int, *last: str, **attributes: Any) -> Make:
    """A small network; attributes that are strings name something of `torch.nn` or `torch.optim`."""

    def make() -> Any:
        import torch

        torch.manual_seed(2)
        nn = torch.nn
        layers = (nn.Linear(WIDTH, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, outputs))
        ends = (getattr(nn, name)(*[1] * name.endswith("oftmax")) for name in last)  # 1 is the dimension
        network = nn.Sequential(*layers, *ends)
        for name, value in attributes.items():
            found = getattr(nn, value, None) or getattr(torch.optim, value) if isinstance(value, str) else value
            setattr(network, name, found() if name == "loss" and isinstance(found, type) else found)
        return network

    return make


CLASSIFIERS: dict[str, Make] = {
    "SGDClassifier": sklearn_model("SGDClassifier", loss="log_loss"),
    "torch": torch_model(1),
    "GaussianNB": sklearn_model("GaussianNB"),
    "MLPClassifier": sklearn_model("MLPClassifier", hidden_layer_sizes=(8,)),
    "LogisticRegression": sklearn_model("LogisticRegression"),
    "RandomForestClassifier": sklearn_model("RandomForestClassifier", n_estimators=15),
    "GradientBoostingClassifier": sklearn_model("GradientBoostingClassifier", n_estimators=15),
    "HistGradientBoostingClassifier": sklearn_model("HistGradientBoostingClassifier", max_iter=15),
    "Pipeline": scaled_forest,
    "XGBClassifier": xgboost_model("XGBClassifier", n_estimators=15),
    "LGBMClassifier": lightgbm_model("LGBMClassifier"),
}
BOOSTED = ["XGBClassifier", "LGBMClassifier"]
REGRESSORS: dict[str, Make] = {
    "SGDRegressor": sklearn_model("SGDRegressor"),
    "RandomForestRegressor": sklearn_model("RandomForestRegressor", n_estimators=15),
    "HistGradientBoostingRegressor": sklearn_model("HistGradientBoostingRegressor", max_iter=15),
    "XGBRegressor": xgboost_model("XGBRegressor", n_estimators=15),
    "LGBMRegressor": lightgbm_model("LGBMRegressor"),
    "Booster": lambda: booster(objective="reg:squarederror"),
}
BY_CLASSES = [
    *((make, 2) for make in CLASSIFIERS.values()),
    *((make, 3) for name, make in CLASSIFIERS.items() if name != "torch"),
    *((make, 0) for make in REGRESSORS.values()),
    (torch_model(1, "Sigmoid"), 2),
    (torch_model(2), 2),
    (torch_model(1, "Sigmoid", loss="BCELoss", optimizer="SGD"), 2),
    (torch_model(3), 3),
    (torch_model(3, "LogSoftmax", loss="NLLLoss", optimizer="AdamW"), 3),
    (torch_model(1), 0),
    (torch_model(1, loss="HuberLoss"), 0),
    (lambda: booster(objective="binary:logistic"), 2),
    (lambda: booster(objective="multi:softprob", num_class=3), 3),
]
NAMES = [
    *(f"{name}-2" for name in CLASSIFIERS),
    *(f"{name}-3" for name in CLASSIFIERS if name != "torch"),
    *REGRESSORS,
    *("torch-sigmoid", "torch-two-outputs", "torch-bce", "torch-3", "torch-nll", "torch-0", "torch-huber"),
    *("Booster-2", "Booster-3"),
]


@pytest.mark.parametrize(("make", "classes"), BY_CLASSES, ids=NAMES)
def test_exported_answers_are_those_of_the_model(make: Make, classes: int, tmp_path: Path) -> None:
    trainer = made(make, classes)
    assert trainer.classifies == bool(classes)
    check_exportable(trainer)
    loss = fit(trainer, classes)
    x, y, _ = events(classes)
    answers = trainer.predict(x)
    assert answers.shape == (len(x), classes if classes > 2 else 1)
    if is_sample_trainer(trainer):
        assert loss == pytest.approx(trainer.evaluate(x, y))
    np.testing.assert_allclose(exported(trainer, x, tmp_path), answers, 1e-5, 1e-5)


@pytest.mark.parametrize("make", [*CLASSIFIERS.values(), *REGRESSORS.values()], ids=[*CLASSIFIERS, *REGRESSORS])
def test_a_state_is_all_that_a_model_answers_from(make: Make, request: pytest.FixtureRequest) -> None:
    classes = 2 if request.node.callspec.id in CLASSIFIERS else 0
    x, y, _ = events(classes)
    trainer = made(make, classes)
    fit(trainer, classes)
    other, state, answers = made(make, classes), trainer.state(), trainer.predict(x)
    if trainer.streams:
        trainer.fit(x, y, 100)
    other.resume(state)
    np.testing.assert_array_equal(other.predict(x), answers)
    if other.streams:
        other.fit(x, y, 100)
        np.testing.assert_array_equal(other.predict(x), trainer.predict(x))


@pytest.mark.parametrize(
    "name",
    [
        "SGDClassifier",
        "RandomForestClassifier",
        "Pipeline",
        "HistGradientBoostingClassifier",
        "XGBClassifier",
        "LGBMClassifier",
    ],
)
def test_events_of_weight_zero_are_not_seen(name: str) -> None:
    x, y, _ = events(2)
    inverted = np.concatenate([y, 1 - y])
    weights = np.concatenate([np.ones_like(y), np.zeros_like(y)])
    trainer = made(CLASSIFIERS[name])
    twice = np.concatenate([x, x])
    if is_sample_trainer(trainer):
        trainer.fit_sample(twice, inverted, weights, (twice, inverted, weights))
    else:
        for _ in range(10):
            trainer.fit(twice, inverted, 100, weights)
    assert np.mean((trainer.predict(x)[:, 0] > 0.5) == y) > 0.85
    assert trainer.evaluate(twice, inverted, weights) == pytest.approx(trainer.evaluate(x, y) / 2, rel=1e-4)


def test_early_stopping_goes_by_the_validation_part_and_the_best_round_is_kept(tmp_path: Path) -> None:
    for make in (
        xgboost_model("XGBClassifier", n_estimators=300, learning_rate=1.0, early_stopping_rounds=3),
        lambda: lightgbm_model("LGBMClassifier", learning_rate=1.0, early_stopping_round=3)().set_params(
            n_estimators=300
        ),
    ):
        x, y, _ = events(2)
        y = np.where(np.random.default_rng(0).random(len(y)) < 0.3, 1 - y, y)
        trainer, longer = made(make), made(make)
        assert is_sample_trainer(trainer)
        assert is_sample_trainer(longer)
        trainer.fit_sample(x[:400], y[:400], None, (x[400:], y[400:], None))
        longer.fit_sample(x[:400], y[:400], None, (x[:400], y[:400], None))
        assert trainer.evaluate(x[400:], y[400:]) < longer.evaluate(x[400:], y[400:])
        np.testing.assert_allclose(exported(trainer, x, tmp_path), trainer.predict(x), 1e-5, 1e-5)


def neighbours(number: int) -> np.ndarray:
    """Pairs of float32 with nothing between them, so that every threshold lies at a rounding boundary."""
    low = np.linspace(10, 90, number, dtype=np.float32)
    return np.stack([low, np.nextafter(low, np.float32(100))], axis=1).ravel()


@pytest.mark.parametrize(
    "make",
    [
        sklearn_model("HistGradientBoostingRegressor", min_samples_leaf=1, max_leaf_nodes=None),
        sklearn_model("RandomForestRegressor", n_estimators=5, bootstrap=False),
        lightgbm_model("LGBMRegressor", min_child_samples=1, min_data_in_bin=1),
        xgboost_model("XGBRegressor", n_estimators=30, max_depth=9),
    ],
    ids=["HistGradientBoosting", "RandomForest", "LightGBM", "XGBoost"],
)
def test_values_at_a_threshold_go_to_the_same_side(make: Make, tmp_path: Path) -> None:
    values = neighbours(60)
    x = np.repeat(values[:, None], WIDTH, axis=1)
    y = np.tile(np.float32([0, 1]), len(values) // 2)
    trainer = made(make, 0)
    assert is_sample_trainer(trainer)
    trainer.fit_sample(x, y, None, None)
    answers = trainer.predict(x)
    assert answers.std() > 0.1, "no threshold between neighbours"
    np.testing.assert_allclose(exported(trainer, x, tmp_path), answers, 1e-5, 1e-5)


@pytest.mark.parametrize("scaler", ["StandardScaler", "MinMaxScaler", "MaxAbsScaler"])
def test_scalers_before_trees_round_alike(scaler: str, tmp_path: Path) -> None:
    from sklearn import preprocessing
    from sklearn.pipeline import make_pipeline

    x, y, _ = events(0, 3000)
    # Every event has a leaf of its own, and thresholds all around it.
    forest = sklearn_model("HistGradientBoostingRegressor", min_samples_leaf=1, max_leaf_nodes=None, max_iter=20)
    trainer = made(lambda: make_pipeline(getattr(preprocessing, scaler)(), forest()), 0)
    assert is_sample_trainer(trainer)
    trainer.fit_sample(x, y, None, None)
    np.testing.assert_allclose(exported(trainer, x, tmp_path), trainer.predict(x), 1e-5, 1e-5)


def test_thresholds_are_rounded_down() -> None:
    low = np.float32(0.3)
    high = np.nextafter(low, np.float32(1))
    exact = np.array([float(low), (2 * float(low) + float(high)) / 3, (float(low) + 2 * float(high)) / 3, float(high)])
    np.testing.assert_array_equal(not_above(exact), [low, low, low, high])
    np.testing.assert_array_equal(not_above(-exact), [-low, -high, -high, -high])


REFUSED: dict[str, tuple[Make, int, str]] = {
    "quantities": (sklearn_model("RandomForestClassifier"), 0, "needs labels that are classes: these are quantities"),
    "no probabilities": (sklearn_model("SGDClassifier"), 2, "gives no probabilities"),
    "clusters": (sklearn_model("IsolationForest"), 2, "expected a classifier or a regressor"),
    "ranker": (xgboost_model("XGBRanker"), 2, "expected an XGBClassifier, XGBRegressor or Booster"),
    "linear booster": (xgboost_model("XGBClassifier", booster="gblinear"), 2, "booster 'gblinear' can't be served"),
    "own missing": (xgboost_model("XGBClassifier", missing=0.0), 2, "missing=0.0 can't be served"),
    "own objective": (xgboost_model("XGBRegressor", objective=lambda y, p: (p - y, p)), 0, "is a function"),
    "objective": (lambda: booster(objective="binary:hinge"), 2, "objective binary:hinge can't be served"),
    "classes of a booster": (lambda: booster(objective="binary:logistic"), 3, "does not fit labels of 3 classes"),
    "LGBM ranker": (lightgbm_model("LGBMRanker"), 2, "expected an LGBMClassifier or an LGBMRegressor"),
    "wrong parameter": (sklearn_model("RandomForestClassifier", max_depth=-3), 2, "max_depth"),
    "unknown to ONNX": (lightgbm_model("LGBMRegressor", linear_tree=True), 0, "it answers made-up events with"),
    "not converted": (sklearn_model("RandomTreesEmbedding"), 2, "expected a classifier or a regressor"),
    "Sigmoid twice": (
        torch_model(1, "Sigmoid", loss="BCEWithLogitsLoss"),
        2,
        "ends in Sigmoid, which BCEWithLogitsLoss",
    ),
    "Softmax twice": (torch_model(3, "Softmax", loss="CrossEntropyLoss"), 3, "ends in Softmax, which CrossEntropyLoss"),
    "one output for three": (torch_model(1), 3, "1 outputs: CrossEntropyLoss expects one for each of 3 classes"),
    "three classes for two": (torch_model(1, loss="BCEWithLogitsLoss"), 3, "tells two classes apart, the labels 3"),
    "outputs for a quantity": (torch_model(2), 0, "2 outputs: MSELoss expects one"),
    "loss for classes": (torch_model(1, loss="BCELoss"), 0, "needs labels that are classes: these are quantities"),
    "no optimizer": (torch_model(1, optimizer=3), 2, "optimizer of the model is a int"),
    "width": (lambda: import_module("torch").nn.Linear(WIDTH + 1, 1), 2, "does not take the 6 columns"),
    "several outputs": (lambda: import_module("torch").nn.LSTM(WIDTH, 1), 2, "several outputs: expected one"),
    "other": (lambda: object(), 2, "expected a compiled model of keras, or a model of torch, sklearn"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_can_not_be_served_is_refused_before_the_training(kind: str) -> None:
    make, classes, reason = REFUSED[kind]
    with pytest.raises(ModelError) as error:
        check_exportable(made(make, classes))
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_weights_that_an_estimator_does_not_take_are_an_error() -> None:
    from sklearn.neighbors import KNeighborsClassifier

    with pytest.raises(ModelError, match="KNeighborsClassifier takes no event weights"):
        fit(made(lambda: KNeighborsClassifier(3)), weighted=True)


@pytest.mark.parametrize(
    ("make", "absent", "extra"),
    [
        (CLASSIFIERS["torch"], "onnxscript", "torch"),
        (CLASSIFIERS["SGDClassifier"], "skl2onnx", "sklearn"),
        (CLASSIFIERS["XGBClassifier"], "onnxmltools", "xgboost"),
        (CLASSIFIERS["LGBMClassifier"], "onnxmltools", "lightgbm"),
    ],
)
def test_an_absent_package_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, make: Make, absent: str, extra: str
) -> None:
    model = make()
    for name in [name for name in sys.modules if name.startswith(("mlaas.trainers.", absent))]:
        monkeypatch.delitem(sys.modules, name)
    really_import = builtins.__import__

    def without(name: str, *arguments: Any, **others: Any) -> Any:
        if name.partition(".")[0] == absent:
            raise ModuleNotFoundError(f"No module named {absent!r}", name=absent)
        return really_import(name, *arguments, **others)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModelError) as error:
        make_trainer(model, WIDTH, 2)
    assert str(error.value).endswith(f"{absent}, which is not installed: pip install 'hep-mlaas[{extra}]'")


def built(folder: Path, text: str) -> Any:
    path = folder / "net.py"
    path.write_text(text)
    features = [Feature("met", "flat"), Feature("jet_pt", "jagged", 4)]
    return build_model(load_model_function(path), features, path)


def test_a_model_function_gets_the_columns_or_the_features(tmp_path: Path) -> None:
    assert built(tmp_path, "def model(idim): return idim") == 5
    assert built(tmp_path, "def model(width): return width") == 5
    found = built(tmp_path, "def model(features): return [(f.name, f.kind, f.dimension) for f in features]")
    assert found == [("met", "flat", 1), ("jet_pt", "jagged", 4)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import keras\ndef model(idim): return keras.optimizers.Adam(lr=1e-3)", "line 2: ValueError"),
        ("from keras.layers.core import Dense", "Keras 3 has every layer in keras.layers"),
        ("from keras.utils import np_utils", "Keras 3 has to_categorical in keras.utils"),
        ("raise ModuleNotFoundError(\"No module named 'torch'\")", "pip install 'hep-mlaas[torch]'"),
        ("from MLaaS4HEP.jarray.pytorch import JaggedArrayLinear", "ready for torch.nn.Linear"),
    ],
)
def test_old_spellings_are_told_the_modern_ones(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ModelError) as error:
        built(tmp_path, text)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_the_example_of_the_original_makes_a_model(tmp_path: Path) -> None:
    text = """
from keras.models import Sequential
from keras.layers import Dense, Activation
from keras.optimizers import Adam

def model(idim):
    net = Sequential([Dense(8, input_shape=(idim,)), Activation('relu'), Dense(1), Activation('sigmoid')])
    net.compile(optimizer=Adam(learning_rate=1e-3), loss='binary_crossentropy', metrics=['accuracy'])
    return net
"""
    with pytest.warns(UserWarning, match="input_shape"):
        model = built(tmp_path, text)
    assert make_trainer(model, 5, 2).framework == "keras"


def test_a_module_is_exported_in_a_process_that_has_loaded_tensorflow(tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from torch import nn
from mlaas.trainers import make_trainer

trainer = make_trainer(nn.Sequential(nn.Linear(3, 1)), 3, 2)
import tensorflow
trainer.export(Path({str(tmp_path / "network.onnx")!r}))
trainer.save(Path({str(tmp_path / "network.pt2")!r}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"network.onnx", "network.pt2"}
