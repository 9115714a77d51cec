"""The commands: options → one or two calls of the client → what is printed."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from ._batches import CONCURRENCY
from ._client import Client
from ._columns import is_one_event
from ._exceptions import InputError
from ._files import ModelFiles, read_events_file, read_model_files
from ._responses import Prediction, UploadedVersion
from ._score import STEP_EVENTS, Source, score
from ._tables import field_table, model_table, prediction_table, score_table
from ._writers import Writer, finite_or_null, json_writer, open_writer, text_writer

PROGRESS_SECONDS = 0.5


class Answer(NamedTuple):
    """What a command prints: `value` as JSON for programs, `text` for people."""

    value: object
    text: str


class Command(NamedTuple):
    """One command; `run` returns None where it has printed already."""

    help: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Client, argparse.Namespace], Answer | None]


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
    content = read_events_file(arguments.input)
    if content.one or is_one_event(content.events):
        return _predicted(client.classify(arguments.name, content.events, wire="proto" if arguments.proto else "json"))
    if arguments.proto:
        raise InputError(f"{arguments.input} holds many events: expected one with --proto")
    scores = client.model(arguments.name).predict(content.events)
    return Answer({name: finite_or_null(values.tolist()) for name, values in scores.items()}, score_table(scores))


def _score(client: Client, arguments: argparse.Namespace) -> Answer | None:
    source = Source(arguments.files, arguments.tree, arguments.step)
    options = {
        "outputs": arguments.outputs.split(",") if arguments.outputs else (),
        "concurrency": arguments.concurrency,
    }
    model = client.model(arguments.score_model)
    started = time.monotonic()
    with _written(arguments) as write, _progress() as progress:
        events = score(model, source, write, progress, **options)
    if not arguments.output:
        return None
    seconds = time.monotonic() - started
    told = {"model": model.description.reference, "events": events, "seconds": round(seconds, 3)}
    text = f"{events:,} events of {len(arguments.files)} file(s) scored by {told['model']} in {seconds:.1f} s"
    return Answer({**told, "output": arguments.output}, f"{text}: {arguments.output}")


def _promote(client: Client, arguments: argparse.Namespace) -> Answer:
    promoted = client.promote(arguments.name, arguments.alias)
    told = {"model": promoted.name, "version": promoted.version, "alias": arguments.alias}
    return Answer(told, f"{promoted.name}@{arguments.alias} is {promoted.reference}")


def _delete(client: Client, arguments: argparse.Namespace) -> Answer:
    return _deleted(client, arguments.name, arguments.force)


def _status(client: Client, _: argparse.Namespace) -> Answer:
    status = client.status()
    return Answer(status, field_table(status))


def _flat_upload(client: Client, arguments: argparse.Namespace) -> Answer:
    return _uploaded(client.upload(**read_model_files(arguments.flat_upload)._asdict()))


def _flat_bundle(client: Client, arguments: argparse.Namespace) -> Answer:
    return _uploaded(client.upload_bundle(arguments.flat_bundle))


def _flat_delete(client: Client, arguments: argparse.Namespace) -> Answer:
    return _deleted(client, arguments.flat_delete, False)


def _flat_predict(client: Client, arguments: argparse.Namespace) -> Answer:
    content = read_events_file(arguments.flat_predict)
    return _predicted(client.classify(arguments.flat_model or content.model, content.events, wire="json"))


def _flat_image(client: Client, arguments: argparse.Namespace) -> Answer:
    labels, probabilities = client.classify_image(arguments.flat_model or "", arguments.flat_image)
    numbers = finite_or_null(probabilities.tolist())
    named = [{"label": label, "probability": number} for label, number in zip(labels, numbers, strict=True)]
    return Answer(named if any(labels) else numbers, prediction_table(labels, probabilities))


def _uploaded(uploaded: UploadedVersion) -> Answer:
    reason = f": {uploaded.reason}" if uploaded.reason else ""
    text = f"{uploaded.model} version {uploaded.version} is served by {uploaded.runtime}{reason}"
    return Answer(asdict(uploaded), text)


def _predicted(prediction: Prediction) -> Answer:
    return Answer(finite_or_null(prediction.probabilities.tolist()), prediction_table(*prediction))


def _deleted(client: Client, model: str, force: bool) -> Answer:
    client.delete(model, force=force)
    return Answer({"deleted": model}, f"{model} is deleted")


@contextmanager
def _written(arguments: argparse.Namespace) -> Iterator[Writer]:
    if arguments.output:
        with open_writer(Path(arguments.output)) as write:
            yield write
    else:
        yield json_writer(sys.stdout) if arguments.json else text_writer(sys.stdout, "\t")


@contextmanager
def _progress() -> Iterator[Callable[[int], object]]:
    """Tells people who watch how far it is."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    told = time.monotonic()

    def tell(done: int) -> None:
        nonlocal told
        if time.monotonic() - told >= PROGRESS_SECONDS:
            told = time.monotonic()
            print(f"\r{done:,} events ", end="", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def _no_options(_: argparse.ArgumentParser) -> None:
    pass


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
    form = (
        'one event or many in JSON, by name or in order, such as {"met": 41.5, "jet_pt": [80.2]}; - is standard input'
    )
    parser.add_argument("input", metavar="INPUT", help=form)
    parser.add_argument("--proto", action="store_true", help="ask over ProtoBuffer, which brings labels")


def _score_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE.root", help="read one after the other")
    add("--model", dest="score_model", required=True, help="name, name:version or name@alias")
    add("--tree", help="the TTree or RNTuple, where a file has several")
    add("--output", metavar="FILE", help="a .root, .npz, .csv or .jsonl file; default lines on standard output")
    add("--outputs", metavar="NAMES", help="outputs of the model, separated by commas; * for all")
    add("--step", type=positive, default=STEP_EVENTS, metavar="EVENTS", help=f"in memory; default {STEP_EVENTS}")
    add("--concurrency", type=positive, default=CONCURRENCY, help=f"requests at a time; default {CONCURRENCY}")


def _delete_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="MODEL", help="name, for all versions, or name:version")
    parser.add_argument("--force", action="store_true", help="although an alias points at it")


def _promote_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="MODEL", help="such as signal:3 or signal@latest")
    parser.add_argument("alias", metavar="ALIAS", help="such as production")


def positive(text: str) -> int:
    """Parses a number of things."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text}")
    return number


COMMANDS: Mapping[str, Command] = {
    "models": Command("list the models", _no_options, _models),
    "upload": Command("publish a model", _upload_options, _upload),
    "params": Command("show the manifest of a model", _model_option, _params),
    "predict": Command("ask a model about events in JSON", _predict_options, _predict),
    "score": Command("ask a model about all events of ROOT files", _score_options, _score),
    "promote": Command("let an alias point at a version", _promote_options, _promote),
    "delete": Command("delete a model or a version", _delete_options, _delete),
    "status": Command("show the state of the server", _no_options, _status),
}

FLAT_COMMANDS: Mapping[str, Callable[[Client, argparse.Namespace], Any]] = {
    "flat_upload": _flat_upload,
    "flat_bundle": _flat_bundle,
    "flat_delete": _flat_delete,
    "flat_models": _models,
    "flat_predict": _flat_predict,
    "flat_image": _flat_image,
}
