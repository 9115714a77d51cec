"""`/json`, `/proto` and `/predict/batch`: the hot path, with no framework in it."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import TypeVar
from urllib.parse import parse_qsl

from tfaas.api.connection import DirectRequest, Endpoint
from tfaas.api.http_errors import error_response
from tfaas.api.openapi import BATCH_PATH
from tfaas.codecs import CODECS, Codec, Row
from tfaas.codecs.tables import PARQUET, TABLE_CODECS, Options, TableCodec, find_codec, json_table
from tfaas.engine.batcher import Outputs, Ticket
from tfaas.engine.model import LoadedModel
from tfaas.engine.resolve import Engine
from tfaas.errors import DeadlineExceeded, InvalidRequest, TFaaSError
from tfaas.observability.metrics import Metrics
from tfaas.settings import Settings

PREFIXES = ("", "/predict")
# Larger bodies are decoded outside the event loop.
LARGE_BODY = 128 * 1024
BATCH_QUERY = frozenset({"model", "keys", "shape", "outputs"})


class _Answering:
    """What both endpoints have in common: models by name, and an answer to every error."""

    def __init__(self, engine: Engine, settings: Settings, metrics: Metrics) -> None:
        self._engine = engine
        self._settings = settings
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()

    async def _resolve(self, name: str) -> LoadedModel:
        model = self._engine.remembered(name)
        if model is not None:
            return model
        try:
            async with asyncio.timeout(self._settings.deadline):
                return await self._engine.resolve(name)
        except TimeoutError as error:
            raise DeadlineExceeded(f"the model was not loaded within {self._settings.deadline:g} s") from error

    def _spawn(self, request: DirectRequest, answer: Coroutine[None, None, None]) -> None:
        """Answer in a task, which ends when nobody waits for it any more."""

        async def guarded() -> None:
            try:
                await answer
            except Exception as error:  # noqa: BLE001 - every error is answered, and logged where it is told
                self._fail(request, error)

        task = asyncio.get_running_loop().create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        request.on_gone = task.cancel

    def _fail(self, request: DirectRequest, error: Exception) -> None:
        if not isinstance(error, TFaaSError):
            self._metrics.unexpected += 1
        status, named, body = error_response(error)
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items()).encode()
        request.reply(status, lines, body)


class RowEndpoint(_Answering):
    """Answers one event in one format; several of them where JSON holds lists of values.

    The body is looked at and its label is not: clients in the field send none or a wrong content type.
    """

    def __init__(self, codec: Codec, engine: Engine, settings: Settings, metrics: Metrics) -> None:
        super().__init__(engine, settings, metrics)
        self._codec = codec
        self._headers = b"content-type: %b\r\n" % codec.content_type
        self.max_body = settings.max_body

    def handle(self, request: DirectRequest) -> None:
        self._metrics.requests["POST"] += 1
        if len(request.body) > LARGE_BODY:
            self._spawn(request, self._answer_large(request))
            return
        try:
            row = self._codec.decode(request.body)
            model = self._engine.remembered(row.model)
            if model is None:
                self._spawn(request, self._load_and_answer(request, row))
            else:
                self._answer(request, row, model)
        except Exception as error:  # noqa: BLE001 - every error is answered, and logged where it is told
            self._fail(request, error)

    async def _answer_large(self, request: DirectRequest) -> None:
        row = await asyncio.to_thread(self._codec.decode, request.body)
        await self._load_and_answer(request, row)

    async def _load_and_answer(self, request: DirectRequest, row: Row) -> None:
        model = await self._resolve(row.model)
        self._answer(request, row, model)

    def _answer(self, request: DirectRequest, row: Row, model: LoadedModel) -> None:
        several = row.columns is not None or model.layout.holds_rows(row.keys, row.values)
        events = model.layout.matrix(json_table(row)) if several else model.layout.vector(row.keys, row.values)[None, :]
        chosen = model.choose(_names(_parse_query(request.query).get("outputs", ""))) if request.query else []
        metrics, codec = self._metrics, self._codec

        def done(outputs: Outputs, start: int, stop: int, error: TFaaSError | None) -> None:
            try:
                if error is not None:
                    raise error
                if chosen:
                    by_name = dict(zip(model.outputs, outputs, strict=True))
                    body = codec.encode_named({name: by_name[name][start:stop] for name in chosen}, several)
                else:
                    body = codec.encode(outputs[0][start:stop] if several else outputs[0][start], model.labels)
                metrics.events += stop - start
                request.reply(200, self._headers, body)
            except Exception as error:  # noqa: BLE001 - one answer must not keep the rest of its batch
                self._fail(request, error)

        batcher = model.everything if chosen else model.batcher
        ticket: Ticket = batcher.submit(events, model.deadline, done)
        request.on_gone = ticket.cancel


class BatchEndpoint(_Answering):
    """Answers many events; the content type says in which format they are, `Accept` in which the answer is wanted."""

    def __init__(self, engine: Engine, settings: Settings, metrics: Metrics) -> None:
        super().__init__(engine, settings, metrics)
        self.max_body = settings.max_batch_body

    def handle(self, request: DirectRequest) -> None:
        self._metrics.requests["POST"] += 1
        self._spawn(request, self._answer(request))

    async def _answer(self, request: DirectRequest) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        query = _parse_query(request.query, BATCH_QUERY)
        decoder = find_codec(headers.get("content-type", ""), "content type")
        encoder = _accepted(headers.get("accept", ""), decoder)
        outputs = _names(query.get("outputs", ""))
        if outputs and encoder.encode_named is None:
            raise InvalidRequest(f"{encoder.content_type} holds one array: expected no 'outputs' in the query with it")
        shape = query.get("shape") or headers.get("x-shape", "")
        options = Options(query.get("model", ""), _names(query.get("keys", "")), _shape(shape))
        large = len(request.body) > LARGE_BODY or decoder is PARQUET  # which may be far larger than its bytes
        name, table = await _aside(large, lambda: decoder.decode(request.body, options))
        if query.get("model", name) != name:
            raise InvalidRequest(f"the query names the model {query['model']!r} and the body {name!r}: expected one")
        model = await self._resolve(name)
        chosen = model.choose(outputs)
        events = await _aside(large, lambda: model.layout.matrix(table))
        batcher = model.everything if chosen else model.batcher
        answers = await batcher.predict(events, model.deadline)
        self._metrics.events += len(events)
        lines = f"content-type: {encoder.content_type}\r\n"
        if encoder.encode_named is not None and chosen:
            named, by_name = encoder.encode_named, dict(zip(model.outputs, answers, strict=True))
            body = await _aside(large, lambda: named({name: by_name[name] for name in chosen}))
        else:
            lines += f"x-shape: {answers[0].shape[0]},{answers[0].shape[1]}\r\n"
            body = await _aside(large, lambda: encoder.encode(model.output, answers[0], model.labels))
        request.reply(200, lines.encode(), body)


Result = TypeVar("Result")


async def _aside(large: bool, work: Callable[[], Result]) -> Result:
    """Do work on a large body where it does not hold up the others."""
    return await asyncio.to_thread(work) if large else work()


def _parse_query(query: bytes, known: frozenset[str] | None = None) -> dict[str, str]:
    fields = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    unknown = [name for name in fields if known is not None and name not in known]
    if unknown:
        raise InvalidRequest(f"{unknown[0]!r} in the query is not known: expected {', '.join(sorted(known or ()))}")
    return fields


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _shape(text: str) -> list[int]:
    try:
        return [int(size) for size in text.split(",")] if text else []
    except ValueError as error:
        raise InvalidRequest(f"shape {text[:50]!r}: expected events,values, as in 1000,27") from error


def _accepted(accept: str, default: TableCodec) -> TableCodec:
    """The codec of the answer: that of the request where the client takes it, else the first that it names."""
    wanted = [part.partition(";")[0].strip().lower() for part in accept.split(",") if part.strip()]
    if not wanted or default.content_type in wanted:
        return default
    for name in wanted:
        if name in TABLE_CODECS:
            return TABLE_CODECS[name]
    return default if any("*" in name for name in wanted) else find_codec(accept, "accepted type")


def predict_endpoints(engine: Engine, settings: Settings, metrics: Metrics) -> Mapping[bytes, Endpoint]:
    """Path → endpoint, for every codec and each of its spellings."""
    endpoints: dict[str, Endpoint] = {BATCH_PATH: BatchEndpoint(engine, settings, metrics)}
    for name, codec in CODECS.items():
        endpoint = RowEndpoint(codec, engine, settings, metrics)
        endpoints |= {f"{prefix}/{name}": endpoint for prefix in PREFIXES}
    return {f"{settings.base_path}{path}".encode(): endpoint for path, endpoint in endpoints.items()}
