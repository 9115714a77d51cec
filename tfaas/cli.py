"""`tfaas serve`, and the commands of `tfaas.commands`."""

import asyncio
import os
import signal
import socket
import sys
import traceback
from typing import Any

import click

from tfaas import __version__
from tfaas.commands import COMMANDS, data_dir_option, database_option, read_settings, upgrade_registry
from tfaas.errors import InvalidRequest, TFaaSError
from tfaas.registry import Database, Repository
from tfaas.settings import Settings

INTERRUPTED = 130


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

    settings = read_settings(options)
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


for command in COMMANDS:
    cli.add_command(command)


def main() -> None:
    """Exit codes: 0 done, 2 the user can mend it, 1 our fault, 130 interrupted."""
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
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


async def _prepare(settings: Settings) -> None:
    """All that can be wrong with the registry is told before a server has started."""
    await upgrade_registry(settings)
    database = Database(settings.database_url)
    try:
        for reference in settings.preloaded:
            await Repository(database).get(reference)
    finally:
        await database.close()


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
