"""Files in, arrays out: one module a format, and one table that names them."""

from contextlib import suppress

from mlaas.errors import DataError, listing
from mlaas.readers.avro import AvroReader
from mlaas.readers.base import Branch, FileReader, Reader
from mlaas.readers.csv import CsvReader
from mlaas.readers.json import JsonReader
from mlaas.readers.locations import basename, is_remote, places_of, suffix
from mlaas.readers.parquet import ParquetReader
from mlaas.readers.replicas import ReplicaReader
from mlaas.readers.root import RootReader

__all__ = ["READERS", "SUFFIXES", "Branch", "Reader", "basename", "list_trees", "open_reader"]

READERS: dict[str, type[FileReader]] = {
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
        path: Local path or URL, or several with ``|`` between them where the same file is; CSV, JSON and Avro
            may be compressed.
        tree: Name of the tree; None takes the only one that the file has. Formats without trees ignore it.
        dtype: Format of the file, one of ``READERS``; None goes by the suffix.

    Raises:
        DataError: Unknown format; the file or the tree is missing, damaged or out of reach.
    """
    places = places_of(path)
    if len(places) == 1 and not is_remote(places[0]):
        return _reader_class(path, dtype)(places[0], tree)
    return ReplicaReader(path, places, lambda place: _reader_class(place, dtype)(place, tree))


def list_trees(path: str, dtype: str | None = None) -> dict[str, int]:
    """Name of every tree in a file → its number of events; see :meth:`mlaas.readers.base.FileReader.trees`.

    Args:
        path, dtype: See :func:`open_reader`; of several replicas the first that can be read is.
    """
    *others, last = places_of(path)
    for place in others:
        with suppress(DataError):
            return _reader_class(place, dtype).trees(place)
    return _reader_class(last, dtype).trees(last)


def _reader_class(path: str, dtype: str | None) -> type[FileReader]:
    """What reads files of the format ``dtype``, or of that which the suffix of ``path`` tells."""
    name = dtype.lower() if dtype else SUFFIXES.get(suffix(path))
    if name is None:
        raise DataError(f"{path}: the format is not known by its suffix; expected {listing(SUFFIXES)}")
    if name not in READERS:
        raise DataError(f"{path}: unknown format {dtype!r}; expected one of {listing(READERS)}")
    return READERS[name]
