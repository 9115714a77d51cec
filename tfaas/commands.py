"""What an operator does with the registry: one function a command, each with a call of the registry in it."""

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from tfaas.errors import InvalidRequest
from tfaas.registry import LATEST, Database, Filter, Reference, Repository, VersionRecord, check_name, parse_reference
from tfaas.registry.artifacts import stream
from tfaas.settings import Settings

Result = TypeVar("Result")

data_dir_option = click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the default database.")
database_option = click.option("--database", help="SQLAlchemy URL (sqlite:///FILE, postgresql://USER@HOST/NAME).")
force_option = click.option("--force", is_flag=True, help="Also where an alias other than latest points at it.")


@click.command()
@click.argument("bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--latest/--no-latest", default=True, help="Whether `latest` moves to the new version.")
@data_dir_option
@database_option
def upload(bundle: Path, latest: bool, **options: Any) -> None:
    """Prove BUNDLE (a .tar.gz with one folder named as the model) and publish it as a new version."""
    from tfaas.bundles.publish import current_user, publish

    settings = read_settings(options)

    async def run(repository: Repository) -> None:
        with tempfile.TemporaryDirectory(prefix="tfaas-") as scratch:
            record = await publish(
                repository, bundle, Path(scratch), settings.proof_limits, current_user(), becomes_latest=latest
            )
        click.echo(f"{record.name}:{record.number} is served by {record.runtime}: {record.runtime_reason}")
        if record.identical_to is not None:
            click.echo(f"its bytes are those of {record.name}:{record.identical_to}")

    _with_repository(settings, run, makes_registry=True)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--explain", metavar="MODEL", help="Say which runtime serves MODEL, and why.")
@click.option("--name", default="", help="Part of the name.")
@click.option("--tag", default="", help="Only models whose latest version has this tag.")
@click.option("--owner", default="", help="Only models of this owner.")
@click.option("--framework", default="", help="Only models of this framework.")
@click.option("--sort", default="name", show_default=True, help="name, created, version, owner, framework; - to turn.")
@data_dir_option
@database_option
def models(as_json: bool, explain: str | None, data_dir: Path | None, database: str | None, **wanted: str) -> None:
    """List the latest version of every model."""

    async def run(repository: Repository) -> None:
        if explain:
            click.echo(_explained(await repository.get(parse_reference(explain))))
        else:
            _show(await repository.latest(Filter(**wanted)), as_json)  # type: ignore[arg-type]

    _with_repository(read_settings({"data_dir": data_dir, "database": database}), run)


@click.command()
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@data_dir_option
@database_option
def versions(model: str, as_json: bool, **options: Any) -> None:
    """List the versions of MODEL, newest first, with those that are deleted and can be restored."""

    async def run(repository: Repository) -> None:
        records = await repository.versions(check_name(model), deleted=True)
        aliases = await repository.aliases(model)
        if as_json:
            _show(records, as_json)
            return
        for record in records:
            names = ", ".join(alias for alias, number in aliases.items() if number == record.number)
            state = "deleted" if record.deleted_at else "quarantined" if record.is_quarantined else names
            click.echo(f"{record.name}:{record.number}\t{record.created_at:%Y-%m-%d %H:%M}\t{record.owner}\t{state}")

    _with_repository(read_settings(options), run)


@click.command()
@click.argument("model")
@click.argument("alias")
@data_dir_option
@database_option
def promote(model: str, alias: str, **options: Any) -> None:
    """Let ALIAS point at MODEL (such as `single_top:3` or `single_top@latest`); the older version is a rollback."""

    async def run(repository: Repository) -> None:
        record = await repository.get(parse_reference(model))
        await repository.set_alias(record.name, alias, record.number)
        click.echo(f"{record.name}@{alias} is {record.name}:{record.number}")

    _with_repository(read_settings(options), run)


@click.command()
@click.argument("model")
@force_option
@data_dir_option
@database_option
def delete(model: str, force: bool, **options: Any) -> None:
    """Delete MODEL with all its versions, the version `NAME:3`, or the alias `NAME@production`."""

    async def run(repository: Repository) -> None:
        reference = parse_reference(model)
        if "@" in model:
            await repository.delete_alias(reference.name, reference.alias)
        else:
            await repository.delete(reference.name, reference.number, force)
        click.echo(f"{model} is deleted")

    _with_repository(read_settings(options), run)


@click.command()
@click.argument("model")
@data_dir_option
@database_option
def restore(model: str, **options: Any) -> None:
    """Take back the deletion of MODEL or of the version `NAME:3`."""

    async def run(repository: Repository) -> None:
        reference = _version_or_model(model)
        await repository.restore(reference.name, reference.number)
        click.echo(f"{model} is restored")

    _with_repository(read_settings(options), run)


@click.command()
@click.argument("model")
@data_dir_option
@database_option
def release(model: str, **options: Any) -> None:
    """Serve MODEL again, which is quarantined because it ended the process that served it."""

    async def run(repository: Repository) -> None:
        record = await repository.release(parse_reference(model))
        click.echo(f"{record.name}:{record.number} is served again")

    _with_repository(read_settings(options), run)


