"""Trainings with other parameters, round by round, and a table of what they gave."""

import contextlib
import fcntl
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mlaas.errors import MlaasError, ParameterError
from mlaas.interrupts import Interrupted
from mlaas.options import TrainOptions
from mlaas.params import read_params
from mlaas.publication import check_publication, model_name, publish_kept
from mlaas.sweep.space import distributions, read_space, with_values
from mlaas.sweep.trials import STOP, Outcome, Trial, Trials, open_trials
from mlaas.wholefile import write_whole

Tell = Callable[[str], None]
# Metric of the best epoch → 1 where less of it is better, else -1.
METRICS = {"validation_loss": 1, "validation_auc": -1}
RESULTS = "sweep.json"
OWN = ("params", "publish", "alias", "any_owner", "promote_if", "run", "fout", "summary")


@dataclass(frozen=True)
class SweepOptions:
    """What `mlaas sweep` is asked for; see its `--help`.

    Attributes:
        training: Of every trial; it publishes the best one where it says so.
    """

    training: TrainOptions
    space: Path | Mapping[str, Any]
    output: Path
    trials: int = 20
    metric: str = "validation_loss"
    processes: int = 1
    dask: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON has it."""
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        content["training"] = self.training.to_json()
        return {name: str(value) if isinstance(value, Path) else value for name, value in content.items()}


def sweep(options: SweepOptions, tell: Tell) -> dict[str, Any]:
    """Train with other parameters, in a new folder, and publish the best if that is wanted.

    Trials are chosen by Optuna's TPE sampler, a round of as many as run at the same time from the results of those
    before, so that the same seed and processes give the same trials. The best is that of the validation part.

    Args:
        tell: called with each line that a person should read.

    Returns:
        The results, which are also written to `sweep.json` in the folder.

    Raises:
        MlaasError: in one line, what the user can mend.
    """
    options = _settled(options)
    try:
        options.output.mkdir(parents=True)
    except FileExistsError as error:
        raise ParameterError(
            f"--output {options.output} is there already: expected a new folder; mlaas sweep --resume goes on with one"
        ) from error
    except OSError as error:
        raise ParameterError(f"--output {options.output}: {error.strerror}") from error
    about = {"options": options.to_json(), "started_in": str(Path.cwd())}
    write_whole(options.output / "options.json", json.dumps(about, indent=1).encode())
    return _sweep(options, tell)


def _settled(options: SweepOptions) -> SweepOptions:
    """With the content of files that could change until the sweep is resumed; raises ParameterError."""
    if options.metric not in METRICS:
        raise ParameterError(f"--metric {options.metric}: expected {' or '.join(METRICS)}")
    for name in ("trials", "processes"):
        if getattr(options, name) < 1:
            raise ParameterError(f"--{name} {getattr(options, name)}: expected 1 or more")
    _optuna()
    params = read_params(options.training.params).model_dump(mode="json", exclude_unset=True)
    check_publication(options.training, model_name(options.training))
    return replace(options, training=replace(options.training, params=params), space=read_space(options.space))


def resume_sweep(folder: Path, tell: Tell) -> dict[str, Any]:
    """Go on with a sweep that was stopped or killed; see :func:`sweep`."""
    try:
        about = json.loads((folder / "options.json").read_bytes())
        given = about["options"]
        training = TrainOptions.from_json(given["training"])
        space = Path(given["space"]) if isinstance(given["space"], str) else given["space"]
        output = Path(given["output"])
        options = SweepOptions(**(given | {"training": training, "space": space, "output": output}))
        started_in = about["started_in"]
    except OSError as error:
        raise ParameterError(f"{folder} is no folder of a sweep: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ParameterError(f"{folder}/options.json is damaged: {error}") from error
    results = folder / RESULTS
    if results.exists() and (not training.publish or json.loads(results.read_bytes())["version"] is not None):
        raise ParameterError(f"{folder}: this sweep has ended; nothing is left to do")
    if Path.cwd() != Path(started_in):
        raise ParameterError(f"the sweep was started in {started_in}: go there, since its files are named from there")
    if folder.resolve() != options.output.resolve():
        raise ParameterError(f"{folder}: the sweep was started as {options.output}: give it that name again")
    return _sweep(options, tell)


def _sweep(options: SweepOptions, tell: Tell) -> dict[str, Any]:
    with _in_use(options.output):
        try:
            with open_trials(options.dask, options.processes) as trials:
                results = _results(options, trials, tell)
            return _best(options, results, tell)
        except KeyboardInterrupt as error:
            if not _has_begun(options):
                raise
            raise Interrupted(f"stopped; to go on: mlaas sweep --resume {options.output}") from error
        finally:
            if not _has_begun(options):
                shutil.rmtree(options.output)


def _has_begun(options: SweepOptions) -> bool:
    """Whether there is something to go on with."""
    return any(options.output.glob("trial-*"))


def _best(options: SweepOptions, results: Sequence[Mapping[str, Any]], tell: Tell) -> dict[str, Any]:
    """Find the best trial and publish it; all that `sweep.json` says."""
    good = [result for result in results if result["value"] is not None]
    if not good:
        raise MlaasError(f"no trial has succeeded; the first one: {results[0]['reason']}")
    sign = METRICS[options.metric]
    best = min(good, key=lambda result: sign * float(result["value"]))
    tell(_table(results, best, options.metric))
    name = model_name(options.training)
    bundle = options.output / best["folder"] / "run" / f"{name}.tar.gz"
    tell(f"best: trial {best['trial']}, {options.metric} {best['value']:.4f}, test AUC {_figure(best['test_auc'])}")
    tell(f"its model: {bundle}")
    found: dict[str, Any] = {
        "metric": options.metric, "best": best, "trials": results, "model": name, "version": None,
    }  # fmt: skip
    _write(options, found)
    if options.training.publish:
        found["version"] = publish_kept(options.training.publish, bundle, options.training.alias, tell)
        _write(options, found)
    return found


def _results(options: SweepOptions, trials: Trials, tell: Tell) -> list[dict[str, Any]]:
    """What all trials give, round by round."""
    space = read_space(options.space)
    base = read_params(options.training.params).model_dump(mode="json", exclude_unset=True)
    study = _study(options.training.seed, METRICS[options.metric])
    (options.output / STOP).unlink(missing_ok=True)
    size = _round_size(options.output, trials.size)
    results: list[dict[str, Any]] = []
    while len(results) < options.trials:
        wanted = min(size, options.trials - len(results))
        results += _round(options, trials, study, space, base, range(len(results), len(results) + wanted), tell)
    return results


@contextmanager
def _in_use(folder: Path) -> Iterator[None]:
    """Keep other processes from going on with the sweep at the same time; raises MlaasError."""
    with (folder / "options.json").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise MlaasError(f"{folder}: another process is at work on this sweep") from error
        yield


def _round_size(folder: Path, size: int) -> int:
    """How many trials are chosen at a time: as at the start, also where a cluster has grown since."""
    path = folder / "round.json"
    if not path.exists():
        write_whole(path, json.dumps({"size": size}).encode())
    return int(json.loads(path.read_bytes())["size"])


def _write(options: SweepOptions, found: Mapping[str, Any]) -> None:
    for path in (options.output / RESULTS, options.training.summary):
        if path:
            write_whole(path, (json.dumps(found, indent=1) + "\n").encode())


def _optuna() -> Any:
    """The library; raises ParameterError where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="IProgress not found")  # of tqdm, in notebooks
            import optuna
    except ImportError as error:
        raise ParameterError("mlaas sweep needs Optuna: pip install 'hep-mlaas[sweep]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _study(seed: int, sign: int) -> Any:
    optuna = _optuna()
    return optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed), direction="minimize" if sign > 0 else "maximize"
    )


