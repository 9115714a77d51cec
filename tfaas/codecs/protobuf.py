"""`tfaaspb.Row` → `tfaaspb.Predictions`."""

from collections.abc import Sequence

import numpy as np
from google.protobuf.message import DecodeError

from tfaas.codecs.row import Row
from tfaas.codecs.tfaas_pb2 import Class, Predictions
from tfaas.codecs.tfaas_pb2 import Row as RowMessage
from tfaas.errors import InvalidRequest
from tfaas.runtimes import FloatArray


def decode(body: bytes) -> Row:
    """A row from its ProtoBuffer; raises InvalidRequest when it is malformed."""
    try:
        message = RowMessage.FromString(body)
    except DecodeError as error:
        raise InvalidRequest(f"the body is no ProtoBuffer message: {error}; expected a tfaaspb.Row") from error
    return Row(message.model, message.key, np.array(message.value, dtype=np.float32))


def encode(outputs: FloatArray, labels: Sequence[str]) -> bytes:
    """A class for each output, with its label where the model has one."""
    named = [*labels[: len(outputs)], *[""] * (len(outputs) - len(labels))]
    return Predictions(
        prediction=[
            Class(label=label, probability=probability)
            for label, probability in zip(named, outputs.tolist(), strict=True)
        ]
    ).SerializeToString()
