"""`{"keys": [...], "values": [...], "model": "..."}` → `[0.086]`; lists of them for several events."""

from collections.abc import Mapping, Sequence

import msgspec
import orjson

from tfaas.codecs.row import Row
from tfaas.errors import InvalidRequest
from tfaas.runtimes import FloatArray

Number = int | float | bool | None  # integers with all their digits
Cell = Number | list[Number]

EXPECTED = '{"keys": [..], "values": [..], "model": ".."}'


class _Body(msgspec.Struct):
    values: list[Number | list[Cell]] | msgspec.UnsetType = msgspec.UNSET
    keys: list[str] | None = None
    model: str | None = None
    columns: dict[str, list[Cell]] | None = None


_decoder = msgspec.json.Decoder(_Body)


def decode(body: bytes) -> Row:
    """A request from its JSON; raises InvalidRequest that says where it is malformed."""
    try:
        request = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not the JSON of a row: {error}; expected {EXPECTED}") from error
    if request.columns is None:
        if isinstance(request.values, msgspec.UnsetType):
            raise InvalidRequest(
                f"the body is not the JSON of a row: missing required field `values`; expected {EXPECTED}"
            )
        return Row(request.model or "", request.keys or (), request.values)
    if not isinstance(request.values, msgspec.UnsetType) or request.keys is not None:
        raise InvalidRequest("the body has 'columns' besides 'keys' or 'values': expected the one or the other")
    return Row(request.model or "", (), (), request.columns)


def encode(outputs: FloatArray, labels: Sequence[str]) -> bytes:
    """The shortest numbers that are these float32; NaN and infinities, which JSON lacks, become null."""
    return orjson.dumps(outputs, option=orjson.OPT_SERIALIZE_NUMPY)


def encode_named(outputs: Mapping[str, FloatArray], several: bool = True) -> bytes:
    """`{"output": [0.086]}`, or lists of such lists for several events."""
    shown = outputs if several else {name: output[0] for name, output in outputs.items()}
    return orjson.dumps(shown, option=orjson.OPT_SERIALIZE_NUMPY)
