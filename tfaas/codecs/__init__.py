"""Bytes ⇄ events. A codec decodes a request and encodes the answer to it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tfaas.codecs import json, protobuf
from tfaas.codecs.row import Row
from tfaas.runtimes import FloatArray

__all__ = ["CODECS", "Codec", "Row"]


@dataclass(frozen=True, slots=True)
class Codec:
    """The format of `/json` or `/proto`.

    Attributes:
        decode: body → row; raises InvalidRequest.
        encode: output of one event (numbers,), or of several (n, numbers), and the model's labels → body.
        encode_named: outputs by name, each (n, numbers), and whether several events were asked for → body.
    """

    decode: Callable[[bytes], Row]
    encode: Callable[[FloatArray, Sequence[str]], bytes]
    encode_named: Callable[[Mapping[str, FloatArray], bool], bytes]
    content_type: bytes


CODECS: dict[str, Codec] = {
    "json": Codec(json.decode, json.encode, json.encode_named, b"application/json"),
    "proto": Codec(protobuf.decode, protobuf.encode, protobuf.encode_named, b"application/octet-stream"),
}
