"""Many events in one request, in the formats that analyses hold them in."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import prod
from tokenize import TokenError
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from tfaas.codecs import json, protobuf
from tfaas.codecs.row import Row
from tfaas.codecs.tfaas_pb2 import DataFrame
from tfaas.engine.table import Column, Jagged, Table, to_floats
from tfaas.errors import InvalidRequest
from tfaas.runtimes import FloatArray

# Numbers that a compressed format may unfold to.
MAX_NUMBERS = 2**26
MAX_UNFOLDED_BYTES = 2**30

# Rows of a DataFrame, each of which becomes an object or two.
MAX_ROWS = 100_000
ROW_FIELD = 0x0A
ARROW_FILE_HEAD = 8
MESSAGE_HEADER, DICTIONARY_DATA, BATCH_COMPRESSION = 2, 1, 3

Answers = Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True)
class Options:
    """What the query says besides the body; `model` is empty where it names none."""

    model: str = ""
    keys: Sequence[str] = ()
    shape: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class TableCodec:
    """One format.

    Attributes:
        decode: body and options → the model's name, empty for the default one, and the events; raises InvalidRequest.
        encode: the output that clients get who ask for none, as (n, numbers), and the model's labels → body.
        encode_named: all outputs that were asked for; None where the format holds no more than one array.
    """

    content_type: str
    decode: Callable[[bytes, Options], tuple[str, Table]]
    encode: Callable[[str, FloatArray, Sequence[str]], bytes]
    encode_named: Callable[[Answers], bytes] | None = field(default=None)


def json_table(row: Row) -> Table:
    """The events of a JSON request that holds several."""
    return Table(columns=row.columns) if row.columns is not None else Table(row.values, row.keys)


def _decode_json(body: bytes, options: Options) -> tuple[str, Table]:
    row = json.decode(body)
    if row.columns is None and not all(isinstance(value, list) for value in row.values):
        row = Row(row.model, row.keys, [row.values])
    return row.model or options.model, json_table(row)


def _encode_json(name: str, output: FloatArray, labels: Sequence[str]) -> bytes:
    return json.encode(output, labels)


def _decode_data_frame(body: bytes, options: Options) -> tuple[str, Table]:
    try:
        _check_rows(body)
        message = DataFrame.FromString(body)
    except DecodeError as error:
        raise InvalidRequest(f"the body is no ProtoBuffer message: {error}; expected a tfaaspb.DataFrame") from error
    models = {row.model for row in message.row if row.model}
    if len(models) > 1:
        raise InvalidRequest(f"the rows name the models {', '.join(sorted(models))}: expected one for all of them")
    rows = [(tuple(row.key), row.value) for row in message.row]
    return models.pop() if models else options.model, _table_of_rows(rows)


def _check_rows(body: bytes) -> None:
    """Count the rows before they are made: each begins with its field's number and its length."""
    position = count = 0
    while position < len(body):
        if body[position] != ROW_FIELD:
            raise InvalidRequest("the body is no ProtoBuffer message of rows: expected a tfaaspb.DataFrame")
        length, shift, position = 0, 0, position + 1
        while position < len(body):
            length |= (body[position] & 0x7F) << shift
            position, shift = position + 1, shift + 7
            if not body[position - 1] & 0x80:
                break
        position += length
        count += 1
        if count > MAX_ROWS:
            raise InvalidRequest(f"the DataFrame has more than {MAX_ROWS} rows: expected less, or another format")


def _table_of_rows(rows: Sequence[tuple[tuple[str, ...], Sequence[float]]]) -> Table:
    keys = rows[0][0] if rows else ()
    alike = len({len(values) for _, values in rows}) == 1 and all(names == keys for names, _ in rows)
    if alike and len(set(keys)) == len(keys):
        numbers = np.fromiter(chain.from_iterable(values for _, values in rows), np.float32)
        return Table(numbers.reshape(len(rows), -1), keys)
    return Table(events=[(names, np.fromiter(values, np.float32)) for names, values in rows])


def _encode_output(name: str, output: FloatArray, labels: Sequence[str]) -> bytes:
    return protobuf.encode_named({name: output}, labels=labels)


def _decode_raw(body: bytes, options: Options) -> tuple[str, Table]:
    shape = options.shape
    if len(shape) != 2 or min(shape) < 1:
        raise InvalidRequest(f"shape {','.join(map(str, shape)) or 'not given'}: expected events,values, as in 1000,27")
    if len(body) != 4 * prod(shape):
        raise InvalidRequest(
            f"the body has {len(body)} bytes: expected {4 * prod(shape)}, 4 for each float32 of {shape}"
        )
    return options.model, Table(np.frombuffer(body, "<f4").reshape(*shape), options.keys)


def _encode_raw(name: str, output: FloatArray, labels: Sequence[str]) -> bytes:
    return output.astype("<f4", copy=False).tobytes()


def _decode_npy(body: bytes, options: Options) -> tuple[str, Table]:
    try:
        array = np.lib.format.read_array(io.BytesIO(body), allow_pickle=False)
    except (ValueError, EOFError, MemoryError, OverflowError, SyntaxError, TypeError, TokenError) as error:
        raise InvalidRequest(f"the body is no .npy array of numbers: {error}") from error
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise InvalidRequest(f"the array is {array.dtype} of shape {array.shape}: expected numbers (events, values)")
    return options.model, Table(array, options.keys)


def _encode_npy(name: str, output: FloatArray, labels: Sequence[str]) -> bytes:
    target = io.BytesIO()
    np.lib.format.write_array(target, output, allow_pickle=False)
    return target.getvalue()


