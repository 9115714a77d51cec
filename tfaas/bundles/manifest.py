"""`params.json`: what a bundle says about its model."""

import difflib
import json
from itertools import accumulate
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from tfaas.errors import InvalidBundle
from tfaas.registry.names import NAME

MAX_FIELDS = 200


class Feature(BaseModel):
    """A named input: one number (flat) or a collection of up to `dim` numbers (jagged) an event."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(min_length=1, max_length=512)
    kind: Literal["flat", "jagged"] = "flat"
    dim: int = Field(1, ge=1, le=1_000_000)
    modulo: int | None = Field(None, ge=2, le=2**24, exclude_if=lambda modulo: modulo is None)
    """Of an integer, such as the number of an event, the model takes the remainder; None takes the number itself."""

    @model_validator(mode="after")
    def _flat_is_one_number(self) -> "Feature":
        if self.kind == "jagged" and self.modulo is not None:
            raise ValueError("a jagged feature has no modulo: expected a flat one")
        if self.kind == "flat" and self.dim != 1:
            raise ValueError(f"a flat feature has dim 1, not {self.dim}")
        return self


class Serving(BaseModel):
    """How one model is served; what is not given goes by the settings of the server."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_batch_size: int | None = Field(None, ge=1, le=1_000_000)
    max_queue: int | None = Field(None, ge=1, le=10_000_000)
    deadline: float | None = Field(None, gt=0, le=3600)
    threads: int | None = Field(None, ge=1, le=256)
    provider: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "float16"] = "float32"


class Manifest(BaseModel):
    """The fields that the server reads; others are kept as they came."""

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True)

    name: str = ""
    model: str = ""
    labels: str = ""
    description: str = ""
    options: list[str] | None = None
    input_node: str = Field("", validation_alias=AliasChoices("input_node", "inputNode", "input_name", "inputName"))
    output_node: str = Field(
        "", validation_alias=AliasChoices("output_node", "outputNode", "output_name", "outputName")
    )
    timestamp: str = ""
    tags: list[Annotated[str, Field(pattern=NAME.pattern)]] = Field(default_factory=list, max_length=50)
    features: list[Feature] = Field(default_factory=list)
    missing: bool = False
    img_channels: int = Field(0, ge=0, le=4)
    img_resize: bool = False
    serving: Serving = Field(default_factory=Serving)
    metrics: dict[str, Any] = Field(default_factory=dict)
    lineage: dict[str, Any] = Field(default_factory=dict)

    @field_validator("features", mode="before")
    @classmethod
    def _names_are_flat_features(cls, value: Any) -> Any:
        if isinstance(value, list):
            return [{"name": item} if isinstance(item, str) else item for item in value]
        return value

    @field_validator("features")
    @classmethod
    def _each_once(cls, value: list[Feature]) -> list[Feature]:
        seen: set[str] = set()
        for feature in value:
            if feature.name in seen:
                raise ValueError(f"feature {feature.name!r} is named twice")
            seen.add(feature.name)
        return value

    @model_validator(mode="before")
    @classmethod
    def _no_misspelt_field(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for key in set(value) - KNOWN_FIELDS:
                meant = difflib.get_close_matches(str(key), KNOWN_FIELDS, n=1, cutoff=0.85)
                if meant:
                    raise ValueError(f"unknown field {key!r}: did you mean {meant[0]!r}?")
        return value

    @property
    def width(self) -> int:
        """Numbers that the features of one event fill."""
        return sum(feature.dim for feature in self.features)

    @property
    def moduli(self) -> dict[int, int]:
        """Columns of the input that hold a remainder → of which division."""
        starts = accumulate((feature.dim for feature in self.features), initial=0)
        return {
            start: feature.modulo
            for start, feature in zip(starts, self.features, strict=False)
            if feature.modulo is not None
        }

    @property
    def accepts_missing(self) -> bool:
        """Whether some value may be missing (NaN): the model then has a rule for it."""
        return self.missing or any(feature.kind == "jagged" for feature in self.features)


KNOWN_FIELDS = {
    *("name", "model", "labels", "description", "options", "timestamp", "tags", "features", "missing", "serving"),
    *("metrics", "lineage", "op", "img_channels", "img_resize"),
    *("input_node", "inputNode", "input_name", "inputName"),
    *("output_node", "outputNode", "output_name", "outputName"),
}


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def parse_manifest(data: bytes | str) -> Manifest:
    """The manifest in a params.json; raises InvalidBundle that names the field at fault."""
    try:
        fields = json.loads(data, parse_constant=_no_json)
        text = json.dumps(fields, ensure_ascii=False, allow_nan=False).encode()  # fails on half a surrogate pair
    except (UnicodeError, ValueError, RecursionError) as error:
        raise InvalidBundle(f"params.json is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise InvalidBundle(f"params.json holds a {type(fields).__name__}: expected an object")
    if len(fields) > MAX_FIELDS:
        raise InvalidBundle(f"params.json has {len(fields)} fields: expected at most {MAX_FIELDS}")
    if b"\\u0000" in text:
        raise InvalidBundle("params.json holds NUL characters: expected text without them")
    # The original's clients write null for what they don't set.
    fields = {key: value for key, value in fields.items() if value is not None}
    try:
        return Manifest.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise InvalidBundle(f"params.json: {where + ': ' if where else ''}{reason}") from error
