"""The client for callers that have an event loop; `Client` runs it for those that have none."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from ._addresses import Connected, Connection, FilePath
from ._batches import CONCURRENCY, Collected, Outputs, Progress, batches
from ._bundles import open_bundle, open_file
from ._columns import Columns, is_one_event, read_events
from ._description import Description, Events
from ._exceptions import ClientError, InputError
from ._in_order import InOrder
from ._requests import (
    Request,
    Row,
    batch_request,
    bundle_request,
    delete_request,
    image_request,
    model_path,
    promote_request,
    split_reference,
    upload_request,
    version_request,
)
from ._responses import (
    Prediction,
    UploadedVersion,
    batch_outputs,
    description,
    image_prediction,
    json_object,
    json_objects,
    uploaded_version,
)
from ._transport import AsyncTransport, Transport
from ._wires import Wire, find_wire


class AsyncClient(Connected):
    """As `Client`, with coroutines; it belongs to the event loop that first uses it."""

    _transport: Transport

    def _begin(self, connection: Connection) -> None:
        self._transport = AsyncTransport(connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """As `Client.close`."""
        await self._transport.close()

    async def upload(
        self,
        name: str,
        model: FilePath,
        params: FilePath | Mapping[str, Any] | None = None,
        labels: FilePath | None = None,
    ) -> UploadedVersion:
        """As `Client.upload`."""
        with ExitStack() as files:

            def part(path: FilePath) -> tuple[str, IO[bytes]]:
                return Path(path).name, files.enter_context(open_file(Path(path)))

            parts: dict[str, tuple[str, IO[bytes] | bytes]] = {"model": part(model)}
            if isinstance(params, Mapping):
                parts["params"] = ("params.json", json.dumps(params).encode())
            elif params is not None:
                parts["params"] = part(params)
            if labels is not None:
                parts["labels"] = part(labels)
            return uploaded_version(await self._transport.send(upload_request(name, parts)))

    async def upload_bundle(self, path: FilePath) -> UploadedVersion:
        """As `Client.upload_bundle`."""
        with open_bundle(Path(path)) as archive:
            return uploaded_version(await self._transport.send(bundle_request(archive)))

    async def promote(self, model: str, alias: str) -> Description:
        """As `Client.promote`."""
        name, version, source = split_reference(model)
        if source:
            version = (await self.describe(model)).version
        return description(await self._transport.send(promote_request(name, version, alias)))

    async def delete(self, model: str, *, force: bool = False) -> None:
        """As `Client.delete`."""
        await self._transport.send(delete_request(model, force))

    async def models(self) -> list[dict[str, Any]]:
        """As `Client.models`."""
        return json_objects(await self._transport.send(Request("GET", "/models")))

    async def params(self, model: str) -> dict[str, Any]:
        """As `Client.params`."""
        return json_object(await self._transport.send(Request("GET", model_path("params", model))))

    async def status(self) -> dict[str, Any]:
        """As `Client.status`."""
        return json_object(await self._transport.send(Request("GET", "/status")))

    async def describe(self, model: str) -> Description:
        """As `Client.describe`."""
        return description(await self._transport.send(version_request(model)))

    async def model(self, model: str) -> "AsyncModel":
        """As `Client.model`."""
        return self.bound_to(await self.describe(model))

    def bound_to(self, described: Description) -> "AsyncModel":
        """Returns the version that `describe` has told about."""
        return AsyncModel(self._transport, described)

    @overload
    async def predict(  # type: ignore[overload-overlap] # columns are no event: there is no number among them
        self,
        model: str,
        events: Columns,
        *,
        outputs: str | Sequence[str] = ...,
        batch_events: int | None = ...,
        concurrency: int = ...,
        progress: Progress | None = ...,
    ) -> Outputs: ...
    @overload
    async def predict(self, model: str, events: Row, *, wire: Wire = ...) -> NDArray[np.float32]: ...
    @overload
    async def predict(
        self,
        model: str,
        events: Any,
        *,
        outputs: str | Sequence[str] = ...,
        batch_events: int | None = ...,
        concurrency: int = ...,
        progress: Progress | None = ...,
    ) -> Outputs: ...
    async def predict(
        self, model: str, events: Any, *, wire: Wire = "json", **batches: Any
    ) -> NDArray[np.float32] | Outputs:
        """As `Client.predict`."""
        if is_one_event(events):
            if batches:
                raise InputError(f"{', '.join(batches)} goes with many events, got one: expected only `wire` with it")
            return (await self.classify(model, events, wire=wire)).probabilities
        return await (await self.model(model)).predict(events, **batches)

    async def classify(self, model: str, event: Row, *, wire: Wire = "proto") -> Prediction:
        """As `Client.classify`."""
        form = find_wire(wire)
        return form.decode(await self._transport.send(form.request(model, event)))

    async def classify_image(self, model: str, image: FilePath) -> Prediction:
        """As `Client.classify_image`."""
        with open_file(Path(image)) as file:
            request = image_request(model, Path(image).name, file.read())
        return image_prediction(await self._transport.send(request))


class AsyncModel:
    """As `Model`, with coroutines."""

    def __init__(self, transport: Transport, described: Description) -> None:
        self.description = described
        self._transport = transport

    async def predict(
        self,
        events: Any,
        *,
        outputs: str | Sequence[str] = (),
        batch_events: int | None = None,
        concurrency: int = CONCURRENCY,
        progress: Progress | None = None,
    ) -> Outputs:
        """As `Model.predict`."""
        bound = self.description.bind(read_events(events))
        collected = Collected(len(bound), progress)
        async with self.answers(bound, outputs, batch_events, concurrency) as answers:
            async for answer in answers:
                collected.add(answer)
        return collected.outputs

    def answers(
        self, events: Events, outputs: str | Sequence[str], batch_events: int | None, concurrency: int
    ) -> InOrder[slice, Outputs]:
        """Asks about batches, several at a time; iterates over their answers in order."""

        async def ask(batch: slice) -> Outputs:
            return await self.ask(events, batch, outputs)

        return InOrder(ask, batches(len(events), self.description.width, batch_events), concurrency)

    async def ask(self, events: Events, batch: slice, outputs: str | Sequence[str]) -> Outputs:
        """Asks about one batch."""
        matrix = events.matrix(batch.start, batch.stop)
        # What an answer looks like is known from an event that nobody has asked about.
        asked = matrix if len(matrix) else np.zeros((1, self.description.width), np.float32)
        names = (outputs,) if isinstance(outputs, str) else tuple(outputs)
        request = batch_request(self.description.reference, asked, names)
        try:
            answer = batch_outputs(await self._transport.send(request), len(asked))
        except ClientError as error:
            where = f"in the batch from event {batch.start}: " if len(events) > len(matrix) else ""
            raise ClientError(error.status, where + error.message) from error
        return {name: output[: len(matrix)] for name, output in answer.items()}
