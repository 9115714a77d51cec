"""`make bench-training`: what feeding costs, and what streaming does to the result."""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.data_files import benchmark_file
from benchmarks.table import HEAD, Row, machine, show
from mlaas.dataset import Dataset, DatasetParams, Part
from mlaas.metrics import auc
from mlaas.params import TrainParams
from mlaas.trainers import make_trainer
from mlaas.trainers.repeatable import make_repeatable
from mlaas.training import Training, evaluate

DATA = Path(__file__).parents[2] / "shared" / "data"
EVENTS = 100_000
FEEDING_TARGET, AUC_TARGET, SEEDS, EPOCHS = 0.7, 0.01, 5, 8


def two_layers(width: int) -> Any:
    """A compiled Keras network of two hidden layers."""
    import keras

    relu = {"activation": "relu", "kernel_initializer": "he_normal"}
    network = keras.Sequential(
        [
            keras.layers.Input((width,)),
            keras.layers.Dense(64, **relu),
            keras.layers.Dense(32, **relu),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    network.compile(optimizer="adam", loss="binary_crossentropy")
    return network


def in_memory(dataset: Dataset, part: Part) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """All events of a part: float32 (n, width) and (n,)."""
    chunks = list(dataset.chunks(part))
    return np.concatenate([chunk.x for chunk in chunks]), np.concatenate([chunk.y for chunk in chunks])


def feeding(repetitions: int) -> Iterator[Row]:
    """Epochs from the file beside Keras's own `fit` on the same events as one array."""
    params = DatasetParams(chunk_size=20_000, nevts=EVENTS, test=0, validation=0)
    with Dataset([str(benchmark_file())], ["label"], params) as dataset:
        x, y = in_memory(dataset, "train")
        print(f"{len(x):,} events, {x.shape[1]} columns, network {x.shape[1]} → 64 → 32 → 1.\n")
        for batch in (100, 1000):
            trainer = make_trainer(two_layers(x.shape[1]), x.shape[1], 2)
            network = two_layers(x.shape[1])
            streamed, fitted = [], []
            # The first epoch makes the graphs.
            trainer.fit(x[:batch], y[:batch], batch)
            network.fit(x[:batch], y[:batch], batch_size=batch, verbose=0)
            for _ in range(repetitions):
                training = Training(trainer, dataset, TrainParams(epochs=1, batch_size=batch))
                streamed.append(training.run()[0].events_per_second)
                started = time.perf_counter()
                network.fit(x, y, batch_size=batch, verbose=0)
                fitted.append(len(x) / (time.perf_counter() - started))
            best, beside = max(streamed), max(fitted)
            yield Row(
                f"training from the file, batches of {batch}",
                f"{best:,.0f} events/s",
                f"Keras on an array {beside:,.0f} events/s",
                best / beside,
                FEEDING_TARGET,
            )


def result() -> Iterator[Row]:
    """Test AUC of streamed trainings beside Keras on all events in memory."""
    files = [DATA / "heptut_single_top.root", DATA / "heptut_ww.root"]
    if not files[0].is_file():
        print(f"{files[0]} is not there: no row for the AUC", file=sys.stderr)
        return
    pairs = []
    for seed in range(SEEDS):
        params = DatasetParams(seed=seed, excluded=("MC*", "EventWeight"))
        with Dataset([str(path) for path in files], [1, 0], params) as dataset:
            width = len(dataset.columns)
            x, y = in_memory(dataset, "train")
            test_x, test_y = in_memory(dataset, "test")
            make_repeatable(seed)
            trainer = make_trainer(two_layers(width), width, 2)
            Training(trainer, dataset, TrainParams(epochs=EPOCHS)).run()
            streamed = evaluate(trainer, dataset, "test")
            make_repeatable(seed)
            network = two_layers(width)
            network.fit(x, y, batch_size=100, epochs=EPOCHS, verbose=0)
            fitted = auc(test_y.astype(np.int64), network.predict(test_x, verbose=0))
        assert streamed is not None
        assert streamed.auc is not None
        assert fitted is not None
        pairs.append((streamed.auc, fitted))
        print(f"seed {seed}: streamed AUC {streamed.auc:.4f}, in memory {fitted:.4f}")
    means = np.mean(pairs, axis=0)
    yield Row(
        f"test AUC, mean of {SEEDS} seeds",
        f"{means[0]:.4f}",
        f"in memory {means[1]:.4f}",
        means[1] - means[0],
        AUC_TARGET,
        most=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-training", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    print(machine())
    rows = [*feeding(options.repetitions), *result()]
    print(f"\n{HEAD}")
    show(rows)


if __name__ == "__main__":
    main()
