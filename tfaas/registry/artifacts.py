"""Artifacts in the database, in bounded memory, and their cache on the local disk."""

import asyncio
import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import AsyncIterator, Container
from pathlib import Path

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from tfaas.errors import ArtifactCorrupted, NotFound
from tfaas.registry.database import Database
from tfaas.registry.tables import Artifact, ArtifactChunk, Chunk, Version

CHUNK_SIZE = 1024**2
ABANDONED_SECONDS = 3600


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


async def store(session: AsyncSession, path: Path, digest: str) -> None:
    """Write a file with this digest into the transaction of `session`; bytes already there are not written again."""
    if await session.get(Artifact, digest) is not None:
        return
    await session.execute(insert(Artifact).values(digest=digest, size=path.stat().st_size))
    position = 0
    while block := await asyncio.to_thread(_read_block, path, position):
        data, chunk_digest = block
        known = await session.scalar(select(func.count()).where(Chunk.digest == chunk_digest))
        if not known:
            await session.execute(insert(Chunk).values(digest=chunk_digest, data=data))
        await session.execute(
            insert(ArtifactChunk).values(artifact_digest=digest, position=position, chunk_digest=chunk_digest)
        )
        position += 1


async def stream(database: Database, digest: str) -> AsyncIterator[bytes]:
    """The bytes of an artifact, verified block by block; raises NotFound and ArtifactCorrupted."""
    async with database.read() as session:
        if await session.get(Artifact, digest) is None:
            raise NotFound(f"artifact {digest} is not in the registry")
        whole, position = hashlib.sha256(), 0
        query = select(ArtifactChunk.chunk_digest, Chunk.data).join(Chunk, Chunk.digest == ArtifactChunk.chunk_digest)
        while True:
            row = (
                await session.execute(
                    query.where(ArtifactChunk.artifact_digest == digest, ArtifactChunk.position == position)
                )
            ).one_or_none()
            if row is None:
                break
            chunk_digest, data = row
            if hashlib.sha256(data).hexdigest() != chunk_digest:
                raise ArtifactCorrupted(f"block {position} of artifact {digest} does not match its digest")
            whole.update(data)
            yield data
            position += 1
        if whole.hexdigest() != digest:
            raise ArtifactCorrupted(f"artifact {digest} does not match its digest after {position} blocks")


async def remove_unused(session: AsyncSession) -> None:
    """Delete the artifacts that no version refers to and the chunks that no artifact holds."""
    await session.execute(
        delete(Artifact).where(
            Artifact.digest.not_in(select(Version.bundle_digest)),
            Artifact.digest.not_in(select(Version.serving_digest)),
        )
    )
    await session.execute(delete(Chunk).where(Chunk.digest.not_in(select(ArtifactChunk.chunk_digest))))


class ArtifactCache:
    """Artifacts as files named by their digest, written whole or not at all."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self.database = database

    async def path(self, digest: str) -> Path:
        """The local file with the bytes of an artifact, fetched from the database if need be."""
        path = self.folder / digest
        if path.exists():
            return path
        self.folder.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=self.folder, prefix=".partial-")
        try:
            with os.fdopen(handle, "wb") as file:
                async for data in stream(self.database, digest):
                    await asyncio.to_thread(file.write, data)
                file.flush()
                await asyncio.to_thread(os.fsync, file.fileno())
            Path(partial).replace(path)
        finally:
            Path(partial).unlink(missing_ok=True)
        return path

    def keep_only(self, digests: Container[str]) -> None:
        """Remove the files of other artifacts, and what a crash has left unfinished."""
        for path in self.folder.glob("*"):
            unfinished = path.name.startswith(".partial-")
            with contextlib.suppress(FileNotFoundError):
                if unfinished and time.time() - path.stat().st_mtime < ABANDONED_SECONDS:
                    continue
                if path.name not in digests:
                    path.unlink()


def _read_block(path: Path, position: int) -> tuple[bytes, str] | None:
    """A block of a file and its digest; None past the end."""
    with path.open("rb") as file:
        file.seek(position * CHUNK_SIZE)
        data = file.read(CHUNK_SIZE)
    return (data, hashlib.sha256(data).hexdigest()) if data else None
