"""The model run by a server that many share, asked for large batches."""

import asyncio
import io
import random
import tarfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import Any, TypeVar

import httpx
import numpy as np
from anyio.from_thread import start_blocking_portal

from mlaas.publish import refusal
from mlaas.scoring.errors import ScoringError
from mlaas.scoring.model import FloatArray, Model
from tfaas.bundles import Manifest, TFaaSError
from tfaas.registry import Reference, parse_reference

CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 60.0
# Of a request, and how many are on their way at a time.
REQUEST_EVENTS, REQUEST_BYTES, IN_FLIGHT = 10_000, 8 << 20, 4
# A server that restarts, or is busy, is back by then: half a minute.
ATTEMPTS, FIRST_PAUSE, LONGEST_PAUSE = 11, 0.2, 5.0
REPEATED_STATUSES = frozenset({502, 503, 504})
ARROW = "application/vnd.apache.arrow.stream"

Argument = TypeVar("Argument")
Result = TypeVar("Result")


class ServerScorer:
    """Asks one version of a model; see :class:`mlaas.scoring.model.Scorer`.

    Args:
        url: Of the server.
        name: ``net``, ``net:3`` or ``net@alias``; an alias is looked up once.

    Raises:
        ScoringError: No server answers there, or it has no such model.
    """

    def __init__(self, url: str, name: str) -> None:
        self._url = url.rstrip("/")
        self._stack = ExitStack()
        self._portal = self._stack.enter_context(start_blocking_portal())
        timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
        self._http = httpx.AsyncClient(timeout=timeout)
        self._stack.callback(self._portal.call, self._http.aclose)
        self._free = asyncio.Semaphore(IN_FLIGHT)
        try:
            self.model = self._call(self._describe, _parsed(name))
        except BaseException:
            self.close()
            raise
        self._rows = max(1, min(REQUEST_EVENTS, REQUEST_BYTES // (4 * self.model.width)))

    def predict(self, events: FloatArray) -> list[FloatArray]:
        """See :class:`mlaas.scoring.model.Scorer`."""
        slices = [events[start : start + self._rows] for start in range(0, len(events), self._rows)]
        parts = self._call(self._ask_all, slices)
        return [np.concatenate(output) for output in zip(*parts, strict=True)]

    def close(self) -> None:
        self._stack.close()

    def _call(self, function: Callable[[Argument], Awaitable[Result]], argument: Argument) -> Result:
        """Run ``function`` in the loop of the connections; whatever ends the waiting ends it."""
        future = self._portal.start_task_soon(function, argument)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def _describe(self, reference: Reference) -> Model:
        answer = await self._send("GET", f"/models/{reference.name}")
        try:
            found = answer.json()
            number = reference.number or found["aliases"].get(reference.alias)
            versions = {one["version"]: one for one in found["versions"] if one["deleted"] is None}
            if number not in versions:
                raise ScoringError(
                    f"{self._url}: no {str(reference)!r}; model {reference.name!r} has versions"
                    f" {', '.join(map(str, sorted(versions)))} and aliases {', '.join(found['aliases'])}"
                )
            version = versions[number]
            manifest = Manifest.model_validate(version["manifest"])
            exact = Reference(reference.name, number)
            labels = await self._labels(exact, manifest) if manifest.labels else []
            return Model.describe(str(exact), version["digest"], manifest, version["signature"], labels)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ScoringError(f"{self._url} answers something else than an inference server does") from error

    async def _labels(self, reference: Reference, manifest: Manifest) -> list[str]:
        """The lines of the file in the bundle that holds the labels."""
        bundle = await self._send("GET", f"/models/{reference.name}/versions/{reference.number}/bundle")
        wanted = PurePosixPath(manifest.labels).name
        with tarfile.open(fileobj=io.BytesIO(bundle.content)) as archive:
            for member in archive:
                if PurePosixPath(member.name).name == wanted and (file := archive.extractfile(member)) is not None:
                    return file.read().decode().splitlines()
        return []

    async def _ask_all(self, slices: list[FloatArray]) -> list[list[FloatArray]]:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._ask(events)) for events in slices]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures
        return [task.result() for task in tasks]

    async def _ask(self, events: FloatArray) -> list[FloatArray]:
        query = {
            "model": self.model.reference,
            "outputs": ",".join(self.model.outputs),
            "shape": f"{len(events)},{self.model.width}",
        }
        headers = {"content-type": "application/octet-stream", "accept": ARROW}
        async with self._free:
            content = np.ascontiguousarray(events, "<f4").tobytes()
            answer = await self._send("POST", "/predict/batch", params=query, headers=headers, content=content)
        return _outputs(answer.content, self.model, len(events))

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request, again where that may help."""
        for attempt in range(ATTEMPTS):
            asked = 0.0
            try:
                answer = await self._http.request(method, self._url + path, **options)
            except httpx.InvalidURL as error:
                raise ScoringError(f"{self._url}: {error}; expected http://HOST:PORT") from error
            except httpx.HTTPError as error:
                failure = ScoringError(f"{self._url}: {error or type(error).__name__}")
                if not isinstance(error, httpx.TransportError) or isinstance(error, httpx.UnsupportedProtocol):
                    raise failure from error
            else:
                if answer.is_success:
                    return answer
                failure = ScoringError(f"{self._url}: {refusal(answer)}")
                if answer.status_code not in REPEATED_STATUSES:
                    raise failure
                asked = _seconds(answer.headers.get("retry-after", ""))
            if attempt + 1 < ATTEMPTS:
                pause = min(FIRST_PAUSE * 2.0**attempt, LONGEST_PAUSE)
                await asyncio.sleep(max(pause * random.uniform(0.5, 1.0), min(asked, LONGEST_PAUSE)))
        raise failure


def _parsed(name: str) -> Reference:
    try:
        return parse_reference(name)
    except TFaaSError as error:
        raise ScoringError(f"--model {name}: {error}") from error


def _outputs(body: bytes, model: Model, events: int) -> list[FloatArray]:
    """The columns of an Arrow stream as (n, numbers an event)."""
    import pyarrow as pa

    try:
        table = pa.ipc.open_stream(body).read_all()
        columns = [table.column(name).combine_chunks() for name in model.outputs]
        flat = [one.flatten() if pa.types.is_fixed_size_list(one.type) else one for one in columns]
        return [np.asarray(one, np.float32).reshape(events, -1) for one in flat]
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise ScoringError(f"{model.reference}: the server's answer can't be read: {error}") from error


def _seconds(text: str) -> float:
    return float(text) if text.isdigit() else 0.0
