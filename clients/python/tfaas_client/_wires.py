"""The formats that carry an event to the server and its prediction back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import httpx

from ._exceptions import InputError
from ._requests import Request, Row, json_body, proto_body
from ._responses import Prediction, json_prediction, proto_prediction

Wire = Literal["json", "proto"]


@dataclass(frozen=True)
class WireFormat:
    path: str
    content_type: str
    encode: Callable[[str, Row], bytes]
    decode: Callable[[httpx.Response], Prediction]

    def request(self, model: str, event: Row) -> Request:
        """Asks about one event; raises InputError where a value cannot be sent."""
        return Request("POST", self.path, content=self.encode(model, event), content_type=self.content_type)


WIRES: dict[Wire, WireFormat] = {
    "json": WireFormat("/json", "application/json", json_body, json_prediction),
    "proto": WireFormat("/proto", "application/x-protobuf", proto_body, proto_prediction),
}


def find_wire(name: str) -> WireFormat:
    """Returns the format of that name; raises InputError that lists those there are."""
    for wire, form in WIRES.items():
        if wire == name:
            return form
    raise InputError(f"there is no wire {name!r}, only {', '.join(WIRES)}")
