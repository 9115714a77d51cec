"""Scores in a file: one class a format, and one table that names them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

# Of the TTree or RNTuple that holds the scores.
TREE = "scores"

Columns = Mapping[str, NDArray[np.generic]]
Dtypes = Mapping[str, np.dtype[np.generic]]


class Writer(Protocol):
    """A file in the making; all that is raised for a disk that is full is an OSError.

    Args:
        path: Where to write.
        dtypes: Name of each column → dtype of its numbers.
        about: A line on where the scores come from, which the file keeps.
    """

    def __init__(self, path: Path, dtypes: Dtypes, about: str) -> None: ...

    def write(self, columns: Columns) -> None:
        """Add events, each column (n,)."""
        ...

    def close(self) -> None: ...


class _RootWriter:
    """A ROOT file with one table."""

    def __init__(self, path: Path, dtypes: Dtypes, about: str) -> None:
        import uproot

        self._file = uproot.recreate(path, compression=uproot.ZLIB(1))
        try:
            self._table = self._make(self._file, dtypes, about)
        except BaseException:
            self._file.close()
            raise

    def _make(self, file: Any, dtypes: Dtypes, about: str) -> Any:
        raise NotImplementedError

    def write(self, columns: Columns) -> None:
        self._table.extend(dict(columns))

    def close(self) -> None:
        self._file.close()


class TTreeWriter(_RootWriter):
    """A TTree, which ``AddFriend`` takes."""

    def _make(self, file: Any, dtypes: Dtypes, about: str) -> Any:
        return file.mktree(TREE, dict(dtypes), title=about)


class RNTupleWriter(_RootWriter):
    """An RNTuple."""

    def _make(self, file: Any, dtypes: Dtypes, about: str) -> Any:
        return file.mkrntuple(TREE, {name: np.empty(0, dtype) for name, dtype in dtypes.items()}, description=about)


class ParquetWriter:
    """A Parquet file."""

    def __init__(self, path: Path, dtypes: Dtypes, about: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        fields = [pa.field(name, pa.from_numpy_dtype(dtype), nullable=False) for name, dtype in dtypes.items()]
        self._schema = pa.schema(fields, {"mlaas.scores": about})
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")

    def write(self, columns: Columns) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.table([pa.array(columns[name]) for name in self._schema.names], self._schema))

    def close(self) -> None:
        self._writer.close()


WRITERS: dict[str, type[Writer]] = {"ttree": TTreeWriter, "rntuple": RNTupleWriter, "parquet": ParquetWriter}
SUFFIXES: dict[str, str] = {"ttree": ".root", "rntuple": ".root", "parquet": ".parquet"}
