"""Bytes ⇄ events. A codec decodes a request and encodes the answer to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tfaas.codecs import json, protobuf
from tfaas.codecs.row import Row
from tfaas.runtimes import FloatArray

__all__ = ["CODECS", "Codec", "Row"]


@dataclass(frozen=True, slots=True)
class Codec:
    """`decode` raises InvalidRequest; `encode` takes the outputs of one event and the model's labels."""

    decode: Callable[[bytes], Row]
    encode: Callable[[FloatArray, Sequence[str]], bytes]
    content_type: bytes


CODECS: dict[str, Codec] = {
    "json": Codec(json.decode, json.encode, b"application/json"),
    "proto": Codec(protobuf.decode, protobuf.encode, b"application/octet-stream"),
}
