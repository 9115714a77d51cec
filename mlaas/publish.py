"""Handing a bundle to the registry: straight into its database, or through a running server."""

import asyncio
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import httpx

from mlaas.errors import PublishError
from tfaas.bundles import ProofLimits, TFaaSError, current_user, publish
from tfaas.registry import Database, Repository

CONNECT_SECONDS = 5.0
UPLOAD_SECONDS = 600.0


@dataclass(frozen=True)
class Published:
    """The version that a bundle has become, and which runtime serves it why."""

    model: str
    version: int
    runtime: str
    reason: str


def check_target(target: str) -> None:
    """Raise PublishError unless a bundle could be published at a database or server URL; leaves nothing there."""
    if _is_server(target):
        try:
            httpx.get(f"{target.rstrip('/')}/readyz", timeout=CONNECT_SECONDS).raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise PublishError(f"{target}: no server is ready there ({error})") from error
    else:
        asyncio.run(_check_database(target))


def publish_bundle(archive: Path, target: str) -> Published:
    """Publish a bundle at a database URL (sqlite:///…, postgresql://…) or a server URL (http://…).

    Raises:
        PublishError: the registry can't be reached or refuses the bundle; nothing has changed there.
    """
    return _upload(archive, target) if _is_server(target) else asyncio.run(_store(archive, target))


def _is_server(target: str) -> bool:
    return target.startswith(("http://", "https://"))


def _upload(archive: Path, target: str) -> Published:
    try:
        with archive.open("rb") as content:
            answer = httpx.post(
                f"{target.rstrip('/')}/upload",
                content=content,
                headers={"content-type": "application/gzip"},
                timeout=httpx.Timeout(UPLOAD_SECONDS, connect=CONNECT_SECONDS),
            )
    except httpx.HTTPError as error:
        raise PublishError(f"{target}: {error or type(error).__name__}") from error
    if answer.status_code != httpx.codes.OK:
        raise PublishError(f"{target} refuses the model: {_reason(answer)}")
    try:
        fields = answer.json()
        return Published(fields["model"], fields["version"], fields["runtime"], fields["reason"])
    except (ValueError, KeyError, TypeError) as error:
        raise PublishError(f"{target} answers something else than an inference server does") from error


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}"


async def _check_database(target: str) -> None:
    try:
        file = Database(target).file
    except TFaaSError as error:
        raise PublishError(f"{target}: {error}") from error
    if file is None:
        await _upgrade(target)
        return
    # SQLite writes beside its file, too; a registry that is not there yet is made where the training has succeeded.
    folder = next(parent for parent in file.resolve().parents if parent.exists())
    for path in (file, folder):
        if path.exists() and not os.access(path, os.W_OK):
            raise PublishError(f"{target}: {path} can't be written to")
    if not folder.is_dir():
        raise PublishError(f"{target}: {folder} is no folder")
    if file.exists():
        await _upgrade(target)


async def _upgrade(target: str) -> None:
    database = None
    try:
        database = Database(target)
        await database.upgrade()
    except (TFaaSError, OSError) as error:
        raise PublishError(f"{target}: {error}") from error
    finally:
        if database is not None:
            await database.close()


async def _store(archive: Path, target: str) -> Published:
    await _upgrade(target)
    database = Database(target)
    try:
        with tempfile.TemporaryDirectory(prefix="mlaas-") as scratch:
            record = await publish(Repository(database), archive, Path(scratch), ProofLimits(), current_user())
    except TFaaSError as error:
        raise PublishError(f"{target}: {error}") from error
    finally:
        await database.close()
    return Published(record.name, record.number, record.runtime, record.runtime_reason)
