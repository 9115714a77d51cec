"""What the rest of the system asks of the registry, one method a question."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Select, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from tfaas.errors import Conflict, NotFound
from tfaas.registry import artifacts
from tfaas.registry.database import Database
from tfaas.registry.names import LATEST, Reference, check_name
from tfaas.registry.tables import Alias, Artifact, Model, State, Version

INSERT: dict[str, Callable[..., Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@dataclass(frozen=True, slots=True)
class NewVersion:
    """All that publishing a version needs; the two files become artifacts."""

    name: str
    framework: str
    runtime: str
    signature: dict[str, Any]
    manifest: dict[str, Any]
    bundle: Path
    serving: Path
    framework_version: str = ""
    runtime_reason: str = ""
    labels: list[str] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    lineage: dict[str, Any] = field(default_factory=dict)
    description: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """A published version, detached from the database."""

    id: int
    name: str
    number: int
    owner: str
    description: str
    framework: str
    framework_version: str
    runtime: str
    runtime_reason: str
    signature: dict[str, Any]
    manifest: dict[str, Any]
    labels: list[str]
    metrics: dict[str, Any]
    lineage: dict[str, Any]
    bundle_digest: str
    bundle_size: int
    serving_digest: str
    serving_size: int
    created_at: datetime


class Repository:
    """The registry's operations; every change is one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def publish(self, new: NewVersion, follows: int | None = None) -> VersionRecord:
        """Store a version and let `latest` point at it: all of it or nothing.

        Args:
            follows: id of the version that must still be the latest one; raises Conflict when it is not.
        """
        check_name(new.name)
        bundle, serving = [await asyncio.to_thread(artifacts.file_digest, path) for path in (new.bundle, new.serving)]
        async with self._change() as session:
            if follows is not None:
                latest = (await session.scalars(_select(Reference(new.name)))).one_or_none()
                if latest is None or latest.id != follows:
                    raise Conflict(f"model {new.name!r} has changed meanwhile: look at it and try again")
            await artifacts.store(session, new.bundle, bundle)
            await artifacts.store(session, new.serving, serving)
            model_id, number = await self._next_number(session, new.name, new.owner)
            version = Version(
                model_id=model_id,
                number=number,
                owner=new.owner,
                description=new.description,
                framework=new.framework,
                framework_version=new.framework_version,
                runtime=new.runtime,
                runtime_reason=new.runtime_reason,
                signature=new.signature,
                manifest=new.manifest,
                labels=new.labels,
                metrics=new.metrics,
                lineage=new.lineage,
                bundle_digest=bundle,
                serving_digest=serving,
            )
            session.add(version)
            await session.flush()
            await self._point(session, model_id, LATEST, version.id)
            await session.refresh(version)
            return _record(version)

    async def get(self, reference: Reference) -> VersionRecord:
        """The version a reference names; raises NotFound with what there is instead."""
        async with self.database.read() as session:
            version = (await session.scalars(_select(reference))).one_or_none()
            if version is None:
                raise NotFound(await self._what_there_is(session, reference))
            return _record(version)

    async def latest(self) -> list[VersionRecord]:
        """The latest version of every model, by name."""
        query = (
            select(Version)
            .join(Alias, Alias.version_id == Version.id)
            .join(Model, Model.id == Version.model_id)
            .where(Alias.name == LATEST)
            .order_by(Model.name)
        )
        async with self.database.read() as session:
            return [_record(version) for version in await session.scalars(query)]

    async def set_alias(self, name: str, alias: str, number: int) -> VersionRecord:
        """Let an alias point at a version."""
        check_name(alias, "alias")
        reference = Reference(check_name(name), number=number)
        async with self._change() as session:
            version = (await session.scalars(_select(reference))).one_or_none()
            if version is None:
                raise NotFound(await self._what_there_is(session, reference))
            await self._point(session, version.model_id, alias, version.id)
            return _record(version)

    async def delete(self, name: str) -> None:
        """Remove a model with all its versions, aliases and artifacts; raises NotFound."""
        async with self._change() as session:
            removed = await session.scalar(delete(Model).where(Model.name == name).returning(Model.id))
            if removed is None:
                raise NotFound(await self._what_there_is(session, Reference(name)))
            await artifacts.remove_unused(session)

    async def default_model(self) -> str | None:
        """The model for requests that name none: the one last set, else the only one there is."""
        async with self.database.read() as session:
            chosen = await session.scalar(select(Model.name).join(State, State.default_model_id == Model.id))
            if chosen is not None:
                return chosen
            names = (await session.scalars(select(Model.name).limit(2))).all()
            return names[0] if len(names) == 1 else None

    async def set_default_model(self, name: str) -> None:
        async with self._change() as session:
            model_id = await session.scalar(select(Model.id).where(Model.name == name))
            if model_id is None:
                raise NotFound(await self._what_there_is(session, Reference(name)))
            await session.execute(update(State).values(default_model_id=model_id))

    async def names(self) -> list[str]:
        async with self.database.read() as session:
            return list(await session.scalars(select(Model.name).order_by(Model.name)))

    async def revision(self) -> int:
        """A number that grows with every change."""
        async with self.database.read() as session:
            return (await session.scalars(select(State.revision))).one()

    async def existing(self, version_ids: Iterable[int]) -> set[int]:
        """Those of the given versions that are still there."""
        query = select(Version.id).where(Version.id.in_(list(version_ids)))
        async with self.database.read() as session:
            return set(await session.scalars(query))

    async def digests(self) -> set[str]:
        """Of all artifacts."""
        async with self.database.read() as session:
            return set(await session.scalars(select(Artifact.digest)))

    @asynccontextmanager
    async def _change(self) -> AsyncIterator[AsyncSession]:
        """A writing transaction; counting the change first lets writers pass one after the other."""
        async with self.database.write() as session:
            await session.execute(update(State).values(revision=State.revision + 1))
            yield session

    async def _next_number(self, session: AsyncSession, name: str, owner: str) -> tuple[int, int]:
        """The model's id and its next version number, which is never given twice."""
        dialect_insert = INSERT[self.database.engine.dialect.name]
        await session.execute(
            dialect_insert(Model).values(name=name, owner=owner).on_conflict_do_nothing(index_elements=["name"])
        )
        row = await session.execute(
            update(Model)
            .where(Model.name == name)
            .values(last_version=Model.last_version + 1)
            .returning(Model.id, Model.last_version)
        )
        model_id, number = row.one()
        return model_id, number

    async def _point(self, session: AsyncSession, model_id: int, alias: str, version_id: int) -> None:
        statement = INSERT[self.database.engine.dialect.name](Alias).values(
            model_id=model_id, name=alias, version_id=version_id
        )
        await session.execute(
            statement.on_conflict_do_update(index_elements=["model_id", "name"], set_={"version_id": version_id})
        )

    async def _what_there_is(self, session: AsyncSession, reference: Reference) -> str:
        known = select(Model.id).where(Model.name == reference.name)
        model_id = await session.scalar(known)
        if model_id is None:
            names = (await session.scalars(select(Model.name).order_by(Model.name).limit(20))).all()
            return f"no model {reference.name!r}: there is {', '.join(names) if names else 'none yet'}"
        numbers = (
            await session.scalars(
                select(Version.number).where(Version.model_id == model_id).order_by(Version.number.desc()).limit(20)
            )
        ).all()
        aliases = (await session.scalars(select(Alias.name).where(Alias.model_id == model_id))).all()
        return (
            f"no {str(reference)!r}: model {reference.name!r} has versions"
            f" {', '.join(map(str, reversed(numbers)))} and aliases {', '.join(sorted(aliases))}"
        )


def _select(reference: Reference) -> Select[Version]:
    query = select(Version).join(Model, Model.id == Version.model_id).where(Model.name == reference.name)
    if reference.number is not None:
        return query.where(Version.number == reference.number)
    return query.join(Alias, Alias.version_id == Version.id).where(Alias.name == reference.alias)


def _record(version: Version) -> VersionRecord:
    return VersionRecord(
        id=version.id,
        name=version.model.name,
        number=version.number,
        owner=version.owner,
        description=version.description,
        framework=version.framework,
        framework_version=version.framework_version,
        runtime=version.runtime,
        runtime_reason=version.runtime_reason,
        signature=version.signature,
        manifest=version.manifest,
        labels=version.labels,
        metrics=version.metrics,
        lineage=version.lineage,
        bundle_digest=version.bundle_digest,
        bundle_size=version.bundle.size,
        serving_digest=version.serving_digest,
        serving_size=version.serving.size,
        created_at=version.created_at,
    )
