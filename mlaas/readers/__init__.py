"""Files in, arrays out: one module a format, and one table that names them."""

from mlaas.errors import DataError, listing
from mlaas.readers.avro import AvroReader
from mlaas.readers.base import Branch, Reader
from mlaas.readers.csv import CsvReader
from mlaas.readers.json import JsonReader
from mlaas.readers.locations import basename, suffix
from mlaas.readers.parquet import ParquetReader
from mlaas.readers.root import RootReader

__all__ = ["READERS", "SUFFIXES", "Branch", "Reader", "basename", "open_reader"]

READERS: dict[str, type[Reader]] = {
    "root": RootReader,
    "csv": CsvReader,
    "json": JsonReader,
    "parquet": ParquetReader,
    "avro": AvroReader,
}
SUFFIXES: dict[str, str] = {
    ".root": "root",
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
    ".avro": "avro",
}


def open_reader(path: str, tree: str | None = None, dtype: str | None = None) -> Reader:
    """Open a file for reading in chunks.

    Args:
        path: Local path or URL; CSV, JSON and Avro may be compressed.
        tree: Name of the tree; None takes the only one that the file has. Formats without trees ignore it.
        dtype: Format of the file, one of ``READERS``; None goes by the suffix.

    Raises:
        DataError: Unknown format; the file or the tree is missing, damaged or out of reach.
    """
    return _reader_class(path, dtype)(path, tree)


def _reader_class(path: str, dtype: str | None) -> type[Reader]:
    """What reads files of the format ``dtype``, or of that which the suffix of ``path`` tells."""
    name = dtype.lower() if dtype else SUFFIXES.get(suffix(path))
    if name is None:
        raise DataError(f"{path}: the format is not known by its suffix; expected {listing(SUFFIXES)}")
    if name not in READERS:
        raise DataError(f"{path}: unknown format {dtype!r}; expected one of {listing(READERS)}")
    return READERS[name]
