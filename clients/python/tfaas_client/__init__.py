"""Client of the TFaaS inference server.

from tfaas_client import Client

with Client("http://localhost:8083") as client:
    probabilities = client.predict("signal", {"met": 41.5, "jet_pt": [80.2, 35.1]})
"""

from ._async_client import AsyncClient, AsyncModel
from ._client import Client, Model
from ._description import Description, Feature
from ._exceptions import (
    ClientError,
    ConnectionError,
    InputError,
    MalformedResponseError,
    OverloadedError,
    ResponseError,
    ServerError,
    TFaaSError,
    TimeoutError,
    TransportError,
)
from ._requests import Row
from ._responses import Prediction, UploadedVersion
from ._wires import Wire

__all__ = [
    "AsyncClient",
    "AsyncModel",
    "Client",
    "ClientError",
    "ConnectionError",
    "Description",
    "Feature",
    "InputError",
    "MalformedResponseError",
    "Model",
    "OverloadedError",
    "Prediction",
    "ResponseError",
    "Row",
    "ServerError",
    "TFaaSError",
    "TimeoutError",
    "TransportError",
    "UploadedVersion",
    "Wire",
]
