"""Kills a process at every statement of an operation on a registry, and looks at what is left; run as a script."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from sqlalchemy import event, text

from tfaas.registry import Database, NewVersion, Repository
from tfaas.registry.maintenance import find_inconsistencies

Operation = Callable[[Repository], Awaitable[object]]


def main(url: str, folder: Path) -> None:
    def version(weight: int) -> NewVersion:
        path = folder / f"bytes-{weight}"
        path.write_bytes(bytes([weight]) * 3_000_000)
        return NewVersion("m", "onnx", "onnx", {}, {}, path, path, tags=["a", "b"])

    asyncio.run(_with(url, lambda repository: repository.database.upgrade("0001")))
    _kill_at_every_statement(url, "migration", lambda repository: repository.database.upgrade())
    for weight in (1, 2):
        asyncio.run(_with(url, lambda repository, weight=weight: repository.publish(version(weight))))
    operations: dict[str, Operation] = {
        "upload": lambda repository: repository.publish(version(3)),
        "promotion": lambda repository: repository.set_alias("m", "production", 1),
        "rollback": lambda repository: repository.set_alias("m", "production", 2),
        "deletion": lambda repository: repository.delete("m", 3),
        "restoration": lambda repository: repository.restore("m", 3),
    }
    for name, operation in operations.items():
        _kill_at_every_statement(url, name, operation)


def _kill_at_every_statement(url: str, name: str, operation: Operation) -> None:
    before = asyncio.run(_with(url, _state))
    statement = 0
    while True:
        statement += 1
        child = os.fork()
        if not child:
            asyncio.run(_with(url, operation, statement))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        after = asyncio.run(_with(url, _state))
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        if after != before:
            # The last statement is the commit itself: killed right after it, the change is there as a whole.
            before = after
            asyncio.run(_with(url, operation))
            break
        assert asyncio.run(_with(url, _findings)) == [], (name, statement)
    assert asyncio.run(_with(url, _findings)) == [], name
    assert statement > 3, (name, statement)
    print(name, statement)


async def _with(url: str, operation: Operation, kill_at: int = 0) -> object:
    database = Database(url)
    if kill_at:
        _kill_at(database, kill_at)
    try:
        return await operation(Repository(database))
    finally:
        await database.close()


def _kill_at(database: Database, statement: int) -> None:
    """Kill this process before the given statement, or before the commit after the last one."""
    count = 0

    def step(*_: object) -> None:
        nonlocal count
        count += 1
        if count == statement:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(database.engine.sync_engine, "before_cursor_execute", step)
    event.listen(database.engine.sync_engine, "commit", step)


async def _state(repository: Repository) -> object:
    """All that a client can see."""
    async with repository.database.engine.connect() as connection:
        try:
            tables = [
                (await connection.execute(text(f"SELECT * FROM {table}"))).all()
                for table in ("models", "aliases", "artifacts", "artifact_chunks", "registry_state", "alembic_version")
            ]
            columns = "id, model_id, number, bundle_digest, serving_digest"
            versions = (await connection.execute(text(f"SELECT {columns} FROM versions ORDER BY id"))).all()
        finally:
            await connection.rollback()
    deleted = []
    if tables[-1][0][0] != "0001":
        async with repository.database.engine.connect() as connection:
            deleted = (await connection.execute(text("SELECT id FROM versions WHERE deleted_at IS NOT NULL"))).all()
    return [sorted(map(tuple, rows)) for rows in tables], list(map(tuple, versions)), list(map(tuple, deleted))


async def _findings(repository: Repository) -> list[str]:
    async with repository.database.engine.connect() as connection:
        revision = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one()
    if revision == "0001":
        return []  # the tables are those of an older release as a whole
    return [finding async for finding in find_inconsistencies(repository.database)]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
