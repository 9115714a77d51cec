"""`tfaas serve | upload | models | promote | delete | db`: the server and its operator's commands."""

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tfaas import __version__
from tfaas.errors import InvalidRequest, TFaaSError
from tfaas.registry import Database, Repository, VersionRecord
from tfaas.settings import Settings

Result = TypeVar("Result")
INTERRUPTED = 130

data_dir_option = click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the default database.")
database_option = click.option("--database", help="SQLAlchemy URL (sqlite:///FILE, postgresql://USER@HOST/NAME).")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tfaas")
def cli() -> None:
    """Serve models, and look after the registry they are in.

    Every option is also a setting TFAAS_… in the environment; docs/settings.md lists them all.
    """


@cli.command()
@click.option("--host", help="Address to listen on (default: 127.0.0.1).")
@click.option("--port", type=int, help="Port to listen on (default: 8083).")
@data_dir_option
@database_option
@click.option("--workers", type=int, help="Server processes (default: 1).")
@click.option("--preload", help="Models, separated by commas, to load at start and to keep in memory.")
@click.option("--base-path", help="Prefix of every URL, such as /tfaas.")
@click.option("--log-level", help="debug, info, warning or error (default: info).")
def serve(**options: Any) -> None:
    """Start the server; an empty data folder is filled with what it needs."""
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    from tfaas.api.connection import Connection
    from tfaas.observability.logs import configure_logs

    settings = _settings(options)
    configure_logs(settings.log_level)
    listener = _listen(settings)
    asyncio.run(_prepare(settings))
    os.environ.update(settings.environment())
    config = uvicorn.Config(
        "tfaas.app:create_app_from_environment",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        http=Connection,
        ws="none",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        log_config=None,
        timeout_graceful_shutdown=settings.shutdown_timeout,
    )
    # uvicorn drains and then raises the signal again. Having drained is success, and a model that is still running
    # must not keep the process.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if settings.workers > 1:
        Multiprocess(config, sockets=[listener]).run()
        return
    server = uvicorn.Server(config)
    server.run(sockets=[listener])
    if not server.started:
        raise RuntimeError("the server did not start; its log says why")


@cli.command()
@click.argument("bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@data_dir_option
@database_option
def upload(bundle: Path, **options: Any) -> None:
    """Prove BUNDLE (a .tar.gz with one folder named as the model) and publish it as a new version."""
    from tfaas.bundles.publish import current_user, publish

    settings = _settings(options)

    async def run(repository: Repository) -> None:
        with tempfile.TemporaryDirectory(prefix="tfaas-") as scratch:
            record = await publish(repository, bundle, Path(scratch), settings.proof_limits, current_user())
        click.echo(f"{record.name}:{record.number} is served by {record.runtime}: {record.runtime_reason}")

    _with_repository(settings, run)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--explain", metavar="NAME", help="Say which runtime serves the model NAME, and why.")
@data_dir_option
@database_option
def models(as_json: bool, explain: str | None, **options: Any) -> None:
    """List the latest version of every model."""
    from tfaas.registry import parse_reference

    async def run(repository: Repository) -> None:
        if explain:
            click.echo(_explained(await repository.get(parse_reference(explain))))
            return
        records = await repository.latest()
        if as_json:
            rows = [
                {"name": r.name, "version": r.number, "framework": r.framework, "runtime": r.runtime,
                 "reason": r.runtime_reason, "digest": r.bundle_digest, "size": r.bundle_size,
                 "created": r.created_at.isoformat()}
                for r in records
            ]  # fmt: skip
            click.echo(json.dumps(rows, indent=1))
            return
        for r in records:
            click.echo(f"{r.name}:{r.number}\t{r.framework}\t{r.runtime}\t{r.bundle_size} bytes\t{r.runtime_reason}")

    _with_repository(_settings(options), run)


@cli.command()
@click.argument("model")
@click.argument("alias")
@data_dir_option
@database_option
def promote(model: str, alias: str, **options: Any) -> None:
    """Let ALIAS point at MODEL (such as `single_top:3` or `single_top@latest`)."""
    from tfaas.registry import parse_reference

    async def run(repository: Repository) -> None:
        record = await repository.get(parse_reference(model))
        await repository.set_alias(record.name, alias, record.number)
        click.echo(f"{record.name}@{alias} is {record.name}:{record.number}")

    _with_repository(_settings(options), run)


@cli.command()
@click.argument("model")
@data_dir_option
@database_option
def delete(model: str, **options: Any) -> None:
    """Remove MODEL with all its versions."""

    async def run(repository: Repository) -> None:
        await repository.delete(model)
        click.echo(f"{model} is deleted")

    _with_repository(_settings(options), run)


@cli.group()
def db() -> None:
    """Look after the registry's database."""


@db.command()
@data_dir_option
@database_option
def upgrade(**options: Any) -> None:
    """Bring the tables to this release; does nothing when they are there already."""
    settings = _settings(options)
    asyncio.run(_upgrade(settings))
    click.echo("the registry is up to date")


def main() -> None:
    """Exit codes: 0 done, 2 the user can mend it, 1 our fault, 130 interrupted."""
    try:
        cli.main(standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        print(f"tfaas: {error.format_message()}", file=sys.stderr)
        sys.exit(2)
    except TFaaSError as error:
        print(f"tfaas: {error}", file=sys.stderr)
        sys.exit(2)
    except Exception:  # noqa: BLE001 - the last place where an error can be told
        traceback.print_exc()
        sys.exit(1)


def _settings(options: dict[str, Any]) -> Settings:
    return Settings.load(**{name: value for name, value in options.items() if value is not None})


async def _prepare(settings: Settings) -> None:
    """All that can be wrong with the registry is told before a server has started."""
    await _upgrade(settings)
    database = Database(settings.database_url)
    try:
        for reference in settings.preloaded:
            await Repository(database).get(reference)
    finally:
        await database.close()


async def _upgrade(settings: Settings) -> None:
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRequest(f"data folder {settings.data_dir}: {error.strerror}") from error
    database = Database(settings.database_url)
    try:
        await database.upgrade()
    finally:
        await database.close()


def _explained(record: VersionRecord) -> str:
    def tensors(kind: str) -> str:
        shown = []
        for spec in record.signature[kind]:
            shape = ", ".join("n" if size is None else str(size) for size in spec["shape"])
            shown.append(f"{spec['name']} {spec['dtype']} ({shape})")
        return ", ".join(shown)

    serving = record.manifest.get("serving", {})
    options = ", ".join(f"{name} {value}" for name, value in serving.items() if value is not None)
    return "\n".join(
        (
            f"{record.name}:{record.number}",
            f"  uploaded as  {record.framework} {record.framework_version}".rstrip(),
            f"  served by    {record.runtime}: {record.runtime_reason}",
            f"  inputs       {tensors('inputs')}",
            f"  outputs      {tensors('outputs')}",
            f"  options      {options or 'those of the server'}",
        )
    )


def _with_repository(settings: Settings, run: Callable[[Repository], Awaitable[Result]]) -> Result:
    async def connected() -> Result:
        await _upgrade(settings)
        database = Database(settings.database_url)
        try:
            return await run(Repository(database))
        finally:
            await database.close()

    return asyncio.run(connected())


def _listen(settings: Settings) -> socket.socket:
    """A bound socket, so that a port in use is told before anything has started."""
    try:
        return socket.create_server(
            (settings.host, settings.port),
            family=socket.AF_INET6 if ":" in settings.host else socket.AF_INET,
            backlog=2048,
        )
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise InvalidRequest(f"can't listen on {settings.host}:{settings.port}: {reason}") from error
