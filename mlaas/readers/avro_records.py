"""Decoding Avro records to Arrow columns by a program in AwkwardForth, without a step in Python for each event.

The encoding is that of "Binary encoding" in the Avro specification.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlaas.errors import DataError

# Avro type → numpy type, and how AwkwardForth reads it from the stream.
_NUMBERS = {
    "boolean": ("bool", "?->"),
    "int": ("int32", "zigzag->"),
    "long": ("int64", "zigzag->"),
    "float": ("float32", "f->"),
    "double": ("float64", "d->"),
}
_SKIPS = {
    "null": "",
    "boolean": "1 stream skip",
    "int": "stream zigzag-> stack drop",
    "long": "stream zigzag-> stack drop",
    "float": "4 stream skip",
    "double": "8 stream skip",
    "bytes": "stream zigzag-> stack stream skip",
    "string": "stream zigzag-> stack stream skip",
    "enum": "stream zigzag-> stack drop",
}
# Arrays and maps come in runs: a count, negative where a size in bytes follows, and 0 at the end. Leaves the total.
_RUNS = """0 begin stream zigzag-> stack dup while
dup 0 < if negate stream zigzag-> stack drop then
dup 0 do {item} loop + repeat drop"""


class LargeInteger(ValueError):
    """An integer of 2⁶² or more, which AwkwardForth does not read."""


@dataclass
class _Node:
    """A type of the schema, as far as it becomes a column.

    Attributes:
        code: Decodes one value. missing: writes one that is not there.
        output: Numbers, or offsets of a list; empty where there is neither.
        valid: Which numbers are there; empty where all are.
        parts: Item of a list, or fields of a record.
    """

    code: str
    missing: str = ""
    output: str = ""
    valid: str = ""
    parts: dict[str, "_Node"] = field(default_factory=dict)


class RecordDecoder:
    """Decodes some fields of records, and skips the others.

    Args:
        schema: Of the records, as fastavro gives it.
        wanted: Names of the fields.

    Raises:
        DataError: A type holds itself.
    """

    def __init__(self, schema: dict[str, Any], wanted: Sequence[str]) -> None:
        self._named: dict[str, Any] = {}
        self._within: list[str] = []
        self._head = ["input stream"]
        self._columns: dict[str, _Node] = {}
        body = []
        for one in schema["fields"]:
            if one["name"] in wanted:
                self._columns[one["name"]] = self._node(one["type"], False)
                body.append(self._columns[one["name"]].code)
            else:
                body.append(self._skip(one["type"]))
        self._program = "\n".join([*self._head, "0 do", *body, "loop"])

    def decode(self, data: bytes, count: int) -> Any:
        """Arrow table of ``count`` records that ``data`` consists of.

        Raises:
            LargeInteger: One cannot be decoded here.
            ValueError: The data are no such records.
        """
        import pyarrow as pa
        from awkward.forth import ForthMachine64

        # Declarations come first in a program; the loop takes the count from the stack.
        machine = ForthMachine64(self._program)
        machine.begin({"stream": np.frombuffer(data, dtype=np.uint8)})
        machine.stack_push(count)
        try:
            machine.resume()
        except ValueError as error:
            if "varint too big" in str(error):
                raise LargeInteger(str(error)) from error
            raise
        if (end := machine.input_position("stream")) != len(data):
            raise ValueError(f"{count} records take {end} bytes; expected {len(data)}")
        return pa.table({name: _column(node, machine, count) for name, node in self._columns.items()})

    def _output(self, dtype: str) -> str:
        name = f"output{len(self._head)}"
        self._head.append(f"output {name} {dtype}")
        return name

    def _node(self, schema: Any, optional: bool) -> _Node:
        """Code and outputs of a type; of an ``optional`` one it is noted which values are there."""
        schema = self._resolved(schema)
        kind = _kind(schema)
        if isinstance(schema, dict) and "logicalType" in schema:
            return _Node(self._skip(schema))
        if kind in _NUMBERS:
            dtype, parser = _NUMBERS[kind]
            output, valid = self._output(dtype), self._output("bool") if optional else ""
            there = f" 1 {valid} <- stack" if valid else ""
            return _Node(f"stream {parser} {output}{there}", f"0 {output} <- stack 0 {valid} <- stack", output, valid)
        if kind == "array":
            output, item = self._output("int64"), self._node(schema["items"], False)
            self._head.append(f"0 {output} <- stack")
            code = _RUNS.format(item=item.code) + f" {output} +<- stack"
            return _Node(code, f"0 {output} +<- stack", output, parts={"item": item})
        if kind == "record":
            self._enter(schema)
            parts = {one["name"]: self._node(one["type"], optional) for one in schema["fields"]}
            self._within.pop()
            code, missing = (" ".join(getattr(one, what) for one in parts.values()) for what in ("code", "missing"))
            return _Node(code, missing, parts=parts)
        if kind == "optional":
            null = schema.index("null")
            value = self._node(schema[1 - null], True)
            value.code = f"stream zigzag-> stack {null} = if {value.missing} else {value.code} then"
            return value
        return _Node(self._skip(schema))

    def _skip(self, schema: Any) -> str:
        """Code that goes over one value."""
        schema = self._resolved(schema)
        if isinstance(schema, list):
            cases = [f"dup {number} = if {self._skip(one)} then" for number, one in enumerate(schema)]
            return " ".join(["stream zigzag-> stack", *cases, "drop"])
        kind = _kind(schema)
        if kind == "fixed":
            return f"{schema['size']} stream skip"
        if kind == "array":
            return _RUNS.format(item=self._skip(schema["items"])) + " drop"
        if kind == "map":
            return _RUNS.format(item=f"{_SKIPS['string']} {self._skip(schema['values'])}") + " drop"
        if kind == "record":
            self._enter(schema)
            code = " ".join(self._skip(one["type"]) for one in schema["fields"])
            self._within.pop()
            return code
        return _SKIPS[kind]

    def _resolved(self, schema: Any) -> Any:
        """``schema`` without wrappings, and the definition where it is the name of a type."""
        if isinstance(schema, dict) and not isinstance(schema["type"], str):
            return self._resolved(schema["type"])
        if isinstance(schema, dict) and "name" in schema:
            self._named[schema["name"]] = schema
        return self._named.get(schema, schema) if isinstance(schema, str) else schema

    def _enter(self, schema: dict[str, Any]) -> None:
        if schema["name"] in self._within:
            raise DataError(f"the type {schema['name']} holds itself, which is not supported")
        self._within.append(schema["name"])


def _kind(schema: Any) -> str:
    """Name of a type; ``optional`` is a union of null and one other, ``union`` any other."""
    if isinstance(schema, list):
        return "optional" if len(schema) == 2 and "null" in schema else "union"
    return str(schema["type"] if isinstance(schema, dict) else schema)


def _column(node: _Node, machine: Any, count: int) -> Any:
    """Arrow array of ``count`` values of a type."""
    import pyarrow as pa

    if "item" in node.parts and node.output:
        offsets = np.asarray(machine.output(node.output))
        item = _column(node.parts["item"], machine, int(offsets[-1]))
        return pa.LargeListArray.from_arrays(pa.array(offsets), item)
    if node.parts:
        columns = [_column(one, machine, count) for one in node.parts.values()]
        return pa.StructArray.from_arrays(columns, list(node.parts))
    if not node.output:
        return pa.nulls(count, pa.string())
    mask = ~np.asarray(machine.output(node.valid)) if node.valid else None
    return pa.array(np.asarray(machine.output(node.output)), mask=mask)
