from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Row(_message.Message):
    __slots__ = ("key", "value", "model")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    key: _containers.RepeatedScalarFieldContainer[str]
    value: _containers.RepeatedScalarFieldContainer[float]
    model: str
    def __init__(self, key: _Optional[_Iterable[str]] = ..., value: _Optional[_Iterable[float]] = ..., model: _Optional[str] = ...) -> None: ...

class DataFrame(_message.Message):
    __slots__ = ("row",)
    ROW_FIELD_NUMBER: _ClassVar[int]
    row: _containers.RepeatedCompositeFieldContainer[Row]
    def __init__(self, row: _Optional[_Iterable[_Union[Row, _Mapping]]] = ...) -> None: ...

class Class(_message.Message):
    __slots__ = ("label", "probability")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    label: str
    probability: float
    def __init__(self, label: _Optional[str] = ..., probability: _Optional[float] = ...) -> None: ...

class Predictions(_message.Message):
    __slots__ = ("prediction",)
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    prediction: _containers.RepeatedCompositeFieldContainer[Class]
    def __init__(self, prediction: _Optional[_Iterable[_Union[Class, _Mapping]]] = ...) -> None: ...

class Detector(_message.Message):
    __slots__ = ("name", "x", "y", "z")
    NAME_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    Z_FIELD_NUMBER: _ClassVar[int]
    name: str
    x: _containers.RepeatedScalarFieldContainer[float]
    y: _containers.RepeatedScalarFieldContainer[float]
    z: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, name: _Optional[str] = ..., x: _Optional[_Iterable[float]] = ..., y: _Optional[_Iterable[float]] = ..., z: _Optional[_Iterable[float]] = ...) -> None: ...

class Hits(_message.Message):
    __slots__ = ("det",)
    DET_FIELD_NUMBER: _ClassVar[int]
    det: _containers.RepeatedCompositeFieldContainer[Detector]
    def __init__(self, det: _Optional[_Iterable[_Union[Detector, _Mapping]]] = ...) -> None: ...

class Output(_message.Message):
    __slots__ = ("name", "width", "value", "label")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    name: str
    width: int
    value: _containers.RepeatedScalarFieldContainer[float]
    label: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., width: _Optional[int] = ..., value: _Optional[_Iterable[float]] = ..., label: _Optional[_Iterable[str]] = ...) -> None: ...

class Outputs(_message.Message):
    __slots__ = ("output",)
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    output: _containers.RepeatedCompositeFieldContainer[Output]
    def __init__(self, output: _Optional[_Iterable[_Union[Output, _Mapping]]] = ...) -> None: ...
