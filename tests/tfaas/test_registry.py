"""The registry on SQLite and on a real PostgreSQL."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

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
from tfaas.registry.maintenance import (
    Collected,
    collect_garbage,
    export_models,
    find_inconsistencies,
    import_models,
)
from tfaas.registry.records import Filter
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


def version(
    name: str, folder: Path, bundle: bytes = b"bundle", serving: bytes = b"serving", **fields: Any
) -> NewVersion:
    (folder / "bundle").write_bytes(bundle)
    (folder / "serving").write_bytes(serving)
    new = {"framework": "onnx", "runtime": "onnx", "signature": {}, "manifest": {"name": name}}
    return NewVersion(name=name, **(new | fields), bundle=folder / "bundle", serving=folder / "serving")


def downgrade(connection: Connection, revision: str = "base") -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    config.attributes["connection"] = connection
    command.downgrade(config, revision)


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
        async with repository.database.engine.execution_options(write=True).begin() as connection:
            await connection.run_sync(downgrade)
        await repository.database.upgrade()
        assert (await repository.publish(version("m", tmp_path))).number == 1

    run(database_url, scenario)


def test_migrations_keep_what_is_in_an_older_registry(database_url: str, tmp_path: Path) -> None:
    async def scenario(repository: Repository) -> None:
        for number in range(3):
            await repository.publish(version("m", tmp_path, bundle=bytes([number])))
        await repository.publish(version("gone", tmp_path))
        await repository.set_alias("m", "production", 2)
        await repository.delete("m", 1)
        await repository.delete("gone")
        for _ in range(2):
            async with repository.database.engine.execution_options(write=True).begin() as connection:
                await connection.run_sync(downgrade, "0001")
            await repository.database.upgrade()
            assert [record.number for record in await repository.versions("m", deleted=True)] == [3, 2]
            assert await repository.aliases("m") == {"latest": 3, "production": 2}
            assert await repository.names() == ["m"]
        assert (await repository.publish(version("m", tmp_path))).number == 4
        assert [finding async for finding in find_inconsistencies(repository.database)] == []

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


def test_garbage_is_collected_with_its_bytes_but_not_those_of_others(database_url: str, tmp_path: Path) -> None:
    async def scenario(repository: Repository) -> None:
        await repository.publish(version("kept", tmp_path, bundle=b"shared"))
        await repository.publish(version("gone", tmp_path, bundle=b"shared", serving=b"own"))
        await repository.delete("gone")
        assert await repository.names() == ["kept"]
        assert (await collect_garbage(repository, timedelta(days=1))).versions == 0
        assert await rows(repository, Artifact) == await rows(repository, Chunk) == 3
        assert await collect_garbage(repository, timedelta()) == Collected(versions=1, artifacts=1, bytes=3)
        assert await rows(repository, Artifact) == await rows(repository, Chunk) == 2
        with pytest.raises(NotFound, match="there is nothing to restore"):
            await repository.restore("gone")
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


def test_an_upload_may_leave_latest_where_it_is(database_url: str, tmp_path: Path) -> None:
    async def scenario(repository: Repository) -> None:
        await repository.publish(version("m", tmp_path, becomes_latest=False))
        await repository.publish(version("m", tmp_path, becomes_latest=False))
        assert (await repository.get(Reference("m"))).number == 1
        await repository.publish(version("m", tmp_path))
        assert (await repository.get(Reference("m"))).number == 3

    run(database_url, scenario)


def test_identical_bytes_are_recognised(database_url: str, tmp_path: Path) -> None:
    async def scenario(repository: Repository) -> None:
        first = await repository.publish(version("m", tmp_path, bundle=b"a"))
        other = await repository.publish(version("m", tmp_path, bundle=b"b"))
        again = await repository.publish(version("m", tmp_path, bundle=b"a"))
        elsewhere = await repository.publish(version("n", tmp_path, bundle=b"a"))
        identical = [record.identical_to for record in (first, other, again, elsewhere)]
        assert identical == [None, None, 1, None]
        assert again.number == 3

    run(database_url, scenario)


def test_a_version_is_deleted_and_restored(database_url: str, tmp_path: Path) -> None:
    async def scenario(repository: Repository) -> None:
        for _ in range(3):
            await repository.publish(version("m", tmp_path))
        await repository.delete("m", 3)
        assert (await repository.get(Reference("m"))).number == 2
        with pytest.raises(NotFound, match="has versions 1, 2 and aliases latest"):
            await repository.get(Reference("m", number=3))
        await repository.restore("m", 3)
        assert (await repository.get(Reference("m", number=3))).number == 3
        assert (await repository.get(Reference("m"))).number == 2, "what came back is not promoted"
        await repository.delete("m")
        assert await repository.names() == []
        assert (await repository.publish(version("m", tmp_path))).number == 4, "a number is never given twice"
        await repository.restore("m")
        assert [record.number for record in await repository.versions("m")] == [4, 3, 2, 1]

    run(database_url, scenario)


def test_what_an_alias_points_at_is_deleted_only_by_force(database_url: str, tmp_path: Path) -> None:
    async def scenario(repository: Repository) -> None:
        for _ in range(2):
            await repository.publish(version("m", tmp_path))
        await repository.set_alias("m", "production", 1)
        for number in (1, None):
            with pytest.raises(Conflict, match="m@production is version 1: move the alias first, or delete by force"):
                await repository.delete("m", number)
        await repository.delete("m", 1, force=True)
        with pytest.raises(NotFound):
            await repository.get(parse_reference("m@production"))
        await repository.restore("m", 1)
        assert (await repository.get(parse_reference("m@production"))).number == 1
        await repository.delete_alias("m", "production")
        assert await repository.aliases("m") == {"latest": 2}
        with pytest.raises(Conflict, match="latest"):
            await repository.delete_alias("m", "latest")
        with pytest.raises(NotFound):
            await repository.delete_alias("m", "production")

    run(database_url, scenario)


def test_models_are_filtered_sorted_and_paged(database_url: str, tmp_path: Path) -> None:
    async def scenario(repository: Repository) -> None:
        await repository.publish(version("top_muon", tmp_path, owner="ada", tags=["run3", "best"]))
        await repository.publish(version("top_electron", tmp_path, owner="bob", tags=["run3"]))
        await repository.publish(version("higgs", tmp_path, owner="ada", framework="keras"))

        async def names(**wanted: Any) -> list[str]:
            return [record.name for record in await repository.latest(Filter(**wanted))]

        assert await names() == ["higgs", "top_electron", "top_muon"]
        assert await names(name="top") == ["top_electron", "top_muon"]
        assert await names(name="top_m") == ["top_muon"]
        assert await names(name="%") == []
        assert await names(tag="run3", owner="ada") == ["top_muon"]
        assert await names(framework="keras") == ["higgs"]
        assert await names(sort="-name", limit=1, offset=1) == ["top_electron"]
        assert await names(sort="-created") == ["higgs", "top_electron", "top_muon"]
        with pytest.raises(InvalidRequest, match="sort 'colour' is not known: expected one of name"):
            await names(sort="colour")
        await repository.describe(Reference("higgs"), "found", ["run3"])
        assert (await repository.get(Reference("higgs"))).tags == ("run3",)
        assert (await repository.get(Reference("higgs"))).description == "found"

    run(database_url, scenario)


def test_a_registry_is_carried_elsewhere_byte_for_byte(database_url: str, tmp_path: Path) -> None:
    async def scenario(repository: Repository) -> None:
        for number in (1, 2):
            await repository.publish(
                version("m", tmp_path, bundle=os.urandom(CHUNK_SIZE + number), tags=["a"], metrics={"auc": 0.9})
            )
        await repository.publish(version("n", tmp_path))
        await repository.set_alias("m", "production", 1)
        assert await export_models(repository, ["m", "n"], tmp_path / "out") == 3
        with pytest.raises(InvalidRequest, match="is not empty"):
            await export_models(repository, ["m"], tmp_path / "out")
        assert await import_models(repository, tmp_path / "out") == (0, 3)
        other = Database(f"sqlite:///{tmp_path / 'other.db'}")
        await other.upgrade()
        elsewhere = Repository(other)
        assert await import_models(elsewhere, tmp_path / "out") == (3, 0)
        assert await elsewhere.aliases("m") == {"latest": 2, "production": 1}
        for mine, theirs in zip(await repository.versions("m"), await elsewhere.versions("m"), strict=True):
            assert (mine.bundle_digest, mine.tags, mine.metrics) == (theirs.bundle_digest, theirs.tags, theirs.metrics)
            assert mine.created_at == theirs.created_at
        assert [finding async for finding in find_inconsistencies(other)] == []
        assert (await elsewhere.publish(version("m", tmp_path))).number == 3
        await elsewhere.publish(version("k", tmp_path))
        await repository.publish(version("k", tmp_path, bundle=b"other"))
        await export_models(elsewhere, ["k", "m"], tmp_path / "back")
        with pytest.raises(Conflict, match="version 1 of model 'k' is here with other bytes: nothing is imported"):
            await import_models(repository, tmp_path / "back")
        assert len(await repository.versions("m")) == 2
        await other.close()

    run(database_url, scenario)


def test_a_damaged_export_is_refused(tmp_path: Path) -> None:
    async def scenario(repository: Repository) -> None:
        record = await repository.publish(version("m", tmp_path))
        await export_models(repository, ["m"], tmp_path / "out")
        (tmp_path / "out" / "artifacts" / record.serving_digest).write_bytes(b"evil")
        with pytest.raises(InvalidRequest, match="does not match its digest"):
            await import_models(repository, tmp_path / "out")
        (tmp_path / "out" / "registry.json").write_text('{"format": 1}')
        with pytest.raises(InvalidRequest, match="expected what tfaas export writes"):
            await import_models(repository, tmp_path / "out")
        with pytest.raises(InvalidRequest, match="holds no export"):
            await import_models(repository, tmp_path / "nothing")

    run(f"sqlite:///{tmp_path / 'r.db'}", scenario)


def test_every_inconsistency_is_named(database_url: str, tmp_path: Path) -> None:
    async def damage(repository: Repository, statement: str, **values: object) -> list[str]:
        async with repository.database.write() as session:
            await session.execute(text(statement).bindparams(**values))
        return [finding async for finding in find_inconsistencies(repository.database)]

    async def scenario(repository: Repository) -> None:
        record = await repository.publish(version("m", tmp_path, bundle=b"m"))
        await repository.publish(version("n", tmp_path, bundle=b"n"))
        assert [finding async for finding in find_inconsistencies(repository.database)] == []
        found = await damage(repository, "UPDATE models SET last_version = 0 WHERE name = 'm'")
        assert found == ["model m: version 1 is beyond the last one, 0"]
        found = await damage(repository, "DELETE FROM aliases WHERE model_id = :id", id=record.id)
        assert found[-1] == "model m: has versions but no latest"
        found = await damage(repository, "UPDATE aliases SET model_id = :id", id=record.id)
        assert "alias m@latest: points at version 1 of another model" in found
        found = await damage(repository, "UPDATE chunks SET data = :data WHERE digest = :it", data=b"x",
                             it=record.bundle_digest)  # fmt: skip
        assert found[-1].endswith(f"artifact {record.bundle_digest} does not match its digest; needed by m:1")
        found = await damage(repository, "DELETE FROM artifact_chunks WHERE artifact_digest = :it",
                             it=record.bundle_digest)  # fmt: skip
        assert f"artifact {record.bundle_digest} does not match its digest after 0 blocks; needed by m:1" in found

    run(database_url, scenario)
