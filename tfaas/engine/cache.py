"""Loaded models in bounded memory, each loaded once."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Container, Iterable
from functools import partial

from tfaas.engine.model import LoadedModel
from tfaas.engine.singleflight import SingleFlight
from tfaas.registry import VersionRecord


class ModelCache:
    """The models used last, as many as fit, and all versions of the `pinned` ones that are in use.

    A model that is dropped lives on until its last request is answered: whoever uses it holds a reference.
    """

    def __init__(
        self, load: Callable[[VersionRecord], Awaitable[LoadedModel]], memory: int, pinned: Container[str] = ()
    ) -> None:
        self._pinned = pinned
        self._load = load
        self._memory = memory
        self._models: OrderedDict[int, LoadedModel] = OrderedDict()
        self._loading: SingleFlight[int, LoadedModel] = SingleFlight()

    async def get(self, record: VersionRecord) -> LoadedModel:
        """The loaded version; any number of simultaneous first requests load it once."""
        model = self.loaded(record.id)
        return model or await self._loading.get(record.id, partial(self._load_and_keep, record))

    def loaded(self, version: int) -> LoadedModel | None:
        """A version that is in memory, which counts as a use of it."""
        model = self._models.get(version)
        if model is not None:
            self._models.move_to_end(version)
        return model

    @property
    def versions(self) -> list[int]:
        return list(self._models)

    def discard(self, versions: Iterable[int]) -> None:
        for version in versions:
            self._models.pop(version, None)

    async def _load_and_keep(self, record: VersionRecord) -> LoadedModel:
        model = await self._load(record)
        self._models[record.id] = model
        used = sum(other.memory for other in self._models.values())
        for version, other in list(self._models.items()):
            if used <= self._memory:
                break
            if other is not model and other.record.name not in self._pinned:
                del self._models[version]
                used -= other.memory
        return model
