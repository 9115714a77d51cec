"""From the name in a request to a loaded model, as fresh as the registry."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from tfaas.engine.cache import ModelCache
from tfaas.engine.freshness import Freshness
from tfaas.engine.model import LoadedModel, load
from tfaas.engine.running import Running
from tfaas.engine.singleflight import SingleFlight
from tfaas.engine.turns import Turns
from tfaas.errors import InvalidRequest, NotFound, Quarantined, RegistryUnavailable
from tfaas.registry import Repository, VersionRecord, parse_reference
from tfaas.registry.artifacts import ArtifactCache
from tfaas.settings import Settings

POLL_SECONDS = 0.4
REGISTRY_SECONDS = 10.0
REMEMBERED_NAMES = 10_000

Remembered = TypeVar("Remembered")

log = logging.getLogger(__name__)


class Engine:
    """Resolves and loads models; start it with `open`, end it with `close`."""

    def __init__(
        self, settings: Settings, repository: Repository, artifacts: ArtifactCache, clients: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._repository = repository
        self._artifacts = artifacts
        self._freshness = Freshness(settings.data_dir / "freshness")
        self._run_pool = ThreadPoolExecutor(settings.run_threads, "run")
        self._turns = Turns(self._run_pool, clients)
        self._load_pool = ThreadPoolExecutor(1, "load")
        pinned = {reference.name for reference in settings.preloaded}
        self._cache = ModelCache(self._load, settings.cache_memory, pinned)
        self._by_name: dict[str, VersionRecord] = {}
        self._unknown: dict[str, str] = {}
        self._lookups: SingleFlight[str, VersionRecord] = SingleFlight()
        self._seen = self._freshness.value
        self._forgotten = 0
        self._revision = 0
        self._running: Running | None = None
        self._poller: asyncio.Task[None] | None = None

    async def open(self, folder: Path) -> None:
        """Start to follow the registry; `folder` tells which versions ran if this process should crash."""
        self._running = Running(folder)
        self._revision = await self._repository.revision()
        for reference in self._settings.preloaded:
            await self.resolve(str(reference))
        self._poller = asyncio.create_task(self._poll())

    async def close(self) -> None:
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)
        # Whoever waited for an answer has got one by now; a model that does not end can't be waited for.
        self._run_pool.shutdown(wait=False, cancel_futures=True)
        self._load_pool.shutdown(wait=False, cancel_futures=True)
        self._freshness.close()
        if self._running is not None:
            self._running.close()

    def remembered(self, name: str) -> LoadedModel | None:
        """The model for a name that has been resolved since the last change of the registry, where it is loaded."""
        if self._freshness.value != self._seen:
            self._forget()
        record = self._by_name.get(name)
        return self._cache.loaded(record.id) if record else None

    async def resolve(self, name: str) -> LoadedModel:
        """The model that a name ("" for the default one) stands for now, loaded.

        Raises:
            NotFound, InvalidRequest: there is no such model, or no default one.
            RegistryUnavailable: the database can't be asked.
        """
        if self._freshness.value != self._seen:
            self._forget()
        record = self._by_name.get(name)
        if record is None:
            # After a change all clients ask for their model at once.
            record = await self._lookups.get(name, partial(self._look_up, name))
        return await self._cache.get(record)

    async def _look_up(self, name: str) -> VersionRecord:
        forgotten = self._forgotten
        if name in self._unknown:
            raise NotFound(self._unknown[name])
        try:
            # Who comes later waits for the same answer: it must not be waited for without end.
            async with asyncio.timeout(REGISTRY_SECONDS):
                record = await self._repository.get(parse_reference(name or await self._default_name()))
        except TimeoutError as error:
            raise RegistryUnavailable(f"the registry has not answered within {REGISTRY_SECONDS:g} s") from error
        except NotFound as error:
            if self._is_current(forgotten):
                _remember(self._unknown, name, str(error))
            raise
        if record.is_quarantined:
            raise Quarantined(
                f"{record.name}:{record.number} has ended the process that served it {record.crashes} times and is"
                f" not served any more: expected another version, or `tfaas release {record.name}:{record.number}`"
            )
        if self._is_current(forgotten):
            _remember(self._by_name, name, record)
        return record

    def _is_current(self, forgotten: int) -> bool:
        """Whether nothing has changed since; what was looked up before a change must not be remembered after it."""
        return forgotten == self._forgotten and self._freshness.value == self._seen

    async def published(self, record: VersionRecord) -> None:
        """Have a new version loaded before the first request asks for it, then let all workers see it."""
        try:
            await self._cache.get(record)
        except NotFound:
            log.info("%s:%d was deleted as soon as it was published", record.name, record.number)
        finally:
            self.changed()

    def changed(self) -> None:
        """Tell every worker of this server that the registry has changed."""
        self._freshness.changed()

    def _forget(self) -> None:
        self._seen = self._freshness.value
        self._forgotten += 1
        self._by_name.clear()
        self._unknown.clear()
        self._lookups.forget()

    async def _default_name(self) -> str:
        name = await self._repository.default_model()
        if name is None:
            names = await self._repository.names()
            raise InvalidRequest(f"the request names no model: expected one of {', '.join(names[:20]) or '(none yet)'}")
        return name

    async def _load(self, record: VersionRecord) -> LoadedModel:
        if self._running is None:
            raise RuntimeError("the engine is not open")
        path = await self._artifacts.path(record.serving_digest)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._load_pool, load, record, path, self._turns, self._settings, self._running
        )

    async def _poll(self) -> None:
        """See changes made through other replicas or straight in the database, and let go of what was deleted."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                async with asyncio.timeout(REGISTRY_SECONDS):
                    await self._follow()
            except (RegistryUnavailable, TimeoutError) as error:
                log.warning("%s; loaded models go on answering", str(error) or "the registry does not answer")
            except Exception:
                # Whatever it was, this replica must not stop following the others.
                log.exception("the registry could not be followed")

    async def _follow(self) -> None:
        revision = await self._repository.revision()
        if revision == self._revision:
            return
        self._forget()
        loaded = self._cache.versions
        existing = await self._repository.existing(loaded)
        self._cache.discard(version for version in loaded if version not in existing)
        digests = await self._repository.digests()
        await asyncio.to_thread(self._artifacts.keep_only, digests)
        self._revision = revision


def _remember(known: dict[str, Remembered], name: str, what: Remembered) -> None:
    if len(known) >= REMEMBERED_NAMES:
        known.clear()
    known[name] = what
