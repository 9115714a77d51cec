"""Training loops of frameworks get every event once, in batches of the size that they ask for."""

from pathlib import Path

import numpy as np
import pytest

from mlaas.dataset import Dataset, DatasetParams
from mlaas.errors import ParameterError
from tests.mlaas.samples import make_sample


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("frameworks")
    files = [str(make_sample(folder / f"{seed}.root", 500, seed)) for seed in (1, 2)]
    params = DatasetParams(selected=["met", "pt"], chunk_size=90, weight_branch="i_bool", test=0.1)
    return Dataset(files, [1, 0], params)


def rows(*batches: tuple[np.ndarray, ...]) -> np.ndarray:
    table = np.concatenate([np.column_stack([np.asarray(one) for one in batch]) for batch in batches])
    return table[np.lexsort(table.T)]


def expected(dataset: Dataset, part: str) -> np.ndarray:
    chunks = dataset.chunks(part)  # type: ignore[arg-type]
    return rows(*((one.x, one.y, one.weights) for one in chunks))  # type: ignore[misc]


@pytest.mark.parametrize("batch_size", [1, 7, 90, 1000])
def test_batches_go_across_chunks(dataset: Dataset, batch_size: int) -> None:
    found = list(dataset.batches("train", batch_size))
    assert {len(batch[0]) for batch in found[:-1]} <= {batch_size}
    assert 0 < len(found[-1][0]) <= batch_size
    np.testing.assert_array_equal(rows(*found), expected(dataset, "train"))
    with pytest.raises(ParameterError, match="batch_size: 0"):
        next(dataset.batches("train", 0))


def test_tensorflow_trains_on_it(dataset: Dataset) -> None:
    keras = pytest.importorskip("keras")
    stream = dataset.tensorflow("train", 32)
    first, second = list(stream.as_numpy_iterator()), list(stream.as_numpy_iterator())
    assert len(first) == len(stream) == -(-dataset.counts["train"] // 32)
    np.testing.assert_array_equal(rows(*first), expected(dataset, "train"))
    np.testing.assert_array_equal(rows(*first), rows(*second))
    assert not np.array_equal(first[0][0], second[0][0])
    model = keras.Sequential([keras.layers.Input((len(dataset.columns),)), keras.layers.Dense(1, "sigmoid")])
    model.compile(loss="binary_crossentropy")
    history = model.fit(
        stream, validation_data=dataset.tensorflow("validation", 32), epochs=2, shuffle=False, verbose=0
    )
    assert np.isfinite(history.history["val_loss"]).all()


def test_torch_loads_it(dataset: Dataset) -> None:
    from torch.utils.data import DataLoader

    loader = DataLoader(dataset.torch("train", 32), batch_size=None)
    first, second = list(loader), list(loader)
    assert len(first) == len(loader) == -(-dataset.counts["train"] // 32)
    np.testing.assert_array_equal(rows(*first), expected(dataset, "train"))
    assert not np.array_equal(first[0][0], second[0][0])
    with pytest.raises(ParameterError, match="num_workers"):
        list(DataLoader(dataset.torch("train", 32), batch_size=None, num_workers=1))


def test_unweighted_batches_have_two_arrays(tmp_path: Path) -> None:
    path = str(make_sample(tmp_path / "a.root", 100))
    with Dataset([path], ["i_bool"], DatasetParams(selected=["met"])) as dataset:
        assert [len(batch) for batch in dataset.batches("test", 1000)] == [2]
        assert len(next(iter(dataset.tensorflow("test", 5)))) == 2
