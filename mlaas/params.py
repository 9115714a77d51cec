"""`params.json`: how files are read and a model is trained."""

import difflib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mlaas.errors import ParameterError


class TrainParams(BaseModel):
    """The fields of params.json; an empty string there means unset."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    nevts: int = Field(-1, description="events over all files, -1 for all")
    shuffle: bool = Field(True, description="shuffle the events of a chunk in each epoch")
    chunk_size: int = Field(10_000, ge=1, description="events in a chunk")
    epochs: int = Field(10, ge=1, description="passes over the training part")
    patience: int = Field(0, ge=0, description="epochs without a better validation loss that end it; 0 for never")
    batch_size: int = Field(100, ge=1, description="events in a step of the optimiser")
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = Field(
        "float32", description="what a Keras model computes in while it is trained; it is served in float32"
    )
    sample_events: int = Field(
        1_000_000, ge=1, description="training events of a framework that takes all at once, 4 bytes a column each"
    )
    identifier: tuple[str, ...] = Field((), description="branches that tell events apart; never features")
    branch: str | None = Field(None, description="the tree, such as Events; needed where a file has several")
    selected_branches: tuple[str, ...] = Field((), description="names and patterns; all branches when empty")
    exclude_branches: tuple[str, ...] = Field((), description="names and patterns that are left out")
    encode: tuple[str, ...] = Field((), description="branches of strings, used as places in their sorted order")
    hist: str | None = Field(None, description="a folder, .pdf or .png for histograms of the training part")
    redirector: str = Field("", description="prefix of file names that are not local, such as root://host/")
    split: float = Field(0.2, gt=0, lt=1, description="fraction of the events held out as the test part")
    nan: float = Field(0.0, ge=-1e30, le=1e30, description="what a missing value becomes after normalisation")
    normalisation: str | dict[str, str] = Field("minmax", description="minmax, zscore, robust or none, or by branch")
    jagged_quantile: float = Field(1.0, gt=0, le=1, description="fraction of events whose objects all have columns")
    weight: str | None = Field(None, description="branch with the weight of each event")
    cross_sections: tuple[float, ...] = Field((), description="of each file, in pb")
    luminosity: float = Field(1.0, gt=0, description="that cross_sections are scaled to, in 1/pb")
    balance: bool = Field(False, description="scale the weights so that all classes count the same")
    event_number: str | None = Field(None, description="branch of integers that folds go by")
    folds: int = Field(0, ge=0, description="into how many folds the events are cut, by event number")
    fold: int = Field(0, ge=0, description="the fold that is the test part")
    model: dict[str, Any] = Field(default_factory=dict, description="arguments of the model function")
    verbose: int = Field(0, ge=0, description="0 or 1: how much is told")

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, value: Any) -> Any:
        return {key: item for key, item in value.items() if item != ""} if isinstance(value, Mapping) else value

    @field_validator("identifier", "selected_branches", "exclude_branches", "encode", mode="before")
    @classmethod
    def _branch_names(cls, value: Any) -> Any:
        """A list, a comma-separated string, or a file with a name a line."""
        if not isinstance(value, str):
            return value
        if os.path.isfile(value):
            return tuple(lines(Path(value)))
        return tuple(name.strip() for name in value.split(",") if name.strip())

    @field_validator("hist")
    @classmethod
    def _drawable(cls, value: str | None) -> str | None:
        from mlaas.inspection import pages

        if value is not None:
            pages(Path(value))
        return value

    @field_validator("nevts")
    @classmethod
    def _all_or_some(cls, value: int) -> int:
        if value == 0 or value < -1:
            raise ValueError("expected -1 for all events, or a number of events")
        return value


def read_params(path: Path | Mapping[str, Any] | None) -> TrainParams:
    """The parameters in a file, or given as content, or the defaults; raises ParameterError that names the field."""
    if path is None:
        return TrainParams()
    if isinstance(path, Mapping):
        return _validated(path, "params")
    try:
        fields = json.loads(path.read_bytes(), object_pairs_hook=_each_once)
    except OSError as error:
        raise ParameterError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ParameterError(f"{path} is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ParameterError(f"{path} holds a {type(fields).__name__}: expected an object")
    return _validated(fields, str(path))


def _validated(fields: Mapping[str, Any], path: str) -> TrainParams:
    try:
        return TrainParams.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            meant = difflib.get_close_matches(name, TrainParams.model_fields, n=1)
            hint = f"did you mean {meant[0]!r}?" if meant else f"expected {', '.join(TrainParams.model_fields)}"
            raise ParameterError(f"{path}: unknown field {name!r}: {hint}") from error
        reason = first["msg"].removeprefix("Value error, ")
        given = json.dumps(first["input"])[:80]
        raise ParameterError(f"{path}: {name}: {reason}, not {given}") from error


def chosen_fold(params: TrainParams, fold: str | None) -> TrainParams:
    """The parameters with the fold of `--fold`, such as 2/5: of five folds, that of numbers that are 2 modulo 5.

    Raises:
        ParameterError: it is no such thing, or the parameters say other folds.
    """
    if fold is None:
        return params
    found = re.fullmatch(r"(\d{1,4})/(\d{1,4})", fold)
    if found is None or not int(found[1]) < int(found[2]):
        raise ParameterError(f"--fold {fold}: expected K/N with K from 0 to N - 1, such as 0/5")
    wanted = {"fold": int(found[1]), "folds": int(found[2])}
    if params.folds not in (0, wanted["folds"]):
        raise ParameterError(f"--fold {fold}: the parameters say folds {params.folds}; leave one of them out")
    if params.event_number is None:
        raise ParameterError("event_number is missing in the parameters: expected the branch of integers for the folds")
    return params.model_copy(update=wanted)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        twice = next(name for position, (name, _) in enumerate(pairs) if name in dict(pairs[:position]))
        raise ValueError(f"field {twice!r} is given twice")
    return fields


def lines(path: Path) -> list[str]:
    """The lines of a text file, without empty ones and comments; raises ParameterError."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise ParameterError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ParameterError(f"{path} is not text: expected a name a line") from error
    stripped = (line.strip() for line in text.splitlines())
    return [line for line in stripped if line and not line.startswith("#")]
