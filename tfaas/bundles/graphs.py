"""TensorFlow graphs are programs: those that touch files or run Python are not served."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfaas.errors import InvalidBundle

# What TensorFlow itself puts into a SavedModel to restore its variables and tables is not among them.
REFUSED = (
    *("ReadFile", "WriteFile", "MatchingFiles", "WholeFileReader", "TextLineReader", "TFRecordReader"),
    *("FixedLengthRecordReader", "LMDBReader", "IdentityReader", "TFRecordDataset", "TextLineDataset"),
    *("FixedLengthRecordDataset", "CSVDataset", "LMDBDataset", "SqlDataset", "SaveDataset", "LoadDataset"),
    *("SnapshotDataset", "CacheDataset", "PyFunc", "EagerPyFunc", "Print", "DebugIdentity", "DebugNumericSummary"),
    *("CreateSummaryFileWriter", "RemoteCall"),
)


def refuse_file_operations(path: Path) -> None:
    """Raise InvalidBundle where a SavedModel or a frozen graph reads or writes files, or runs Python.

    All nodes count, also those in functions that are called by others.
    """
    for operation in _operations(path):
        if operation.startswith(REFUSED):
            raise InvalidBundle(
                f"the graph uses the operation {operation!r}: expected none that touches files or runs Python"
            )


def _operations(path: Path) -> Iterator[str]:
    from google.protobuf.message import DecodeError
    from tensorflow.core.framework.graph_pb2 import GraphDef
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved = path.name == "saved_model.pb"
    message: Any = SavedModel() if saved else GraphDef()
    try:
        message.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise InvalidBundle(f"{path.name!r} is no {'SavedModel' if saved else 'frozen graph'}: {error}") from error
    for graph in [meta.graph_def for meta in message.meta_graphs] if saved else [message]:
        for node in graph.node:
            yield node.op
        for function in graph.library.function:
            for node in function.node_def:
                yield node.op
