"""The registry on SQLite and on a real PostgreSQL."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, func, select, text

from tests.tfaas.conftest import new_postgresql_database
from tfaas.errors import ArtifactCorrupted, Conflict, InvalidRequest, NotFound, RegistryUnavailable
from tfaas.registry import Database, NewVersion, Reference, Repository, parse_reference
from tfaas.registry.artifacts import CHUNK_SIZE, ArtifactCache
from tfaas.registry.database import migrations_folder
from tfaas.registry.tables import Artifact, Base, Chunk

Scenario = Callable[[Repository], Awaitable[None]]


def run(url: str, scenario: Scenario) -> None:
    async def with_database() -> None:
        database = Database(url)
        try:
            await database.upgrade()
            await scenario(Repository(database))
        finally:
            await database.close()

    asyncio.run(with_database())


def version(name: str, folder: Path, bundle: bytes = b"bundle", serving: bytes = b"serving") -> NewVersion:
    (folder / "bundle").write_bytes(bundle)
    (folder / "serving").write_bytes(serving)
    return NewVersion(
        name=name,
        framework="onnx",
        runtime="onnx",
        signature={},
        manifest={"name": name},
        bundle=folder / "bundle",
        serving=folder / "serving",
    )


async def rows(repository: Repository, table: type[Base]) -> int:
    async with repository.database.read() as session:
        return (await session.scalars(select(func.count()).select_from(table))).one()


def test_migrations_make_the_tables_that_the_code_uses(database_url: str) -> None:
    async def scenario(repository: Repository) -> None:
        def differences(connection: Connection) -> list[object]:
            return compare_metadata(MigrationContext.configure(connection), Base.metadata)

        async with repository.database.engine.connect() as connection:
            assert await connection.run_sync(differences) == []

    run(database_url, scenario)


def test_migrations_go_down_and_up_again(database_url: str, tmp_path: Path) -> None:
    async def scenario(repository: Repository) -> None:
        def downgrade(connection: Connection) -> None:
            config = Config()
            config.set_main_option("script_location", str(migrations_folder()))
            config.attributes["connection"] = connection
            command.downgrade(config, "base")

        async with repository.database.engine.execution_options(write=True).begin() as connection:
            await connection.run_sync(downgrade)
        await repository.database.upgrade()
        assert (await repository.publish(version("m", tmp_path))).number == 1

    run(database_url, scenario)


def test_each_publish_is_the_next_version_and_the_latest(database_url: str, tmp_path: Path) -> None:
    async def scenario(repository: Repository) -> None:
        for number in (1, 2, 3):
            record = await repository.publish(version("m", tmp_path, bundle=bytes([number])))
            assert (record.name, record.number) == ("m", number)
        assert (await repository.get(Reference("m"))).number == 3
        assert (await repository.get(Reference("m", number=1))).number == 1
        assert [record.number for record in await repository.latest()] == [3]

    run(database_url, scenario)


def test_simultaneous_publishes_get_numbers_without_gaps(database_url: str, tmp_path: Path) -> None:
    async def scenario(repository: Repository) -> None:
        new = version("m", tmp_path, bundle=os.urandom(3 * CHUNK_SIZE))
        records = await asyncio.gather(*(repository.publish(new) for _ in range(20)))
        assert sorted(record.number for record in records) == list(range(1, 21))
        assert await rows(repository, Artifact) == 2  # the same bytes are stored once

    run(database_url, scenario)


def test_an_alias_moves_and_is_a_reference(database_url: str, tmp_path: Path) -> None:
    async def scenario(repository: Repository) -> None:
        for _ in range(2):
            await repository.publish(version("m", tmp_path))
        for number in (1, 2, 1):
            await repository.set_alias("m", "production", number)
            assert (await repository.get(parse_reference("m@production"))).number == number
        with pytest.raises(NotFound, match="has versions 1, 2 and aliases latest, production"):
            await repository.set_alias("m", "production", 9)

    run(database_url, scenario)


def test_a_publish_that_follows_a_version_is_refused_when_another_came_first(database_url: str, tmp_path: Path) -> None:
    async def scenario(repository: Repository) -> None:
        first = await repository.publish(version("m", tmp_path))
        second = await repository.publish(version("m", tmp_path), follows=first.id)
        assert second.number == 2
        with pytest.raises(Conflict, match="has changed meanwhile"):
            await repository.publish(version("m", tmp_path), follows=first.id)
        assert (await repository.get(Reference("m"))).number == 2

    run(database_url, scenario)


def test_several_servers_may_start_on_an_empty_database(postgresql: str) -> None:
    url = new_postgresql_database(postgresql)

    async def upgrade() -> None:
        database = Database(url)
        await database.upgrade()
        await database.close()

    async def scenario() -> None:
        await asyncio.gather(*(upgrade() for _ in range(4)))

    asyncio.run(scenario())


def test_a_failed_publish_leaves_nothing(database_url: str, tmp_path: Path) -> None:
    async def scenario(repository: Repository) -> None:
        revision = await repository.revision()
        new = version("m", tmp_path)
        new.serving.unlink()
        with pytest.raises(FileNotFoundError):
            await repository.publish(new)
        assert await repository.names() == []
        assert await rows(repository, Artifact) == await rows(repository, Chunk) == 0
        assert await repository.revision() == revision

    run(database_url, scenario)


def test_deleting_removes_the_model_and_its_bytes_but_not_those_of_others(database_url: str, tmp_path: Path) -> None:
    async def scenario(repository: Repository) -> None:
        await repository.publish(version("kept", tmp_path, bundle=b"shared"))
        await repository.publish(version("gone", tmp_path, bundle=b"shared", serving=b"own"))
        await repository.delete("gone")
        assert await repository.names() == ["kept"]
        assert await rows(repository, Artifact) == await rows(repository, Chunk) == 2
        with pytest.raises(NotFound, match="no model 'gone': there is kept"):
            await repository.delete("gone")

    run(database_url, scenario)


def test_the_default_model_is_the_one_set_or_the_only_one(database_url: str, tmp_path: Path) -> None:
    async def scenario(repository: Repository) -> None:
        assert await repository.default_model() is None
        await repository.publish(version("a", tmp_path))
        assert await repository.default_model() == "a"
        await repository.publish(version("b", tmp_path))
        assert await repository.default_model() is None
        await repository.set_default_model("b")
        assert await repository.default_model() == "b"
        await repository.delete("b")
        assert await repository.default_model() == "a"

    run(database_url, scenario)


def test_artifacts_come_back_byte_for_byte_and_are_cached(database_url: str, tmp_path: Path) -> None:
    async def scenario(repository: Repository) -> None:
        data = os.urandom(2 * CHUNK_SIZE + 17)
        record = await repository.publish(version("m", tmp_path, bundle=data))
        cache = ArtifactCache(tmp_path / "cache", repository.database)
        path = await cache.path(record.bundle_digest)
        assert path.read_bytes() == data
        assert await cache.path(record.bundle_digest) == path
        assert [file.name for file in (tmp_path / "cache").iterdir()] == [record.bundle_digest]
        with pytest.raises(NotFound):
            await cache.path("0" * 64)

    run(database_url, scenario)


def test_changed_bytes_are_found_when_they_are_read(database_url: str, tmp_path: Path) -> None:
    async def scenario(repository: Repository) -> None:
        record = await repository.publish(version("m", tmp_path, serving=b"good"))
        async with repository.database.write() as session:
            await session.execute(text("UPDATE chunks SET data = :data").bindparams(data=b"evil"))
        with pytest.raises(ArtifactCorrupted, match="block 0"):
            await ArtifactCache(tmp_path / "cache", repository.database).path(record.serving_digest)
        assert list((tmp_path / "cache").iterdir()) == []

    run(database_url, scenario)


def test_a_database_that_is_away_is_told_in_one_line() -> None:
    with pytest.raises(RegistryUnavailable, match=r"postgresql.*can't be used") as caught:
        run("postgresql://nobody@127.0.0.1:1/none", lambda repository: asyncio.sleep(0))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("reference", ["", "../x", "a/b", ".hidden", "m:0", "m:x", "m:-1", "m@", "m@../y", "a" * 129])
def test_references_that_can_not_be_are_refused(reference: str) -> None:
    with pytest.raises(InvalidRequest, match=r"not allowed|is not a number"):
        parse_reference(reference)