@click.command()
@click.argument("model")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@data_dir_option
@database_option
def download(model: str, file: Path, **options: Any) -> None:
    """Write the bundle of MODEL to FILE, byte for byte as it was uploaded."""

    async def run(repository: Repository) -> None:
        record = await repository.get(parse_reference(model))
        partial = file.with_name(f".{file.name}.partial")
        try:
            with partial.open("wb") as target:
                async for block in stream(repository.database, record.bundle_digest):
                    target.write(block)
            partial.replace(file)
        except OSError as error:
            raise InvalidRequest(f"{file}: {error.strerror}") from error
        finally:
            partial.unlink(missing_ok=True)
        click.echo(f"{record.name}:{record.number} is in {file}, {record.bundle_size} bytes")

    _with_repository(read_settings(options), run)


@click.command()
@click.option("--older-than", default=0.0, show_default=True, help="Days since the deletion.", type=click.FloatRange(0))
@data_dir_option
@database_option
def gc(older_than: float, **options: Any) -> None:
    """Remove for good what was deleted, and the bytes that nothing needs any more."""
    from tfaas.registry.maintenance import collect_garbage

    async def run(repository: Repository) -> None:
        found = await collect_garbage(repository, timedelta(days=older_than))
        click.echo(f"{found.versions} versions and {found.artifacts} artifacts of {found.bytes} bytes are removed")

    _with_repository(read_settings(options), run)


@click.command("export")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.argument("model", nargs=-1)
@data_dir_option
@database_option
def export_(folder: Path, model: tuple[str, ...], **options: Any) -> None:
    """Write the named models, or all of them, to FOLDER with versions, aliases and bytes."""
    from tfaas.registry.maintenance import export_models

    async def run(repository: Repository) -> None:
        names = [check_name(name) for name in model] or await repository.names()
        count = await export_models(repository, names, folder)
        click.echo(f"{count} versions of {len(names)} models are in {folder}")

    _with_repository(read_settings(options), run)


@click.command("import")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@data_dir_option
@database_option
def import_(folder: Path, **options: Any) -> None:
    """Take in what `tfaas export` wrote to FOLDER: all of it or nothing. It is not proven again."""
    from tfaas.registry.maintenance import import_models

    async def run(repository: Repository) -> None:
        taken, known = await import_models(repository, folder)
        click.echo(f"{taken} versions are imported, {known} were here already")

    _with_repository(read_settings(options), run, makes_registry=True)


@click.group()
def db() -> None:
    """Look after the registry's database."""


@db.command()
@data_dir_option
@database_option
def upgrade(**options: Any) -> None:
    """Bring the tables to this release; does nothing when they are there already."""
    asyncio.run(upgrade_registry(read_settings(options)))
    click.echo("the registry is up to date")


@db.command()
@data_dir_option
@database_option
def check(**options: Any) -> None:
    """Read all of the registry and name everything in it that should not be; exit code 1 where there is something."""
    from tfaas.registry.maintenance import find_inconsistencies

    async def run(repository: Repository) -> int:
        found = 0
        async for finding in find_inconsistencies(repository.database):
            click.echo(finding)
            found += 1
        return found

    found = _with_repository(read_settings(options), run)
    if found:
        raise click.exceptions.Exit(1)
    click.echo("the registry is consistent")


COMMANDS = (upload, models, versions, promote, delete, restore, release, download, gc, export_, import_, db)


def read_settings(options: dict[str, Any]) -> Settings:
    return Settings.load(**{name: value for name, value in options.items() if value is not None})


async def upgrade_registry(settings: Settings) -> None:
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRequest(f"data folder {settings.data_dir}: {error.strerror}") from error
    database = Database(settings.database_url)
    try:
        await database.upgrade()
    finally:
        await database.close()


def _with_repository(
    settings: Settings, run: Callable[[Repository], Awaitable[Result]], makes_registry: bool = False
) -> Result:
    """Run a command on the registry, which only those make that put something into it."""

    async def connected() -> Result:
        database = Database(settings.database_url)
        if not makes_registry and database.file is not None and not database.file.exists():
            raise InvalidRequest(f"there is no registry {database.file}: expected the --data-dir of a server")
        await upgrade_registry(settings)
        try:
            return await run(Repository(database))
        finally:
            await database.close()

    return asyncio.run(connected())


def _version_or_model(text: str) -> Reference:
    reference = parse_reference(text)
    if reference.alias != LATEST or "@" in text:
        raise InvalidRequest(f"{text!r} names an alias: expected NAME or NAME:3")
    return reference


def _show(records: list[VersionRecord], as_json: bool) -> None:
    if as_json:
        rows = [
            {
                "name": record.name, "version": record.number, "framework": record.framework,
                "runtime": record.runtime, "reason": record.runtime_reason, "owner": record.owner,
                "tags": record.tags, "description": record.description, "metrics": record.metrics,
                "digest": record.bundle_digest, "size": record.bundle_size,
                "created": record.created_at.isoformat(), "deleted": _iso(record.deleted_at),
            }
            for record in records
        ]  # fmt: skip
        click.echo(json.dumps(rows, indent=1))
        return
    for r in records:
        click.echo(f"{r.name}:{r.number}\t{r.framework}\t{r.runtime}\t{r.bundle_size} bytes\t{r.runtime_reason}")


def _iso(time: datetime | None) -> str | None:
    return time.isoformat() if time else None


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