def _decode_arrow(body: bytes, options: Options) -> tuple[str, Table]:
    import pyarrow as pa

    try:
        # A file is a stream behind eight bytes; what its footer points at besides is not looked at.
        source = pa.py_buffer(body[ARROW_FILE_HEAD:] if body.startswith(b"ARROW1") else body)
        for message in pa.ipc.MessageReader.open_stream(pa.BufferReader(source)):
            if _is_compressed(message):
                raise InvalidRequest("the Arrow data is compressed: expected it as it is, or a compressed Parquet file")
        table = pa.ipc.open_stream(source).read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidRequest(f"the body is no Arrow IPC stream or file: {_first_line(error)}") from error
    return options.model, _arrow_table(table)


def _decode_parquet(body: bytes, options: Options) -> tuple[str, Table]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.py_buffer(body))
        about = file.metadata
        groups = [about.row_group(group) for group in range(about.num_row_groups)]
        values = sum(group.column(column).num_values for group in groups for column in range(about.num_columns))
        unfolded = sum(group.total_byte_size for group in groups)
        most = max(values, about.num_rows * about.num_columns)
        if most > MAX_NUMBERS or unfolded > MAX_UNFOLDED_BYTES:
            raise InvalidRequest(f"the file unfolds to more than {MAX_NUMBERS} numbers: expected less in one request")
        table = file.read(use_threads=False)
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidRequest(f"the body is no Parquet file: {_first_line(error)}") from error
    return options.model, _arrow_table(table)


def _is_compressed(message: Any) -> bool:
    """Whether the buffers of a record batch, or of the one in a dictionary batch, are compressed.

    Read from the message's own description: fields of Message, RecordBatch and DictionaryBatch in Arrow's format.
    """
    from flatbuffers.table import Table as FlatTable

    def field(table: Any, number: int) -> int:
        return int(table.Offset(4 + 2 * number))

    def inner(table: Any, number: int) -> Any:
        return FlatTable(table.Bytes, table.Indirect(table.Pos + field(table, number)))

    if message.type not in ("record batch", "dictionary"):
        return False
    content = message.metadata.to_pybytes()
    batch = inner(FlatTable(content, int.from_bytes(content[:4], "little")), MESSAGE_HEADER)
    if message.type == "dictionary":
        batch = inner(batch, DICTIONARY_DATA)
    return field(batch, BATCH_COMPRESSION) != 0


def _arrow_table(table: Any) -> Table:
    if len(set(table.column_names)) < len(table.column_names):
        raise InvalidRequest("two columns have one name: expected each feature once")
    if table.num_rows * max(1, table.num_columns) > MAX_NUMBERS:
        raise InvalidRequest(f"the table has more than {MAX_NUMBERS} numbers: expected less in one request")
    return Table(columns={name: _arrow_column(name, table.column(name)) for name in table.column_names})


def _arrow_column(name: str, chunks: Any) -> Column:
    import pyarrow as pa

    column = chunks.combine_chunks()
    if pa.types.is_fixed_size_list(column.type):
        column = column.cast(pa.list_(column.type.value_type))
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        # Of an event without a list, whatever lies behind it in memory must not be seen.
        offsets = np.concatenate([[0], np.cumsum(column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False))])
        return Jagged(to_floats(_arrow_numbers(name, column.flatten())), offsets.astype(np.int64))
    return _arrow_numbers(name, column)


def _arrow_numbers(name: str, array: Any) -> NDArray[Any]:
    import pyarrow as pa

    kind = array.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise InvalidRequest(f"column {name!r} holds {kind}: expected numbers or lists of numbers")
    return np.asarray(array.to_numpy(zero_copy_only=False))


def _arrow_answer(answers: Answers) -> Any:
    import pyarrow as pa

    columns = {}
    for name, output in answers.items():
        flat = pa.array(output.ravel())
        columns[name] = flat if output.shape[1] == 1 else pa.FixedSizeListArray.from_arrays(flat, output.shape[1])
    return pa.table(columns)


def _encode_arrow_named(answers: Answers) -> bytes:
    import pyarrow as pa

    table, sink = _arrow_answer(answers), io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _encode_parquet_named(answers: Answers) -> bytes:
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(_arrow_answer(answers), sink)
    return sink.getvalue()


def _one(encode: Callable[[Answers], bytes]) -> Callable[[str, FloatArray, Sequence[str]], bytes]:
    return lambda name, output, labels: encode({name: output})


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]


JSON = TableCodec("application/json", _decode_json, _encode_json, json.encode_named)
PROTOBUF = TableCodec("application/x-protobuf", _decode_data_frame, _encode_output, protobuf.encode_named)
RAW = TableCodec("application/octet-stream", _decode_raw, _encode_raw)
NPY = TableCodec("application/x-npy", _decode_npy, _encode_npy)
ARROW = TableCodec("application/vnd.apache.arrow.stream", _decode_arrow, _one(_encode_arrow_named), _encode_arrow_named)
PARQUET = TableCodec(
    "application/vnd.apache.parquet", _decode_parquet, _one(_encode_parquet_named), _encode_parquet_named
)

TABLE_CODECS: dict[str, TableCodec] = {
    **{codec.content_type: codec for codec in (JSON, PROTOBUF, RAW, NPY, ARROW, PARQUET)},
    "application/protobuf": PROTOBUF,
    "application/vnd.apache.arrow.file": ARROW,
}


def find_codec(content_type: str, what: str) -> TableCodec:
    """The codec for a content type; raises InvalidRequest that lists those there are."""
    codec = TABLE_CODECS.get(content_type.partition(";")[0].strip().lower())
    if codec is None:
        raise InvalidRequest(f"{what} {content_type[:100]!r} is not known: expected one of {', '.join(TABLE_CODECS)}")
    return codec
