"""A version of a model, loaded and ready to answer."""

from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tfaas.bundles.manifest import Manifest
from tfaas.engine.batcher import Batcher
from tfaas.engine.layout import InputLayout
from tfaas.registry import VersionRecord
from tfaas.runtimes import RUNTIMES, predict
from tfaas.settings import Settings

SESSION_OVERHEAD = 4 * 1024**2


@dataclass(frozen=True, slots=True)
class LoadedModel:
    record: VersionRecord
    layout: InputLayout
    batcher: Batcher

    @property
    def labels(self) -> list[str]:
        return self.record.labels

    @property
    def memory(self) -> int:
        """Bytes that the session takes, roughly: its weights and the runtime's own structures."""
        return self.record.serving_size + SESSION_OVERHEAD


def load(record: VersionRecord, path: Path, executor: Executor, settings: Settings) -> LoadedModel:
    """Make a session of a served file; blocks for as long as the runtime needs."""
    session = RUNTIMES[record.runtime](path, settings.session_threads)
    manifest = Manifest.model_validate(record.manifest)
    output = session.signature.output_index(manifest.output_node)
    return LoadedModel(
        record,
        InputLayout(manifest, session.signature),
        Batcher(
            partial(predict, session, output=output),
            executor,
            settings.max_batch_size,
            settings.max_queue,
        ),
    )
