"""The `tfaas-client` command: parses, calls the client, prints.

Besides its commands it understands the flat options of the original TFaaS client, such as
`tfaas-client --url=URL --predict=input.json`, which print JSON.
"""

import argparse
import json
import logging
import math
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from ._addresses import RETRIES
from ._client import Client
from ._commands import COMMANDS, FLAT_COMMANDS
from ._completion import SCRIPTS, PrintCompletion
from ._exceptions import InputError, MalformedResponseError, ServerError, TFaaSError

DONE, OUR_FAULT, MENDABLE = 0, 1, 2
DEFAULT_URL = "http://localhost:8083"


class Parser(argparse.ArgumentParser):
    """Refuses wrong arguments with one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(MENDABLE, f"{self.prog}: {' '.join(message.split())} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    try:
        parser = _parser()
        arguments = parser.parse_args(argv)
        run = _chosen_command(parser, arguments)
        if arguments.verbose:
            logging.basicConfig(level=logging.INFO, format="%(message)s")
        with _connect(arguments) as client:
            answer = run(client, arguments)
        as_json = arguments.json or not arguments.command
        if answer is not None:
            print(json.dumps(answer.value) if as_json else answer.text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough; keeps the interpreter from flushing into the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except TFaaSError as error:
        return _failed(error, OUR_FAULT if isinstance(error, ServerError | MalformedResponseError) else MENDABLE)
    except Exception as error:  # noqa: BLE001 - people get one line, whatever went wrong
        return _failed(f"{type(error).__name__}: {error}", OUR_FAULT)
    return DONE


def _parser() -> Parser:
    parser = Parser(
        prog="tfaas-client",
        description="Client of the TFaaS inference server.",
        epilog="Exit codes: 0 done, 1 the server failed, 2 you can mend it, 130 interrupted.",
        allow_abbrev=False,
    )
    _add_connection_options(parser)
    parser.set_defaults(
        url=os.environ.get("TFAAS_URL", DEFAULT_URL),
        json=False,
        timeout=None,
        retries=RETRIES,
        verbose=False,
        key=None,
        cert=None,
        capath=None,
    )
    flat = parser.add_argument_group("options of the original client, instead of a command; they print JSON")
    flat.add_argument("--upload", dest="flat_upload", metavar="FILE", help="name, model, params, labels in JSON")
    flat.add_argument("--bundle", dest="flat_bundle", metavar="FILE", help="a .tar.gz file")
    flat.add_argument("--predict", dest="flat_predict", metavar="FILE", help="keys, values, model in JSON")
    flat.add_argument("--models", dest="flat_models", action="store_true")
    flat.add_argument("--delete", dest="flat_delete", metavar="MODEL")
    flat.add_argument("--image", dest="flat_image", metavar="FILE", help="a PNG or JPEG")
    flat.add_argument("--model", dest="flat_model", metavar="MODEL", help="the model for --predict or --image")
    parser.add_argument(
        "--completion", choices=[*SCRIPTS], action=PrintCompletion, help="print what the shell evaluates to complete"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(name, help=command.help, allow_abbrev=False)
        _add_connection_options(subparser)
        command.add_options(subparser)
    return parser


def _add_connection_options(parser: argparse.ArgumentParser) -> None:
    """Adds what may stand before and after a command; the defaults are the main parser's."""
    add = partial(parser.add_argument, default=argparse.SUPPRESS)
    add("--url", help=f"bases of servers, separated by commas; default $TFAAS_URL or {DEFAULT_URL}")
    add("--json", action="store_true", help="print JSON")
    add("--timeout", type=_seconds, metavar="SECONDS", help="default 30, for an upload 600")
    add("--retries", type=_count, metavar="N", help=f"how often a request is repeated; default {RETRIES}")
    add("--verbose", action="store_true", help="log the requests on standard error")
    add("--cert", metavar="FILE", help="client certificate in PEM; default the grid proxy, for https")
    add("--key", metavar="FILE", help="its key, when the certificate file does not hold it")
    add("--capath", metavar="PATH", help="trusted authorities, a file or folder; default $X509_CERT_DIR")


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be a positive number of seconds, got {text}")
    return seconds


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must be 0 or more, got {text}")
    return number


def _chosen_command(parser: Parser, arguments: argparse.Namespace) -> Callable[[Client, argparse.Namespace], Any]:
    if arguments.flat_model and not (arguments.flat_predict or arguments.flat_image):
        parser.error("--model goes with --predict or --image")
    chosen = [FLAT_COMMANDS[name] for name in FLAT_COMMANDS if getattr(arguments, name)]
    if arguments.command:
        chosen.append(COMMANDS[arguments.command].run)
    if len(chosen) != 1:
        parser.error(f"one command is expected, got {len(chosen) or 'none'}: {', '.join(COMMANDS)}")
    return chosen[0]


def _connect(arguments: argparse.Namespace) -> Client:
    cert, capath = arguments.cert, arguments.capath
    if arguments.key and not cert:
        raise InputError("--key needs --cert")
    urls = [url.strip() for url in arguments.url.split(",") if url.strip()]
    if any(url.startswith("https:") for url in urls):
        cert = cert or _grid_proxy()
        capath = capath or os.environ.get("X509_CERT_DIR")
    return Client(
        urls,
        timeout=arguments.timeout,
        retries=arguments.retries,
        token=os.environ.get("TFAAS_TOKEN", "").strip() or None,
        cert=(cert, arguments.key) if cert and arguments.key else cert,
        verify=capath or True,
    )


def _grid_proxy() -> str | None:
    """Returns the certificate that grid tools use: $X509_USER_PROXY, else the usual file if there is one."""
    usual = f"/tmp/x509up_u{os.getuid()}"
    return os.environ.get("X509_USER_PROXY") or (usual if Path(usual).is_file() else None)


def _failed(error: object, code: int) -> int:
    print("tfaas-client:", *str(error).split(), file=sys.stderr)
    return code
