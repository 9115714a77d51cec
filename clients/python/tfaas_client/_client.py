"""The client for callers without an event loop: notebooks, scripts, threads, coffea processors."""

import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from ._addresses import Connected, Connection, FilePath
from ._async_client import AsyncClient, AsyncModel
from ._batches import CONCURRENCY, Collected, Outputs, Progress, batches
from ._blocking import BlockingTransport, returned
from ._columns import Columns, is_one_event, read_events
from ._description import Description
from ._in_order import in_order
from ._requests import Row
from ._responses import Prediction, UploadedVersion
from ._wires import Wire


class Client(Connected):
    """Talks to one inference server, or to several that share a registry; may be shared by threads.

    A model is named `name`, `name:3` (a version) or `name@production` (an alias).

    A client can be pickled, with its token and without its connections, and goes on working in a forked process.

    Every method raises `ConnectionError`, `TimeoutError` or `TransportError` when there is no answer, `ClientError`
    or `ServerError` when the server refuses, and `MalformedResponseError` when something else answers. Before that,
    requests that met 502, 503, 504 or a lost connection are repeated, at the next server if there are several.
    Uploads and deletions are repeated only where they cannot have been done already.

    Args:
        url: base of the server, such as `http://localhost:8083`, or several in the order in which they are tried.
        timeout: seconds for a request, its repetitions included; None waits 30, and 600 for an upload.
        token: bearer token to present.
        cert: client certificate in PEM, or a pair of certificate and key.
        verify: False trusts any server; a path trusts only the authorities of that file or folder.
        retries: how often all servers are asked again, after a random pause that doubles each time.

    Raises:
        InputError: a certificate cannot be loaded, or a number is out of range.
        TransportError: `url` is no URL.
    """

    def _begin(self, connection: Connection) -> None:
        self.__setstate__(connection)
        self._calls()  # says so where certificates cannot be loaded

    def __getstate__(self) -> Connection:
        return self._connection

    def __setstate__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._process = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        if self._process == os.getpid():
            self._end()

    def upload(
        self,
        name: str,
        model: FilePath,
        params: FilePath | Mapping[str, Any] | None = None,
        labels: FilePath | None = None,
    ) -> UploadedVersion:
        """Publishes a model file as a new version of `name`.

        Args:
            name: the model.
            model: an .onnx, .keras or frozen .pb file; a SavedModel folder goes through `upload_bundle`.
            params: the manifest, as a file or as a mapping.
            labels: a text file with one output label a line.
        """
        return returned(self._calls().upload(name, model, params, labels))

    def upload_bundle(self, path: FilePath) -> UploadedVersion:
        """Publishes a bundle: a .tar.gz file with one top folder named as the model, or such a folder."""
        return returned(self._calls().upload_bundle(path))

    def promote(self, model: str, alias: str) -> Description:
        """Lets an alias point at the version that `model` means, and returns that version."""
        return returned(self._calls().promote(model, alias))

    def delete(self, model: str, *, force: bool = False) -> None:
        """Deletes a model with all its versions, or one version; refused where an alias points at it, unless forced."""
        returned(self._calls().delete(model, force=force))

    def models(self) -> list[dict[str, Any]]:
        """Returns a description of each model."""
        return returned(self._calls().models())

    def params(self, model: str) -> dict[str, Any]:
        """Returns the manifest of a model."""
        return returned(self._calls().params(model))

    def status(self) -> dict[str, Any]:
        """Returns memory, load, uptime and request counts of the server."""
        return returned(self._calls().status())

    def describe(self, model: str) -> Description:
        """Returns the version that `model` means now, with its features and outputs."""
        return returned(self._calls().describe(model))

    def model(self, model: str) -> "Model":
        """Returns the version that `model` means now, bound: whatever is promoted later, it stays the same."""
        return Model(self, self.describe(model))

    @overload
    def predict(  # type: ignore[overload-overlap] # columns are no event: there is no number among them
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
    def predict(self, model: str, events: Row, *, wire: Wire = ...) -> NDArray[np.float32]: ...
    @overload
    def predict(
        self,
        model: str,
        events: Any,
        *,
        outputs: str | Sequence[str] = ...,
        batch_events: int | None = ...,
        concurrency: int = ...,
        progress: Progress | None = ...,
    ) -> Outputs: ...
    def predict(self, model: str, events: Any, *, wire: Wire = "json", **batches: Any) -> NDArray[np.float32] | Outputs:
        """Returns the outputs of a model for many events, or for one.

        Many events are columns by name (of a mapping, of a pandas or Arrow table, of an awkward record array) or an
        array (events, values). They are scored by one version, in batches; see `Model.predict` for the options and
        the answer, which is an array for each output by name.

        One event is a mapping in which some value is a number (the others are the objects of jagged features), or a
        sequence with a number in it, in the model's order. The answer is the array (outputs,).

        Args:
            model: the model; for one event, an empty string asks for the server's default one.
            events: one event or many.
            wire: how one event travels; `proto` is smaller and keeps infinities, but needs names for jagged features.

        Raises:
            InputError: names or values don't fit; nothing was sent.
        """
        if is_one_event(events):
            return returned(self._calls().predict(model, events, wire=wire, **batches))
        return self.model(model).predict(events, **batches)

    def classify(self, model: str, event: Row, *, wire: Wire = "proto") -> Prediction:
        """Returns labels and outputs of a model for one event; see `predict`. Only `proto` brings labels."""
        return returned(self._calls().classify(model, event, wire=wire))

    def classify_image(self, model: str, image: FilePath) -> Prediction:
        """Returns the best labels for a PNG or JPEG file, or all outputs of a model without labels."""
        return returned(self._calls().classify_image(model, image))

    def _calls(self) -> "_BlockingClient":
        """What asks over the connections of this process, which are made when they are first needed."""
        with self._lock:
            if self._process != os.getpid():
                self._blocking = _BlockingClient(**vars(self._connection))
                self._end = weakref.finalize(self, _end, self._blocking, os.getpid())
                self._process = os.getpid()
            return self._blocking


class _BlockingClient(AsyncClient):
    """Its coroutines never wait for an event loop."""

    _transport: BlockingTransport

    def _begin(self, connection: Connection) -> None:
        self._transport = BlockingTransport(connection)

    @contextmanager
    def job(self, described: Description) -> Iterator[AsyncModel]:
        """The version that `describe` has told about; what threads still ask it at the end is cut off."""
        with self._transport.job() as transport:
            yield AsyncModel(transport, described)


class Model:
    """One version of a model; may be shared by threads and pickled.

    Attributes:
        description: its name, version, features and outputs.
    """

    def __init__(self, client: Client, description: Description) -> None:
        self.description = description
        self._client = client

    @property
    def features(self) -> list[str]:
        """The names of the columns that `predict` takes."""
        return [feature.name for feature in self.description.features]

    def predict(
        self,
        events: Any,
        *,
        outputs: str | Sequence[str] = (),
        batch_events: int | None = None,
        concurrency: int = CONCURRENCY,
        progress: Progress | None = None,
    ) -> Outputs:
        """Returns the outputs for many events, in their order.

        Args:
            events: a mapping of columns, a pandas or Arrow table, an awkward record array or a structured array,
                with the model's features and nothing else; or an array (events, values) in the model's order, where
                objects of jagged features are padded with NaN. A column is a number for each event, or a list of
                numbers of any length for a jagged feature. None, NaN and masked values are missing.
            outputs: names of the outputs that are wanted, `*` for all; by default the one that the model answers with.
            batch_events: events in a request; by default 10,000, less where an event is many numbers.
            concurrency: how many requests are under way at a time.
            progress: is called with the number of events that are done and of all, after each batch.

        Returns:
            For each output, float32 of shape (events,) where it is one number, else (events, numbers).

        Raises:
            InputError: names or values don't fit; nothing was sent.
        """
        bound = self.description.bind(read_events(events))
        collected = Collected(len(bound), progress)
        asked = list(batches(len(bound), self.description.width, batch_events))
        with self._client._calls().job(self.description) as model:

            def ask(batch: slice) -> Outputs:
                return returned(model.ask(bound, batch, outputs))

            with closing(in_order(ask, asked, min(concurrency, len(asked)))) as answers:
                for answer in answers:
                    collected.add(answer)
        return collected.outputs


def _end(client: AsyncClient, process: int) -> None:
    if process == os.getpid():
        returned(client.close())
