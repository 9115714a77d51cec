"""The database behind the registry: connections, transactions and migrations."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event, func, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from tfaas.errors import InvalidRequest, RegistryUnavailable

ASYNC_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
BUSY_TIMEOUT_SECONDS = 30
CONNECT_SECONDS, COMMAND_SECONDS = 5, 60
# PostgreSQL's classes for lost connections, exhausted resources, and a server that starts or stops.
UNREACHABLE_STATES = ("08", "53", "57P")
UPGRADE_LOCK = 20180801


class Database:
    """One pool of connections. Reading and writing each run in a transaction of their own."""

    def __init__(self, url: str) -> None:
        self.url = async_url(url)
        # Writers wait here for their turn, where they hold no connection that readers need.
        self._turn = asyncio.Lock()
        if self.url.get_backend_name() == "sqlite":
            self.engine = self._reading = _sqlite_engine(self.url)
        else:
            timeouts = {"timeout": CONNECT_SECONDS, "command_timeout": COMMAND_SECONDS}
            self.engine = create_async_engine(self.url, pool_pre_ping=True, connect_args=timeouts)
            self._reading = self.engine.execution_options(isolation_level="REPEATABLE READ")

    @property
    def file(self) -> Path | None:
        """The file of SQLite; None for a database that is somewhere else."""
        return Path(str(self.url.database)) if self.url.get_backend_name() == "sqlite" else None

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session that sees one consistent state."""
        with _translated(self.url):
            async with AsyncSession(self._reading) as session:
                yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A session that commits when the block ends and leaves nothing when it raises."""
        with _translated(self.url):
            engine = self.engine.execution_options(write=True)
            async with self._turn, AsyncSession(engine, expire_on_commit=False) as session, session.begin():
                yield session

    async def upgrade(self, revision: str = "head") -> None:
        """Bring the tables to `revision`; does nothing when they are there already."""
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
        with _translated(self.url):
            async with self.engine.execution_options(write=True).begin() as connection:
                if self.url.get_backend_name() == "postgresql":
                    # Of several servers that start at once, one makes the tables.
                    await connection.execute(select(func.pg_advisory_xact_lock(UPGRADE_LOCK)))
                await connection.run_sync(_migrate, revision)

    async def close(self) -> None:
        await self.engine.dispose()


def async_url(text: str) -> URL:
    """The URL with the driver that this package uses; raises InvalidRequest for other databases."""
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise InvalidRequest(
            f"database {text!r} is no URL: expected sqlite:///FILE or postgresql://USER@HOST/NAME"
        ) from error
    if not url.database:
        raise InvalidRequest(f"database {text!r} names none: expected sqlite:///FILE or postgresql://USER@HOST/NAME")
    driver = ASYNC_DRIVERS.get(url.get_backend_name())
    if driver is None:
        raise InvalidRequest(f"database {text!r} is not supported: expected sqlite or postgresql")
    return url.set(drivername=driver)


def migrations_folder() -> Path:
    """Where Alembic's scripts are: inside an installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


def _migrate(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _sqlite_engine(url: URL) -> AsyncEngine:
    engine = create_async_engine(url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})

    @event.listens_for(engine.sync_engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the "begin" event below opens the transactions
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that starts by reading and writes later can fail without waiting for its turn.
        immediate = connection.get_execution_options().get("write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


class _translated:
    """Turns a database that can't be reached into RegistryUnavailable."""

    def __init__(self, url: URL) -> None:
        self.url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, _traceback: object) -> None:
        if _is_unreachable(error):
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            shown = self.url.set(drivername=self.url.get_backend_name()).render_as_string(hide_password=True)
            raise RegistryUnavailable(f"registry {shown} can't be used: {reason}") from error


def _is_unreachable(error: BaseException | None) -> bool:
    if isinstance(error, DBAPIError):
        state = str(getattr(error.orig, "sqlstate", None) or "")
        return (
            isinstance(error, OperationalError | InterfaceError)
            or type(error) is DatabaseError  # a file that is no database
            or error.connection_invalidated
            or state.startswith(UNREACHABLE_STATES)
        )
    if isinstance(error, PoolTimeoutError):
        return True
    # asyncio's own error when every address of a host refuses has no number.
    return isinstance(error, ConnectionError | socket.gaierror | TimeoutError) or (
        isinstance(error, OSError) and error.errno is None
    )
