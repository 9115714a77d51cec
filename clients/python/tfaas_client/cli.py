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
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn

from ._client import Client
from ._exceptions import InputError, MalformedResponseError, ServerError, TFaaSError
from ._files import ModelFiles, read_event, read_model_files
from ._responses import Prediction, UploadedVersion
from ._tables import field_table, model_table, prediction_table

DONE, OUR_FAULT, MENDABLE, INTERRUPTED = 0, 1, 2, 130
DEFAULT_URL = "http://localhost:8083"


class Answer(NamedTuple):
    """What a command prints: `value` as JSON for programs, `text` for people."""

    value: object
    text: str


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
        print(json.dumps(answer.value) if as_json else answer.text, flush=True)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has seen enough; keeps the interpreter from flushing into the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except TFaaSError as error:
        return _failed(error, OUR_FAULT if isinstance(error, ServerError | MalformedResponseError) else MENDABLE)
    except Exception as error:  # noqa: BLE001 - people get one line, whatever went wrong
        return _failed(f"{type(error).__name__}: {error}", OUR_FAULT)
    return DONE


def _upload(client: Client, arguments: argparse.Namespace) -> Answer:
    form = {key: getattr(arguments, f"upload_{key}") for key in ModelFiles._fields}
    if arguments.path and not any(form.values()):
        return _uploaded(client.upload_bundle(arguments.path))
    if arguments.path or not (form["name"] and form["model"]):
        raise InputError("upload takes either a bundle, or --name and --model with --params and --labels")
    return _uploaded(client.upload(**form))


def _models(client: Client, _: argparse.Namespace) -> Answer:
    models = client.models()
    return Answer(models, model_table(models))


def _params(client: Client, arguments: argparse.Namespace) -> Answer:
    manifest = client.params(arguments.name)
    return Answer(manifest, field_table(manifest))


def _predict(client: Client, arguments: argparse.Namespace) -> Answer:
    event = read_event(arguments.input)
    return _predicted(client.classify(arguments.name, event.row, wire="proto" if arguments.proto else "json"))


def _delete(client: Client, arguments: argparse.Namespace) -> Answer:
    return _deleted(client, arguments.name)


def _status(client: Client, _: argparse.Namespace) -> Answer:
    status = client.status()
    return Answer(status, field_table(status))


def _flat_upload(client: Client, arguments: argparse.Namespace) -> Answer:
    return _uploaded(client.upload(**read_model_files(arguments.flat_upload)._asdict()))


def _flat_bundle(client: Client, arguments: argparse.Namespace) -> Answer:
    return _uploaded(client.upload_bundle(arguments.flat_bundle))


def _flat_delete(client: Client, arguments: argparse.Namespace) -> Answer:
    return _deleted(client, arguments.flat_delete)


def _flat_predict(client: Client, arguments: argparse.Namespace) -> Answer:
    event = read_event(arguments.flat_predict)
    return _predicted(client.classify(arguments.flat_model or event.model, event.row, wire="json"))


def _uploaded(uploaded: UploadedVersion) -> Answer:
    reason = f": {uploaded.reason}" if uploaded.reason else ""
    text = f"{uploaded.model} version {uploaded.version} is served by {uploaded.runtime}{reason}"
    return Answer(asdict(uploaded), text)


def _predicted(prediction: Prediction) -> Answer:
    probabilities = [None if math.isnan(p) else p for p in prediction.probabilities.tolist()]
    return Answer(probabilities, prediction_table(*prediction))


def _deleted(client: Client, model: str) -> Answer:
    client.delete(model)
    return Answer({"deleted": model}, f"{model} is deleted")


def _upload_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", nargs="?", metavar="BUNDLE", help="a .tar.gz file, or a folder to be packed")
    parser.add_argument("--name", dest="upload_name", help="name of the model")
    parser.add_argument("--model", dest="upload_model", metavar="FILE", help=".onnx, .keras or frozen .pb")
    parser.add_argument("--params", dest="upload_params", metavar="FILE", help="manifest in JSON")
    parser.add_argument("--labels", dest="upload_labels", metavar="FILE", help="an output label a line")


def _model_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="MODEL", help="name, name:version or name@alias")


def _predict_options(parser: argparse.ArgumentParser) -> None:
    _model_option(parser)
    form = '{"name": value, ..} or {"keys": [..], "values": [..]}; - is standard input'
    parser.add_argument("input", metavar="INPUT", help=form)
    parser.add_argument("--proto", action="store_true", help="ask over ProtoBuffer, which brings labels")


def _no_options(_: argparse.ArgumentParser) -> None:
    pass


class Command(NamedTuple):
    help: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Client, argparse.Namespace], Answer]


COMMANDS = {
    "upload": Command("publish a model", _upload_options, _upload),
    "models": Command("list the models", _no_options, _models),
    "params": Command("show the manifest of a model", _model_option, _params),
    "predict": Command("ask a model about one event", _predict_options, _predict),
    "delete": Command("delete a model", _model_option, _delete),
    "status": Command("show the state of the server", _no_options, _status),
}

FLAT_COMMANDS: dict[str, Callable[[Client, argparse.Namespace], Answer]] = {
    "flat_upload": _flat_upload,
    "flat_bundle": _flat_bundle,
    "flat_delete": _flat_delete,
    "flat_models": _models,
    "flat_predict": _flat_predict,
}


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
    flat.add_argument("--model", dest="flat_model", metavar="MODEL", help="the model for --predict")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(name, help=command.help, allow_abbrev=False)
        _add_connection_options(subparser)
        command.add_options(subparser)
    return parser


def _add_connection_options(parser: argparse.ArgumentParser) -> None:
    """Adds what may stand before and after a command; the defaults are the main parser's."""
    add = partial(parser.add_argument, default=argparse.SUPPRESS)
    add("--url", help=f"base of the server; default $TFAAS_URL or {DEFAULT_URL}")
    add("--json", action="store_true", help="print JSON")
    add("--timeout", type=_seconds, metavar="SECONDS", help="default 30, for an upload 600")
    add("--verbose", action="store_true", help="log the requests on standard error")
    add("--cert", metavar="FILE", help="client certificate in PEM; default the grid proxy, for https")
    add("--key", metavar="FILE", help="its key, when the certificate file does not hold it")
    add("--capath", metavar="PATH", help="trusted authorities, a file or folder; default $X509_CERT_DIR")


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be a positive number of seconds, got {text}")
    return seconds


def _chosen_command(parser: Parser, arguments: argparse.Namespace) -> Callable[[Client, argparse.Namespace], Answer]:
    if arguments.flat_model and not arguments.flat_predict:
        parser.error("--model goes with --predict")
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
    if arguments.url.startswith("https:"):
        cert = cert or _grid_proxy()
        capath = capath or os.environ.get("X509_CERT_DIR")
    return Client(
        arguments.url,
        timeout=arguments.timeout,
        token=os.environ.get("TFAAS_TOKEN") or None,
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
