"""`POST /json` and `POST /proto`: the hot path, with no framework in it."""

import asyncio
from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from tfaas.api.body import ClientGone, read_body
from tfaas.api.http_errors import error_response
from tfaas.codecs import CODECS, Codec
from tfaas.engine.batcher import Batcher
from tfaas.engine.model import LoadedModel
from tfaas.engine.resolve import Engine
from tfaas.errors import DeadlineExceeded, MethodNotAllowed, TFaaSError, TooLarge
from tfaas.observability.metrics import Metrics
from tfaas.runtimes import FloatArray
from tfaas.settings import Settings

PREFIXES = ("", "/predict")


class PredictEndpoint:
    """An ASGI application that answers one prediction in one format.

    The body is looked at and its label is not: clients in the field send none or a wrong content type.
    """

    def __init__(self, codec: Codec, engine: Engine, settings: Settings, metrics: Metrics) -> None:
        self._codec = codec
        self._engine = engine
        self._settings = settings
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["method"] != "POST":
                raise MethodNotAllowed(f"{scope['method']} is not allowed on {scope['path']}: expected POST")
            body = await self._answer(receive)
            status, headers = 200, [(b"content-type", self._codec.content_type)]
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001 - every error is answered, and logged where it is told
            if not isinstance(error, TFaaSError):
                self._metrics.unexpected += 1
            status, named, body = error_response(error)
            headers = [(name.encode(), value.encode()) for name, value in named.items()]
            if isinstance(error, TooLarge):
                headers.append((b"connection", b"close"))  # what is left of the body must not be read as a request
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, receive: Receive) -> bytes:
        row = self._codec.decode(await read_body(receive, self._settings.max_body))
        model = self._engine.remembered(row.model) or await self._resolve(row.model)
        events = model.layout.vector(row.keys, row.values)[None, :]
        outputs = await self._run(model.batcher, events, receive)
        self._metrics.events += 1
        return self._codec.encode(outputs[0], model.labels)

    async def _resolve(self, name: str) -> LoadedModel:
        try:
            async with asyncio.timeout(self._settings.deadline):
                return await self._engine.resolve(name)
        except TimeoutError as error:
            raise DeadlineExceeded(f"the model was not loaded within {self._settings.deadline:g} s") from error

    async def _run(self, batcher: Batcher, events: FloatArray, receive: Receive) -> FloatArray:
        answer = batcher.submit(events, self._settings.deadline)
        watch = asyncio.create_task(_cancel_when_gone(receive, answer))
        try:
            return await answer
        except asyncio.CancelledError:
            if watch.done() and answer.cancelled():
                raise ClientGone from None
            raise
        finally:
            watch.cancel()


async def _cancel_when_gone(receive: Receive, answer: asyncio.Future[FloatArray]) -> None:
    """Take back what nobody waits for any more."""
    while (await receive())["type"] != "http.disconnect":
        pass
    answer.cancel()


def predict_routes(engine: Engine, settings: Settings, metrics: Metrics) -> Mapping[str, PredictEndpoint]:
    """Path → endpoint, for every codec and each of its spellings."""
    routes = {}
    for name, codec in CODECS.items():
        endpoint = PredictEndpoint(codec, engine, settings, metrics)
        for prefix in PREFIXES:
            routes[f"{settings.base_path}{prefix}/{name}"] = endpoint
    return routes


class HotPath:
    """Counts all requests, answers the predictions and leaves everything else to the framework."""

    def __init__(self, framework: ASGIApp, routes: Mapping[str, PredictEndpoint], metrics: Metrics) -> None:
        self._framework = framework
        self._routes = routes
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._metrics.requests[scope["method"]] += 1
            endpoint = self._routes.get(scope["path"])
            if endpoint is not None:
                await endpoint(scope, receive, send)
                return
        try:
            await self._framework(scope, receive, send)
        except Exception:
            # The framework has logged and answered it; raised again it would cut a connection that others may use.
            if scope["type"] != "http":
                raise
            self._metrics.unexpected += 1
