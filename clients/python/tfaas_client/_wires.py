"""The formats that carry an event to the server and its prediction back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import httpx

from ._requests import Row, json_body, proto_body
from ._responses import Prediction, json_prediction, proto_prediction

Wire = Literal["json", "proto"]


@dataclass(frozen=True)
class WireFormat:
    path: str
    content_type: str
    encode: Callable[[str, Row], bytes]
    decode: Callable[[httpx.Response], Prediction]


WIRES: dict[Wire, WireFormat] = {
    "json": WireFormat("/json", "application/json", json_body, json_prediction),
    "proto": WireFormat("/proto", "application/x-protobuf", proto_body, proto_prediction),
}
