"""Handing a bundle to the registry: straight into its database, or through a running server."""

import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx
from anyio.from_thread import start_blocking_portal

from mlaas.errors import PublishError, listing
from tfaas.bundles import ProofLimits, TFaaSError, current_user, publish
from tfaas.registry import Database, Repository

Result = TypeVar("Result")
CONNECT_SECONDS = 5.0
UPLOAD_SECONDS = 600.0


@dataclass(frozen=True)
class Published:
    """The version that a bundle has become, and which runtime serves it why."""

    model: str
    version: int
    runtime: str
    reason: str


@dataclass(frozen=True)
class Existing:
    """What a registry has of a model: alias → version, and who has published; both empty where there is none."""

    aliases: dict[str, int] = field(default_factory=dict)
    owners: set[str] = field(default_factory=set)


def check_target(target: str, name: str, any_owner: bool = False) -> None:
    """Find out whether a bundle could be published at a database or server URL; leaves nothing there.

    Args:
        name: of the model.
        any_owner: whether the name may be one under which somebody else has published.

    Raises:
        PublishError: it could not.
    """
    owners = existing(target, name).owners
    me = current_user()
    others = sorted(owners - {"", me})
    if me and others and me not in owners and not any_owner:
        raise PublishError(
            f"{target}: the model {name} belongs to {listing(others, 3)}: expected another --name, or --any-owner"
        )


def existing(target: str, name: str) -> Existing:
    """What a database or server has of a model; raises PublishError where a model can't be published there."""
    return _on_server(target, name) if _is_server(target) else _run(_in_database, target, name)


def publish_bundle(archive: Path, target: str) -> Published:
    """Publish a bundle at a database URL (sqlite:///…, postgresql://…) or a server URL (http://…).

    Raises:
        PublishError: the registry can't be reached or refuses the bundle; nothing has changed there.
    """
    return _upload(archive, target) if _is_server(target) else _run(_store, archive, target)


def set_alias(target: str, name: str, number: int, alias: str) -> None:
    """Let an alias of a model point at one of its versions, at a database or server URL; raises PublishError."""
    if not _is_server(target):
        _run(_set_alias, target, name, number, alias)
        return
    try:
        answer = httpx.put(
            f"{target.rstrip('/')}/models/{name}/aliases/{alias}", json={"version": number}, timeout=UPLOAD_SECONDS
        )
    except httpx.HTTPError as error:
        raise PublishError(f"{target}: {error or type(error).__name__}") from error
    if answer.status_code != httpx.codes.OK:
        raise PublishError(f"{target} does not set the alias {alias}: {refusal(answer)}")


def _run(function: Callable[..., Awaitable[Result]], *arguments: object) -> Result:
    """The result of a coroutine, in a thread of its own: a notebook has a running loop in this one."""
    with start_blocking_portal() as portal:
        return portal.call(function, *arguments)


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
        raise PublishError(f"{target} refuses the model: {refusal(answer)}")
    try:
        fields = answer.json()
        return Published(fields["model"], fields["version"], fields["runtime"], fields["reason"])
    except (ValueError, KeyError, TypeError) as error:
        raise PublishError(f"{target} answers something else than an inference server does") from error


def refusal(answer: httpx.Response) -> str:
    """Why a server has refused a request, in its words."""
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}"


def _on_server(target: str, name: str) -> Existing:
    base = target.rstrip("/")
    try:
        httpx.get(f"{base}/readyz", timeout=CONNECT_SECONDS).raise_for_status()
        answer = httpx.get(f"{base}/models/{name}", timeout=CONNECT_SECONDS)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return Existing()
        found = answer.raise_for_status().json()
        return Existing(dict(found["aliases"]), {str(version["owner"]) for version in found["versions"]})
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise PublishError(f"{target}: no server is ready there ({error})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise PublishError(f"{target} answers something else than an inference server does") from error


async def _in_database(target: str, name: str) -> Existing:
    try:
        file = Database(target).file
    except TFaaSError as error:
        raise PublishError(f"{target}: {error}") from error
    if file is not None:
        # SQLite writes beside its file, too; a registry that is not there yet is made where the training has succeeded.
        folder = next(parent for parent in file.resolve().parents if parent.exists())
        for path in (file, folder):
            if path.exists() and not os.access(path, os.W_OK):
                raise PublishError(f"{target}: {path} can't be written to")
        if not folder.is_dir():
            raise PublishError(f"{target}: {folder} is no folder")
        if not file.exists():
            return Existing()
    async with _registry(target) as repository:
        if name not in await repository.names():
            return Existing()
        owners = {record.owner for record in await repository.versions(name)}
        return Existing(await repository.aliases(name), owners)


async def _set_alias(target: str, name: str, number: int, alias: str) -> None:
    async with _registry(target) as repository:
        await repository.set_alias(name, alias, number)


@asynccontextmanager
async def _registry(target: str) -> AsyncIterator[Repository]:
    """The registry at a database URL, with its tables up to date; turns its errors into PublishError."""
    database = None
    try:
        database = Database(target)
        await database.upgrade()
        yield Repository(database)
    except (TFaaSError, OSError) as error:
        raise PublishError(f"{target}: {error}") from error
    finally:
        if database is not None:
            await database.close()


async def _store(archive: Path, target: str) -> Published:
    with tempfile.TemporaryDirectory(prefix="mlaas-") as scratch:
        async with _registry(target) as repository:
            record = await publish(repository, archive, Path(scratch), ProofLimits(), current_user())
    return Published(record.name, record.number, record.runtime, record.runtime_reason)
