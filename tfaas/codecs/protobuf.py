"""`tfaaspb.Row` → `tfaaspb.Predictions`; `tfaaspb.Outputs` where outputs are asked for by name."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest

import numpy as np
from google.protobuf.message import DecodeError

from tfaas.codecs.row import Row
from tfaas.codecs.tfaas_pb2 import Output, Outputs, Predictions
from tfaas.codecs.tfaas_pb2 import Row as RowMessage
from tfaas.errors import InvalidRequest
from tfaas.runtimes import FloatArray


def decode(body: bytes) -> Row:
    """A row from its ProtoBuffer; raises InvalidRequest when it is malformed."""
    try:
        message = RowMessage.FromString(body)
    except DecodeError as error:
        raise InvalidRequest(f"the body is no ProtoBuffer message: {error}; expected a tfaaspb.Row") from error
    return Row(message.model, message.key[:], np.fromiter(message.value, np.float32, len(message.value)))


def encode(outputs: FloatArray, labels: Sequence[str]) -> bytes:
    """A class for each output, with its label where the model has one."""
    answer = Predictions()
    for label, probability in zip_longest(labels[: len(outputs)], outputs.tolist(), fillvalue=""):
        answer.prediction.add(label=label, probability=probability)
    return answer.SerializeToString()


def encode_named(outputs: Mapping[str, FloatArray], several: bool = True, labels: Sequence[str] = ()) -> bytes:
    """The numbers of each output, event by event."""
    return Outputs(
        output=[
            Output(name=name, width=output.shape[1], value=output.ravel(), label=labels[: output.shape[1]])
            for name, output in outputs.items()
        ]
    ).SerializeToString()
