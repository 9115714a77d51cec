"""What an operator does with a registry: collect garbage, look for damage, carry models elsewhere."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from tfaas.errors import ArtifactCorrupted, Conflict, InvalidRequest, NotFound
from tfaas.registry import artifacts
from tfaas.registry.database import Database
from tfaas.registry.names import LATEST, Reference, check_name
from tfaas.registry.queries import aliases_of
from tfaas.registry.records import VersionRecord
from tfaas.registry.repository import Repository
from tfaas.registry.tables import Alias, Artifact, Model, Version, VersionTag, now

EXPORT_FORMAT = 1
INDEX = "registry.json"
ARTIFACTS = "artifacts"
LEFT_OUT = {"id", "crashes", "name", "deleted_at", "identical_to", "bundle_size", "serving_size"}
EXPORTED = {field.name for field in fields(VersionRecord)} - LEFT_OUT


@dataclass(frozen=True, slots=True)
class Collected:
    """How much garbage there was."""

    versions: int
    artifacts: int
    bytes: int


async def collect_garbage(repository: Repository, older_than: timedelta) -> Collected:
    """Remove for good what was marked as deleted longer ago than that, and the bytes that nobody needs any more."""
    async with repository.change() as session:
        before = await _stored(session)
        expired = delete(Version).where(Version.deleted_at <= now() - older_than).returning(Version.id)
        versions = len((await session.execute(expired)).all())
        await session.execute(delete(Model).where(Model.id.not_in(select(Version.model_id))))
        await artifacts.remove_unused(session)
        after = await _stored(session)
    return Collected(versions, before[0] - after[0], before[1] - after[1])


async def _stored(session: AsyncSession) -> tuple[int, int]:
    row = await session.execute(select(func.count(), func.coalesce(func.sum(Artifact.size), 0)).select_from(Artifact))
    count, size = row.one()
    return count, int(size)


async def find_inconsistencies(database: Database) -> AsyncIterator[str]:
    """A line for everything in the registry that should not be; reads every byte of every artifact."""
    async with database.read() as session:
        for finding in [*await _damaged_tables(session, database), *await _wrong_names(session)]:
            yield finding
        digests = (await session.execute(select(Artifact.digest, Artifact.size).order_by(Artifact.digest))).all()
    for digest, size in digests:
        finding = await _damaged_artifact(database, digest, size)
        if finding:
            yield finding


async def _damaged_tables(session: AsyncSession, database: Database) -> list[str]:
    if database.url.get_backend_name() != "sqlite":
        return []  # PostgreSQL does not let foreign keys be broken
    found = [f"database: {row[0]}" for row in await session.execute(text("PRAGMA integrity_check")) if row[0] != "ok"]
    broken = await session.execute(text("PRAGMA foreign_key_check"))
    return found + [f"table {row[0]}, row {row[1]}: refers to a row of {row[2]} that is not there" for row in broken]


async def _wrong_names(session: AsyncSession) -> list[str]:
    found = []
    for model in await session.scalars(select(Model).order_by(Model.name)):
        numbers = (await session.scalars(select(Version.number).where(Version.model_id == model.id))).all()
        if not numbers:
            found.append(f"model {model.name}: has no version")
        elif max(numbers) > model.last_version:
            found.append(f"model {model.name}: version {max(numbers)} is beyond the last one, {model.last_version}")
        query = select(func.count()).where(Version.model_id == model.id, Version.deleted_at.is_(None))
        if await session.scalar(query) and LATEST not in await aliases_of(session, model.name):
            found.append(f"model {model.name}: has versions but no {LATEST}")
    strangers = select(Model.name, Alias.name, Version.number).join(Alias, Alias.model_id == Model.id)
    strangers = strangers.join(Version, Version.id == Alias.version_id).where(Version.model_id != Model.id)
    for name, alias, number in await session.execute(strangers):
        found.append(f"alias {name}@{alias}: points at version {number} of another model")
    return found


async def _damaged_artifact(database: Database, digest: str, size: int) -> str:
    read = 0
    try:
        async for block in artifacts.stream(database, digest):
            read += len(block)
    except (ArtifactCorrupted, NotFound) as error:
        return f"{error}; needed by {await _users(database, digest)}"
    if read != size:
        return f"artifact {digest}: holds {read} bytes and says {size}"
    return ""


async def _users(database: Database, digest: str) -> str:
    query = select(Model.name, Version.number).join(Version, Version.model_id == Model.id)
    query = query.where((Version.bundle_digest == digest) | (Version.serving_digest == digest))
    async with database.read() as session:
        return ", ".join(f"{name}:{number}" for name, number in await session.execute(query)) or "no version"


async def export_models(repository: Repository, names: list[str], folder: Path) -> int:
    """Write models with all their versions, aliases and bytes to a folder that is empty or not there.

    Returns:
        How many versions were written.

    Raises:
        NotFound: there is no model of a name.
        InvalidRequest: the folder holds something.
    """
    if folder.exists() and any(folder.iterdir()):
        raise InvalidRequest(f"folder {folder} is not empty: expected a new one")
    (folder / ARTIFACTS).mkdir(parents=True, exist_ok=True)
    models = []
    for name in names:
        versions = await repository.versions(name)
        for digest in sorted({digest for one in versions for digest in (one.bundle_digest, one.serving_digest)}):
            await _export_artifact(repository.database, digest, folder / ARTIFACTS / digest)
        models.append({"name": name, "aliases": await repository.aliases(name), "versions": [*map(_as_json, versions)]})
    # Written last, so that an export that was interrupted is not taken for a whole one.
    index = json.dumps({"format": EXPORT_FORMAT, "models": models}, indent=1)
    (folder / INDEX).write_text(index)
    return sum(len(model["versions"]) for model in models)


async def _export_artifact(database: Database, digest: str, path: Path) -> None:
    if path.exists():
        return
    with path.open("wb") as file:
        async for block in artifacts.stream(database, digest):
            await asyncio.to_thread(file.write, block)


def _as_json(record: VersionRecord) -> dict[str, Any]:
    exported = {name: value for name, value in asdict(record).items() if name in EXPORTED}
    return exported | {"created_at": record.created_at.isoformat()}


async def import_models(repository: Repository, folder: Path) -> tuple[int, int]:
    """Take in what `export_models` has written: all of it or nothing.

    Versions keep their numbers. Those that are there already, with the same bytes, are passed over.

    Returns:
        How many versions were taken in and how many were there already.

    Raises:
        InvalidRequest: the folder holds no export, or one that is damaged.
        Conflict: a version with other bytes has the same number here.
    """
    models = _read_index(folder)
    taken = known = 0
    async with repository.change() as session:
        for model in models:
            name = check_name(model["name"])
            for exported in sorted(model["versions"], key=lambda one: int(one["number"])):
                if await _import_version(repository, session, name, exported, folder):
                    taken += 1
                else:
                    known += 1
            await _import_aliases(repository, session, name, model["aliases"])
    return taken, known


def _read_index(folder: Path) -> list[dict[str, Any]]:
    try:
        index = json.loads((folder / INDEX).read_bytes())
        if index["format"] != EXPORT_FORMAT:
            raise InvalidRequest(f"{folder / INDEX} has format {index['format']}: expected {EXPORT_FORMAT}")
        models: list[dict[str, Any]] = index["models"]
        for model in models:
            for version in model["versions"]:
                if set(version) != EXPORTED:
                    raise ValueError(f"version {version.get('number')} has other fields than a version has")
                for digest in (version["bundle_digest"], version["serving_digest"]):
                    _check_artifact(folder / ARTIFACTS / Path(digest).name, digest)
    except OSError as error:
        raise InvalidRequest(f"{folder} holds no export: {error.strerror} ({error.filename})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidRequest(f"{folder / INDEX} can't be read: {error}; expected what tfaas export writes") from error
    return models


def _check_artifact(path: Path, digest: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != digest:
        raise InvalidRequest(f"{path} does not match its digest: the export is damaged")


async def _import_version(
    repository: Repository, session: AsyncSession, name: str, exported: dict[str, Any], folder: Path
) -> bool:
    new = dict(exported)
    number, tags = int(new.pop("number")), new.pop("tags")
    model_id = await repository.model_id(session, name, new["owner"])
    here = await session.scalar(select(Version).where(Version.model_id == model_id, Version.number == number))
    if here is not None:
        if here.bundle_digest != new["bundle_digest"]:
            raise Conflict(f"version {number} of model {name!r} is here with other bytes: nothing is imported")
        return False
    for digest in (new["bundle_digest"], new["serving_digest"]):
        await artifacts.store(session, folder / ARTIFACTS / digest, digest)
    new["created_at"] = datetime.fromisoformat(new["created_at"])
    version = Version(model_id=model_id, number=number, **new)
    version.tags = [VersionTag(name=check_name(tag, "tag")) for tag in tags]
    session.add(version)
    await session.flush()
    older = update(Model).where(Model.id == model_id, Model.last_version < number)
    await session.execute(older.values(last_version=number))
    return True


async def _import_aliases(repository: Repository, session: AsyncSession, name: str, aliases: dict[str, int]) -> None:
    here = await aliases_of(session, name)
    for alias, number in aliases.items():
        if alias not in here:
            version = await repository.one(session, Reference(name, number=int(number)))
            await repository.point(session, version.model_id, check_name(alias, "alias"), version.id)
