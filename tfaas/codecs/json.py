"""`{"keys": [...], "values": [...], "model": "..."}` → `[0.086]`."""

from collections.abc import Sequence

import msgspec
import orjson

from tfaas.codecs.row import Row
from tfaas.errors import InvalidRequest
from tfaas.runtimes import FloatArray


class _Body(msgspec.Struct):
    values: list[float | bool | list[float | bool | None] | None]
    keys: list[str] | None = None
    model: str | None = None


_decoder = msgspec.json.Decoder(_Body)


def decode(body: bytes) -> Row:
    """A row from its JSON; raises InvalidRequest that says where it is malformed."""
    try:
        request = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(
            f'the body is not the JSON of a row: {error}; expected {{"keys": [..], "values": [..], "model": ".."}}'
        ) from error
    return Row(request.model or "", request.keys or (), request.values)


def encode(outputs: FloatArray, labels: Sequence[str]) -> bytes:
    """The shortest numbers that are these float32; NaN and infinities, which JSON lacks, become null."""
    return orjson.dumps(outputs, option=orjson.OPT_SERIALIZE_NUMPY)
