"""A bundle of a gigabyte goes in and out in bounded memory."""

import hashlib
import os
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx

from benchmarks.questions import sum_onnx
from benchmarks.servers import running_tfaas
from benchmarks.table import Row

MEBIBYTE = 1024**2
GROWTH = 200 * MEBIBYTE
SECONDS = 900


def large_bundle(megabytes: int) -> Iterator[Row]:
    """Upload and download of a model with so much beside it that doesn't compress."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        archive = _archive(Path(folder), megabytes)
        with running_tfaas() as url:
            before = _peak(url)
            answer = httpx.post(f"{url}/upload", content=_blocks(archive), timeout=SECONDS).raise_for_status().json()
            digest = hashlib.sha256()
            with httpx.stream("GET", f"{url}/models/large/versions/1/bundle", timeout=SECONDS) as download:
                for block in download.iter_bytes():
                    digest.update(block)
            if digest.hexdigest() != answer["digest"]:
                raise RuntimeError("the bundle that came out is not the one that went in")
            grown = _peak(url) - before
    yield Row(f"a bundle of {megabytes} MB, memory", f"{grown / 1e6:.0f} MB more", f"{GROWTH / 1e6:.0f} MB",
              grown / GROWTH, 1, most=True)  # fmt: skip


def _archive(folder: Path, megabytes: int) -> Path:
    model, ballast, archive = folder / "m.onnx", folder / "ballast", folder / "large.tar"
    model.write_bytes(sum_onnx(1))
    with ballast.open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(MEBIBYTE))
    with tarfile.open(archive, "w") as tar:
        for path in (model, ballast):
            tar.add(path, f"large/{path.name}")
    ballast.unlink()
    return archive


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(MEBIBYTE):
            yield block


def _peak(url: str) -> int:
    """Bytes that the server has had resident at most."""
    process = int(httpx.get(f"{url}/status").raise_for_status().json()["process"]["pid"])
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