def _round(
    options: SweepOptions,
    trials: Trials,
    study: Any,
    space: Mapping[str, Any],
    base: Mapping[str, Any],
    numbers: range,
    tell: Tell,
) -> list[dict[str, Any]]:
    """The results of the next trials, which the study learns."""
    import optuna

    asked = [study.ask(distributions(space)) for _ in numbers]
    cores = len(os.sched_getaffinity(0))
    wanted = [
        Trial(
            number,
            trial.params,
            (options.output / f"trial-{number:03}").resolve(),
            _arguments(options),
            with_values(base, trial.params),
            Path.cwd(),
            0 if options.dask else max(1, cores // trials.size),
        )
        for number, trial in zip(numbers, asked, strict=True)
    ]
    results = []
    with contextlib.closing(trials.run(wanted)) as outcomes:
        for trial, of_study, outcome in zip(wanted, asked, outcomes, strict=True):
            if outcome.interrupted:
                raise KeyboardInterrupt
            result = _result(trial, outcome, options.metric)
            if result["value"] is None:
                study.tell(of_study, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(of_study, result["value"])
            figure = _figure(result["value"]) if result["value"] is not None else f"failed, {result['reason']}"
            shown = ", ".join(f"{name} {_figure(value)}" for name, value in trial.values.items())
            tell(f"trial {trial.number}: {shown}: {options.metric} {figure}")
            results.append(result)
    return results


def _arguments(options: SweepOptions) -> list[str]:
    """Options of `mlaas train` that all trials share."""
    given = options.training.to_json()
    if isinstance(given["preproc"], Mapping):
        path = (options.output / "preproc.json").resolve()
        write_whole(path, json.dumps(given["preproc"]).encode())
        given["preproc"] = str(path)
    arguments = []
    for name, value in given.items():
        option = f"--{name.replace('_', '-')}"
        if name in OWN or value is None or value is False:
            continue
        arguments += [option] if value is True else [option, str(value)]
    return arguments


def _result(trial: Trial, outcome: Outcome, metric: str) -> dict[str, Any]:
    summary = outcome.summary or {}
    best = summary.get("best_epoch") or {}
    value = best.get(metric)
    reason = outcome.reason or ("" if value is not None else f"it has no {metric}")
    return {
        "trial": trial.number, "values": dict(trial.values), "value": value, "reason": reason,
        "folder": trial.folder.name, "epoch": best.get("epoch"), "test_auc": summary.get("test_auc"),
        "seconds": summary.get("seconds"),
    }  # fmt: skip


def _table(results: Sequence[Mapping[str, Any]], best: Mapping[str, Any], metric: str) -> str:
    table = Table("trial", *results[0]["values"], metric, "epoch", "seconds", "")
    for result in results:
        note = "best" if result is best else result["reason"]
        cells = [result["trial"], *result["values"].values(), result["value"], result["epoch"], result["seconds"], note]
        table.add_row(*(_figure(cell) for cell in cells))
    console = Console(color_system=None, force_jupyter=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get().rstrip()


def _figure(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
