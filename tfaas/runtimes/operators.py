"""The operators of an ONNX file, found without reading its weights."""

import mmap
from collections.abc import Iterator
from pathlib import Path

# Fields of onnx.proto3: ModelProto.graph and .functions, GraphProto.node, FunctionProto.node, NodeProto.op_type.
GRAPH, FUNCTIONS = 7, 25
NODES = {GRAPH: 1, FUNCTIONS: 7}
OP_TYPE = 4
# How a field is written: the type of its number, and how many bytes follow.
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5

Field = tuple[int, int, int]


def operators(path: Path) -> set[str]:
    """Names of the operators in the graph and the functions of a model; not of those in `If`, `Loop` and the like.

    Raises:
        ValueError: this is no ONNX file.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return {
            content[begin:end].decode()
            for part, *bounds in _fields(content, 0, len(content))
            if part in NODES
            for kind, *node in _fields(content, *bounds)
            if kind == NODES[part]
            for what, begin, end in _fields(content, *node)
            if what == OP_TYPE
        }


def _fields(content: mmap.mmap, position: int, stop: int) -> Iterator[Field]:
    """Number, begin and end of each field of a message that is not a plain number."""
    while position < stop:
        tag, position = _varint(content, position)
        kind = tag & 7
        if kind == VARINT:
            _, position = _varint(content, position)
        elif kind == LENGTH:
            size, position = _varint(content, position)
            yield tag >> 3, position, position + size
            position += size
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            position += 8 if kind == EIGHT_BYTES else 4
        else:
            raise ValueError(f"a field of an unknown kind at byte {position}")
    if position > stop:
        raise ValueError(f"a field goes on beyond byte {stop}")


def _varint(content: mmap.mmap, position: int) -> tuple[int, int]:
    """A number, and where the next one begins."""
    number = shift = 0
    while True:
        if position >= len(content) or shift > 63:
            raise ValueError(f"a number without end at byte {position}")
        byte = content[position]
        number |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return number, position
        shift += 7
