"""The client: one connection pool to one server."""

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import numpy as np
from numpy.typing import NDArray

from ._bundles import open_bundle, open_file
from ._exceptions import ConnectionError, InputError, TimeoutError, TransportError
from ._requests import Row, bearer_headers, model_path
from ._responses import (
    Prediction,
    UploadedVersion,
    json_object,
    json_objects,
    raise_for_status,
    uploaded_version,
)
from ._wires import WIRES, Wire

FilePath = str | PathLike[str]

ANSWER_SECONDS = 30.0
# The server converts, checks and loads a model before it answers an upload.
UPLOAD_SECONDS = 600.0
# Shorter than the five seconds after which uvicorn closes an idle connection.
IDLE_SECONDS = 4.0


class Client:
    """Talks to one inference server; may be shared by threads.

    A model is named `name`, `name:3` (a version) or `name@production` (an alias).

    Every method raises `ConnectionError` or `TimeoutError` when there is no answer, `ClientError` or
    `ServerError` when the server refuses, and `MalformedResponseError` when something else answers.

    Args:
        url: base of the server, such as `http://localhost:8083`.
        timeout: seconds to wait for an answer; None waits 30, and 600 for an upload.
        token: bearer token to present.
        cert: client certificate in PEM, or a pair of certificate and key.
        verify: False trusts any server; a path trusts only the authorities of that file or folder.

    Raises:
        InputError: a certificate cannot be loaded.
        TransportError: `url` is no URL.
    """

    def __init__(
        self,
        url: str,
        timeout: float | None = None,
        token: str | None = None,
        cert: FilePath | tuple[FilePath, FilePath] | None = None,
        verify: bool | FilePath = True,
    ) -> None:
        self._upload_seconds = UPLOAD_SECONDS if timeout is None else timeout
        with _httpx_errors_translated(url):
            self._http = httpx.Client(
                base_url=url,
                timeout=ANSWER_SECONDS if timeout is None else timeout,
                headers=bearer_headers(token),
                verify=_tls_context(cert, verify),
                limits=httpx.Limits(keepalive_expiry=IDLE_SECONDS),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

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
        with ExitStack() as files:

            def part(path: FilePath) -> tuple[str, Any]:
                return Path(path).name, files.enter_context(open_file(Path(path)))

            parts = {"model": part(model)}
            if isinstance(params, Mapping):
                parts["params"] = ("params.json", json.dumps(params).encode())
            elif params is not None:
                parts["params"] = part(params)
            if labels is not None:
                parts["labels"] = part(labels)
            response = self._send("POST", "/upload", data={"name": name}, files=parts, timeout=self._upload_seconds)
        return uploaded_version(response)

    def upload_bundle(self, path: FilePath) -> UploadedVersion:
        """Publishes a bundle: a .tar.gz file with one top folder named as the model, or such a folder."""
        with open_bundle(Path(path)) as archive:
            response = self._send(
                "POST",
                "/upload",
                content=archive,
                headers={"Content-Type": "application/gzip"},
                timeout=self._upload_seconds,
            )
        return uploaded_version(response)

    def models(self) -> list[dict[str, Any]]:
        """Returns a description of each model."""
        return json_objects(self._send("GET", "/models"))

    def params(self, model: str) -> dict[str, Any]:
        """Returns the manifest of a model."""
        return json_object(self._send("GET", model_path("params", model)))

    def delete(self, model: str) -> None:
        """Deletes a model."""
        self._send("DELETE", model_path("delete", model))

    def status(self) -> dict[str, Any]:
        """Returns memory, load, uptime and request counts of the server."""
        return json_object(self._send("GET", "/status"))

    def predict(self, model: str, row: Row, *, wire: Wire = "json") -> NDArray[np.float32]:
        """Returns the outputs of a model for one event, float32 of shape (outputs,).

        Args:
            model: the model; an empty string asks for the server's default one.
            row: values by feature name or in the model's order, a sequence for a jagged feature.
            wire: what travels; `proto` is smaller and keeps infinities, but needs names for jagged features.

        Raises:
            InputError: a value cannot be sent.
        """
        return self.classify(model, row, wire=wire).probabilities

    def classify(self, model: str, row: Row, *, wire: Wire = "proto") -> Prediction:
        """Returns labels and outputs of a model for one event; see `predict`. Only `proto` brings labels."""
        if wire not in WIRES:
            raise InputError(f"there is no wire {wire!r}, only {', '.join(WIRES)}")
        form = WIRES[wire]
        headers = {"Content-Type": form.content_type}
        return form.decode(self._send("POST", form.path, content=form.encode(model, row), headers=headers))

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        with _httpx_errors_translated(f"{str(self._http.base_url).rstrip('/')}/{path.lstrip('/')}"):
            response = self._http.request(method, path, **options)
        raise_for_status(response)
        return response


@contextmanager
def _httpx_errors_translated(url: str) -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException as error:
        raise TimeoutError(f"{url} did not answer in time") from error
    except httpx.ConnectError as error:
        raise ConnectionError(f"{url} cannot be reached: {error}") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise TransportError(f"{url}: {error}") from error


def _tls_context(cert: FilePath | tuple[FilePath, FilePath] | None, verify: bool | FilePath) -> ssl.SSLContext:
    context = httpx.create_ssl_context(verify=verify is not False)
    try:
        if not isinstance(verify, bool):
            folder = Path(verify).is_dir()
            context = ssl.create_default_context(cafile=None if folder else verify, capath=verify if folder else None)
        if cert is not None:
            context.load_cert_chain(*cert if isinstance(cert, tuple) else (cert,))
    except OSError as error:
        raise InputError(f"the certificates {cert or verify} cannot be loaded: {error}") from error
    return context
