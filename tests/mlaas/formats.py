"""The content of a sample in every format that is not ROOT."""

import bz2
import csv
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.mlaas.samples import Sample


def zstandard(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard,
}


def rows(sample: Sample) -> list[dict[str, Any]]:
    """An object for each event."""
    return [
        {name: values[event].item() for name, values in sample.flat.items()}
        | {name: lists[event].tolist() for name, lists in sample.jagged.items()}
        for event in range(sample.entries)
    ]


def write_csv(sample: Sample, path: Path) -> None:
    """Write the flat branches, for a CSV file has no lists."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(sample.flat)
        writer.writerows(zip(*(values.tolist() for values in sample.flat.values()), strict=True))


def write_json(sample: Sample, path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(sample)))


def write_parquet(sample: Sample, path: Path) -> None:
    columns: dict[str, Any] = {name: pa.array(values) for name, values in sample.flat.items()}
    columns |= {
        name: pa.array([one.tolist() for one in lists], pa.list_(pa.from_numpy_dtype(lists[0].dtype)))
        for name, lists in sample.jagged.items()
    }
    pq.write_table(pa.table(columns), path, row_group_size=max(1, sample.entries // 3))


def write_avro(sample: Sample, path: Path) -> None:
    kinds = {"b": "boolean", "i": "long", "u": "long"}
    fields: list[dict[str, Any]] = [
        {"name": name, "type": kinds.get(values.dtype.kind, "double")} for name, values in sample.flat.items()
    ]
    fields += [
        {"name": name, "type": {"type": "array", "items": kinds.get(lists[0].dtype.kind, "double")}}
        for name, lists in sample.jagged.items()
    ]
    schema = fastavro.parse_schema({"type": "record", "name": "event", "fields": fields})
    with path.open("wb") as stream:
        fastavro.writer(stream, schema, rows(sample), codec="deflate", sync_interval=4000)


WRITERS: dict[str, Callable[[Sample, Path], None]] = {
    ".csv": write_csv,
    ".json": write_json,
    ".parquet": write_parquet,
    ".avro": write_avro,
}


def without_huge_integers(sample: Sample) -> Sample:
    """``sample`` with uint64 that fit in int64, which Avro and JSON have."""
    sample.flat["i_uint64"] = sample.flat["i_uint64"] // np.uint64(2)
    return sample
