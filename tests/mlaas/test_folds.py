"""The models of all folds as one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from mlaas.assembly import Assembler
from mlaas.errors import ModelError
from mlaas.export import with_preprocessing
from mlaas.features import Feature
from mlaas.folds import combine_folds
from mlaas.normalisation import Scaling
from mlaas.trainers import is_sample_trainer
from tests.mlaas.test_trainers import CLASSIFIERS, REGRESSORS, Make, events, made

EVENTS = np.random.default_rng(3).normal(size=(64, 3)).astype(np.float32)


def network(
    seed: int, shape: Sequence[int] = (1,), width: int = 3, opset: int = 17, kind: int = TensorProto.FLOAT
) -> onnx.ModelProto:
    """Sums of the features with random weights, in the given shape of an event."""
    size = int(np.prod(shape))
    weights = np.random.default_rng(seed).normal(size=(width, size)).astype(np.float32)
    constants = {"w": weights, "shape": np.array([-1, *shape], np.int64)}
    nodes = [
        helper.make_node("MatMul", ["features", "w"], ["sums"], name="sum"),
        helper.make_node("Reshape", ["sums", "shape"], ["shaped"]),
        helper.make_node("Cast", ["shaped"], ["output"], to=kind),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["events", width])],
        [helper.make_tensor_value_info("output", kind, ["n", *shape])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def run(model: onnx.ModelProto, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    answer: npt.NDArray[np.float32] = session.run(None, {"features": features})[0]
    return answer


def with_fold(fold: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    return np.column_stack([EVENTS[: len(fold)], fold]).astype(np.float32)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3)])
@pytest.mark.parametrize("folds", [2, 12])
def test_every_event_of_a_batch_gets_the_answer_of_its_fold(folds: int, shape: tuple[int, ...]) -> None:
    models = [network(seed, shape) for seed in range(folds)]
    combined = combine_folds(models)
    onnx.checker.check_model(combined, full_check=True)
    fold = np.random.default_rng(1).integers(0, folds, len(EVENTS))
    alone = [run(model, EVENTS) for model in models]
    together = run(combined, with_fold(fold))
    assert together.shape == (len(EVENTS), *shape)
    np.testing.assert_allclose(together, [alone[one][event] for event, one in enumerate(fold)], rtol=1e-5, atol=1e-6)
    single = run(combined, with_fold(fold)[5:6])
    np.testing.assert_allclose(single[0], alone[fold[5]][5], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_folds_without_an_event_and_models_that_can_not_do_without(fold: int) -> None:
    models = [network(0), needing_an_event(1), network(2)]
    with pytest.raises(Exception, match="out of data bounds"):
        run(models[1], EVENTS[:0])
    together = run(combine_folds(models), with_fold(np.array([fold, fold])))
    np.testing.assert_allclose(together, run(models[fold], EVENTS[:2]), rtol=1e-5, atol=1e-6)


def needing_an_event(seed: int) -> onnx.ModelProto:
    """As `network`, with something of the first event that changes nothing, and is not there without events."""
    model = network(seed)
    model.graph.node[-1].input[0] = "unchanged"
    first = numpy_helper.from_array(np.array([0], np.int64), "first")
    model.graph.initializer.extend([first, numpy_helper.from_array(np.float32(0), "nothing")])
    cast = model.graph.node.pop()
    model.graph.node.extend(
        [
            helper.make_node("Gather", ["shaped", "first"], ["one"], axis=0),
            helper.make_node("Mul", ["one", "nothing"], ["zero"]),
            helper.make_node("Add", ["shaped", "zero"], ["unchanged"]),
            cast,
        ]
    )
    return model


TREES: dict[str, tuple[Make, int]] = {
    **{
        name: (CLASSIFIERS[name], 3)
        for name in ("RandomForestClassifier", "XGBClassifier", "LGBMClassifier", "Pipeline")
    },
    **{name: (REGRESSORS[name], 0) for name in ("HistGradientBoostingRegressor", "XGBRegressor", "LGBMRegressor")},
}


@pytest.mark.parametrize("name", TREES)
def test_models_that_are_no_networks(name: str, tmp_path: Path) -> None:
    make, classes = TREES[name]
    x, y, _ = events(classes)
    halves, models = [], []
    assembler = Assembler([Feature("x", "jagged", x.shape[1])], [Scaling(0.0, 1.0)])
    for half in (slice(0, 300), slice(300, 600)):
        trainer = made(make, classes)
        assert is_sample_trainer(trainer)
        trainer.fit_sample(x[half], y[half], None, None)
        trainer.export(tmp_path / "network.onnx")
        models.append(with_preprocessing(onnx.load(tmp_path / "network.onnx"), assembler))
        halves.append(trainer.predict(x))
    combined = combine_folds(models)
    for fold in (np.arange(600) % 2, np.zeros(600, int), np.ones(600, int)):
        answers = run(combined, np.column_stack([x, fold]).astype(np.float32))
        np.testing.assert_allclose(answers, np.where(fold[:, None] == 0, *halves), rtol=1e-5, atol=1e-5)


def test_no_model_answers_where_there_is_no_such_fold() -> None:
    combined = combine_folds([network(0), network(1)])
    answers = run(combined, np.array([[1, 2, 3, 2], [1, 2, 3, -1], [1, 2, 3, np.nan], [1, 2, 3, 1]], np.float32))
    assert np.isnan(answers[:, 0]).tolist() == [True, True, True, False]


def test_a_fold_that_answers_nan_spoils_no_other_one() -> None:
    broken = network(1)
    broken.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((3, 1), np.nan, np.float32), "w"))
    answers = run(combine_folds([network(0), broken]), with_fold(np.array([0, 1, 0])))
    assert np.isnan(answers[:, 0]).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([network(0)], "1 models of folds: expected at least 2"),
        ([network(0), network(1, width=4)], "of fold 1 has the columns 4, that of fold 0 3: expected the same of all"),
        (
            [network(0), network(1, (2,))],
            r"of fold 1 has the output output FLOAT \(events, 2\), that of fold 0 output FLOAT \(events, 1\)",
        ),
        ([network(0), network(1), network(2, opset=18)], "of fold 2 has the operator sets"),
        ([network(0, kind=TensorProto.INT64)] * 2, r"of fold 0 has the outputs output INT64 \(events, 1\): expected"),
    ],
)
def test_models_that_do_not_go_together(models: list[onnx.ModelProto], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        combine_folds(models)


def test_a_model_of_other_inputs() -> None:
    renamed = network(0)
    renamed.graph.input[0].name = "x"
    with pytest.raises(ModelError, match=r"of fold 1 has the inputs x: expected features \(events, width\) alone"):
        combine_folds([network(0), renamed])
