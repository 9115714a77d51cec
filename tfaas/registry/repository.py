"""What the rest of the system asks of the registry, one method a question."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from tfaas.errors import Conflict, InvalidRequest, NotFound
from tfaas.registry import artifacts
from tfaas.registry.database import Database
from tfaas.registry.names import LATEST, Reference, check_name
from tfaas.registry.queries import IS_LIVE, SORTS, aliases_of, select_version
from tfaas.registry.records import Filter, NewVersion, VersionRecord, to_record
from tfaas.registry.tables import Alias, Model, State, Version, VersionTag, now

INSERT: dict[str, Callable[..., Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class Repository:
    """The registry's operations; every change is one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def publish(self, new: NewVersion, follows: int | None = None) -> VersionRecord:
        """Store a version and let `latest` point at it, unless it says otherwise: all of it or nothing.

        Args:
            follows: id of the version that must still be the latest one; raises Conflict when it is not.
        """
        check_name(new.name)
        bundle, serving = [await asyncio.to_thread(artifacts.file_digest, path) for path in (new.bundle, new.serving)]
        async with self.change() as session:
            if follows is not None:
                latest = (await session.scalars(select_version(Reference(new.name)))).one_or_none()
                if latest is None or latest.id != follows:
                    raise Conflict(f"model {new.name!r} has changed meanwhile: look at it and try again")
            await artifacts.store(session, new.bundle, bundle)
            await artifacts.store(session, new.serving, serving)
            model_id, number = await self._next_number(session, new.name, new.owner)
            identical = await session.scalar(
                select(func.min(Version.number)).where(
                    Version.model_id == model_id, Version.bundle_digest == bundle, Version.deleted_at.is_(None)
                )
            )
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
                tags=[VersionTag(name=check_name(tag, "tag")) for tag in sorted(set(new.tags))],
            )
            session.add(version)
            await session.flush()
            if new.becomes_latest or await self._live_latest(session, model_id) is None:
                await self.point(session, model_id, LATEST, version.id)
            await session.refresh(version)
            return replace(to_record(version), identical_to=identical)

    async def get(self, reference: Reference) -> VersionRecord:
        """The version a reference names; raises NotFound with what there is instead."""
        async with self.database.read() as session:
            return to_record(await self.one(session, reference))

    async def latest(self, wanted: Filter | None = None) -> list[VersionRecord]:
        """The latest version of every model that is wanted; raises InvalidRequest for an unknown order."""
        wanted = wanted or Filter()
        order = SORTS.get(wanted.sort.removeprefix("-"))
        if order is None:
            raise InvalidRequest(
                f"sort {wanted.sort!r} is not known: expected one of {', '.join(SORTS)}, or one with - before it"
            )
        query = (
            select(Version)
            .join(Alias, Alias.version_id == Version.id)
            .join(Model, Model.id == Version.model_id)
            .where(Alias.name == LATEST, Version.deleted_at.is_(None))
            .order_by(order.desc() if wanted.sort.startswith("-") else order.asc(), Model.name)
            .limit(wanted.limit)
            .offset(wanted.offset)
        )
        if wanted.name:
            query = query.where(Model.name.contains(wanted.name, autoescape=True))
        if wanted.owner:
            query = query.where(Version.owner == wanted.owner)
        if wanted.framework:
            query = query.where(Version.framework == wanted.framework)
        if wanted.tag:
            query = query.where(Version.tags.any(VersionTag.name == wanted.tag))
        async with self.database.read() as session:
            return [to_record(version) for version in await session.scalars(query)]

    async def versions(self, name: str, deleted: bool = False) -> list[VersionRecord]:
        """All versions of a model, newest first; raises NotFound where there is none."""
        query = select(Version).join(Model).where(Model.name == name).order_by(Version.number.desc())
        if not deleted:
            query = query.where(Version.deleted_at.is_(None))
        async with self.database.read() as session:
            found = [to_record(version) for version in await session.scalars(query)]
            if not found:
                raise NotFound(await self._what_there_is(session, Reference(name)))
            return found

    async def aliases(self, name: str) -> dict[str, int]:
        """Alias → number of the version that it points at."""
        async with self.database.read() as session:
            return await aliases_of(session, name)

    async def set_alias(self, name: str, alias: str, number: int) -> VersionRecord:
        """Let an alias point at a version."""
        check_name(alias, "alias")
        reference = Reference(check_name(name), number=number)
        async with self.change() as session:
            version = await self.one(session, reference)
            await self.point(session, version.model_id, alias, version.id)
            return to_record(version)

    async def delete_alias(self, name: str, alias: str) -> None:
        """Remove an alias, which is not `latest`; raises NotFound, Conflict."""
        if alias == LATEST:
            raise Conflict(f"alias {LATEST!r} of model {name!r} can't be removed: expected another one")
        async with self.change() as session:
            if alias not in await aliases_of(session, name):
                raise NotFound(await self._what_there_is(session, Reference(name, alias=alias)))
            model_id = select(Model.id).where(Model.name == name).scalar_subquery()
            await session.execute(delete(Alias).where(Alias.model_id == model_id, Alias.name == alias))

    async def describe(self, reference: Reference, description: str | None, tags: Sequence[str] | None) -> None:
        """Change what people read about a version; None leaves it as it is. Raises NotFound."""
        async with self.change() as session:
            version = await self.one(session, reference)
            if description is not None:
                version.description = description
            if tags is not None:
                await session.execute(delete(VersionTag).where(VersionTag.version_id == version.id))
                for tag in sorted(set(tags)):
                    await session.execute(insert(VersionTag).values(version_id=version.id, name=check_name(tag, "tag")))

    async def count_crash(self, version_ids: Iterable[int]) -> None:
        """Note that a process ended while it ran these versions."""
        async with self.change() as session:
            crashed = update(Version).where(Version.id.in_(list(version_ids)))
            await session.execute(crashed.values(crashes=Version.crashes + 1))

    async def release(self, reference: Reference) -> VersionRecord:
        """Serve a version again that was quarantined; raises NotFound."""
        async with self.change() as session:
            version = await self.one(session, reference)
            version.crashes = 0
            await session.flush()
            return to_record(version)

    async def delete(self, name: str, number: int | None = None, force: bool = False) -> None:
        """Mark a version, or all versions of a model, as deleted.

        They are there for nobody, and come back with `restore` until garbage is collected.

        Raises:
            NotFound: there is no such model or version.
            Conflict: an alias other than `latest` points at it, and `force` is not given.
        """
        async with self.change() as session:
            versions = await self._versions(session, name, number, deleted=False)
            pointing = {
                alias: pointed
                for alias, pointed in (await aliases_of(session, name)).items()
                if alias != LATEST and pointed in {version.number for version in versions}
            }
            if pointing and not force:
                listed = ", ".join(f"{name}@{alias} is version {pointed}" for alias, pointed in pointing.items())
                raise Conflict(f"{listed}: move the alias first, or delete by force")
            for version in versions:
                version.deleted_at = now()
            await session.flush()
            await self._repair_latest(session, versions[0].model_id)

    async def restore(self, name: str, number: int | None = None) -> None:
        """Take a deletion back; raises NotFound where nothing is marked as deleted."""
        async with self.change() as session:
            versions = await self._versions(session, name, number, deleted=True)
            for version in versions:
                version.deleted_at = None
            await session.flush()
            await self._repair_latest(session, versions[0].model_id)

    async def default_model(self) -> str | None:
        """The model for requests that name none: the one last set, else the only one there is."""
        async with self.database.read() as session:
            chosen = await session.scalar(
                select(Model.name).join(State, State.default_model_id == Model.id).where(IS_LIVE)
            )
            if chosen is not None:
                return chosen
            names = (await session.scalars(select(Model.name).where(IS_LIVE).limit(2))).all()
            return names[0] if len(names) == 1 else None

    async def set_default_model(self, name: str) -> None:
        async with self.change() as session:
            model_id = await session.scalar(select(Model.id).where(Model.name == name, IS_LIVE))
            if model_id is None:
                raise NotFound(await self._what_there_is(session, Reference(name)))
            await session.execute(update(State).values(default_model_id=model_id))

    async def names(self) -> list[str]:
        async with self.database.read() as session:
            return list(await session.scalars(select(Model.name).where(IS_LIVE).order_by(Model.name)))

    async def revision(self) -> int:
        """A number that grows with every change."""
        async with self.database.read() as session:
            return (await session.scalars(select(State.revision))).one()

    async def existing(self, version_ids: Iterable[int]) -> set[int]:
        """Those of the given versions that are still there."""
        query = select(Version.id).where(Version.id.in_(list(version_ids)), Version.deleted_at.is_(None))
        async with self.database.read() as session:
            return set(await session.scalars(query))

    async def digests(self) -> set[str]:
        """Of all artifacts that a version needs which is not marked as deleted."""
        async with self.database.read() as session:
            rows = await session.execute(
                select(Version.bundle_digest, Version.serving_digest).where(Version.deleted_at.is_(None))
            )
            return {digest for row in rows for digest in row}

    @asynccontextmanager
    async def change(self) -> AsyncIterator[AsyncSession]:
        """A writing transaction; counting the change first lets writers pass one after the other."""
        async with self.database.write() as session:
            await session.execute(update(State).values(revision=State.revision + 1))
            yield session

    async def model_id(self, session: AsyncSession, name: str, owner: str) -> int:
        """The id of a model, which is made where there is none."""
        dialect_insert = INSERT[self.database.engine.dialect.name]
        await session.execute(
            dialect_insert(Model).values(name=name, owner=owner).on_conflict_do_nothing(index_elements=["name"])
        )
        return (await session.scalars(select(Model.id).where(Model.name == name))).one()

    async def one(self, session: AsyncSession, reference: Reference) -> Version:
        """The version that a reference names; raises NotFound with what there is instead."""
        version = (await session.scalars(select_version(reference))).one_or_none()
        if version is None:
            raise NotFound(await self._what_there_is(session, reference))
        return version

    async def _versions(self, session: AsyncSession, name: str, number: int | None, deleted: bool) -> list[Version]:
        query = select(Version).join(Model).where(Model.name == name)
        query = query.where(Version.deleted_at.is_not(None) if deleted else Version.deleted_at.is_(None))
        if number is not None:
            query = query.where(Version.number == number)
        versions = list(await session.scalars(query))
        if not versions and deleted:
            raise NotFound(f"nothing of {str(Reference(name, number))!r} is deleted: there is nothing to restore")
        if not versions:
            raise NotFound(await self._what_there_is(session, Reference(name, number)))
        return versions

    async def _live_latest(self, session: AsyncSession, model_id: int) -> int | None:
        return await session.scalar(
            select(Version.id)
            .join(Alias, Alias.version_id == Version.id)
            .where(Alias.model_id == model_id, Alias.name == LATEST, Version.deleted_at.is_(None))
        )

    async def _repair_latest(self, session: AsyncSession, model_id: int) -> None:
        """Where `latest` points at what is deleted, let it point at the newest version that is not."""
        if await self._live_latest(session, model_id) is None:
            newest = await session.scalar(
                select(Version.id)
                .where(Version.model_id == model_id, Version.deleted_at.is_(None))
                .order_by(Version.number.desc())
                .limit(1)
            )
            if newest is not None:
                await self.point(session, model_id, LATEST, newest)

    async def _next_number(self, session: AsyncSession, name: str, owner: str) -> tuple[int, int]:
        """The model's id and its next version number, which is never given twice."""
        await self.model_id(session, name, owner)
        row = await session.execute(
            update(Model)
            .where(Model.name == name)
            .values(last_version=Model.last_version + 1)
            .returning(Model.id, Model.last_version)
        )
        model_id, number = row.one()
        return model_id, number

    async def point(self, session: AsyncSession, model_id: int, alias: str, version_id: int) -> None:
        """Let an alias of a model point at a version of it."""
        statement = INSERT[self.database.engine.dialect.name](Alias).values(
            model_id=model_id, name=alias, version_id=version_id
        )
        await session.execute(
            statement.on_conflict_do_update(index_elements=["model_id", "name"], set_={"version_id": version_id})
        )

    async def _what_there_is(self, session: AsyncSession, reference: Reference) -> str:
        model_id = await session.scalar(select(Model.id).where(Model.name == reference.name, IS_LIVE))
        if model_id is None:
            names = (await session.scalars(select(Model.name).where(IS_LIVE).order_by(Model.name).limit(20))).all()
            return f"no model {reference.name!r}: there is {', '.join(names) if names else 'none yet'}"
        numbers = (
            await session.scalars(
                select(Version.number)
                .where(Version.model_id == model_id, Version.deleted_at.is_(None))
                .order_by(Version.number.desc())
                .limit(20)
            )
        ).all()
        aliases = await aliases_of(session, reference.name)
        return (
            f"no {str(reference)!r}: model {reference.name!r} has versions"
            f" {', '.join(map(str, reversed(numbers)))} and aliases {', '.join(aliases)}"
        )
