"""`tfaas serve`, and the commands of `tfaas.commands`."""

import sys
import traceback
from typing import Any

import click

from tfaas import __version__
from tfaas.commands import COMMANDS, data_dir_option, database_option, read_settings
from tfaas.errors import TFaaSError

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
@click.option("--tls-certificate", metavar="FILE", help="Serve HTTPS with this certificate and chain (PEM).")
@click.option("--tls-key", metavar="FILE", help="Its key (PEM), where the certificate's file does not hold it.")
@click.option("--log-level", help="debug, info, warning or error (default: info).")
def serve(**options: Any) -> None:
    """Start the server; an empty data folder is filled with what it needs."""
    from tfaas.serve import serve as run

    run(read_settings(options))


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
