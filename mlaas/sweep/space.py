"""Which parameters are tried, and between what."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlaas.errors import MlaasError, ParameterError, suggestion
from mlaas.params import TrainParams
from mlaas.yamlfile import read_yaml

MODEL = "model."
FIELDS = {"low", "high", "log", "step"}
EXPONENTIAL = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
SCALARS = (str, int, float, bool, type(None))

Values = Mapping[str, Any]


def read_space(source: Path | Mapping[str, Any]) -> dict[str, Any]:
    """The parameters in a JSON or YAML file, or given as its content, each with a list of choices or a range.

    Raises:
        ParameterError: The file can't be read, or a parameter is not known, or has neither.
    """
    where = "space" if isinstance(source, Mapping) else f"--space {source}"
    try:
        content = source if isinstance(source, Mapping) else _numbers(read_yaml(source.read_text("utf-8")))
    except OSError as error:
        raise ParameterError(f"{where}: {error.strerror}") from error
    except (MlaasError, UnicodeDecodeError) as error:
        raise ParameterError(f"{where}: {error}") from error
    if not isinstance(content, Mapping) or not content:
        raise ParameterError(f"{where}: expected an object of parameters")
    for name, given in content.items():
        try:
            _check(str(name), given)
        except ValueError as error:
            raise ParameterError(f"{where}: {name}: {error}") from error
    return {str(name): given for name, given in content.items()}


def distributions(space: Mapping[str, Any]) -> dict[str, Any]:
    """The space as Optuna's distributions; whole numbers as both ends of a range are a range of whole numbers."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, Any] = {}
    for name, given in space.items():
        if isinstance(given, list):
            found[name] = CategoricalDistribution(given)
        elif isinstance(given["low"], int) and isinstance(given["high"], int):
            found[name] = IntDistribution(**given)
        else:
            found[name] = FloatDistribution(**given)
    return found


def with_values(params: Mapping[str, Any], values: Values) -> dict[str, Any]:
    """The fields of params.json with the values of a trial; `model.x` is an argument of the model function."""
    changed = {**params, "model": dict(params.get("model") or {})}
    for name, value in values.items():
        if name.startswith(MODEL):
            changed["model"][name.removeprefix(MODEL)] = value
        else:
            changed[name] = value
    return changed


def _numbers(content: Any) -> Any:
    """With numbers for what YAML, other than JSON and Python, takes for texts: 1e-4, without a dot."""
    if isinstance(content, dict):
        return {name: _numbers(value) for name, value in content.items()}
    if isinstance(content, list):
        return [_numbers(value) for value in content]
    return float(content) if isinstance(content, str) and EXPONENTIAL.fullmatch(content) else content


def _check(name: str, given: Any) -> None:
    if not name.removeprefix(MODEL).isidentifier() or (
        not name.startswith(MODEL) and name not in TrainParams.model_fields
    ):
        hint = suggestion(name, TrainParams.model_fields)
        raise ValueError(f"expected a field of params.json, or model. and an argument of model(){hint}")
    if isinstance(given, list):
        if not given or not all(isinstance(choice, SCALARS) for choice in given):
            raise ValueError("expected a list of numbers, texts, true or false")
        return
    if not isinstance(given, dict) or not {"low", "high"} <= given.keys() <= FIELDS:
        raise ValueError(f"expected a list of choices, or low and high, not {given!r}")
    numbers = [given[field] for field in ("low", "high", "step") if field in given]
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in numbers):
        raise ValueError("low, high and step are numbers")
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError("low, high and step are finite")
    if isinstance(given["low"], int) and isinstance(given["high"], int) and not isinstance(given.get("step", 1), int):
        raise ValueError(f"step {given['step']}: expected a whole number, as low and high are")
    if not isinstance(given.get("log", False), bool):
        raise ValueError("log is true or false")
    if given["low"] >= given["high"]:
        raise ValueError(f"low {given['low']} is not below high {given['high']}")
    if given.get("log") and (given["low"] <= 0 or "step" in given):
        raise ValueError("a logarithmic range begins above 0 and has no step")
    if given.get("step", 1) <= 0:
        raise ValueError("step is above 0")
