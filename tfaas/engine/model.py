"""A version of a model, loaded and ready to answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from tfaas.bundles.manifest import Manifest
from tfaas.engine.batcher import Batcher
from tfaas.engine.layout import InputLayout
from tfaas.engine.running import Running
from tfaas.engine.turns import Turns
from tfaas.errors import InvalidRequest
from tfaas.registry import VersionRecord
from tfaas.runtimes import RUNTIMES, FloatArray, Session, TensorSpec, predictor
from tfaas.settings import Settings

SESSION_OVERHEAD = 4 * 1024**2


@dataclass(frozen=True)
class LoadedModel:
    """`batcher` answers with the one output that clients get who ask for none, `everything` with all `outputs`."""

    record: VersionRecord
    manifest: Manifest
    layout: InputLayout
    input: TensorSpec
    output: str
    outputs: Sequence[str]
    deadline: float
    make_batcher: Callable[[Sequence[str]], Batcher]

    @cached_property
    def batcher(self) -> Batcher:
        return self.make_batcher([self.output])

    @cached_property
    def everything(self) -> Batcher:
        return self.make_batcher(self.outputs)

    @property
    def labels(self) -> list[str]:
        return self.record.labels

    @property
    def memory(self) -> int:
        """Bytes that the session takes, roughly: its weights and the runtime's own structures."""
        return self.record.serving_size + SESSION_OVERHEAD

    def choose(self, names: Sequence[str]) -> list[str]:
        """The outputs that are asked for; `*` stands for all of them.

        Raises:
            InvalidRequest: the model has no output of a name.
        """
        if "*" in names:
            return list(self.outputs)
        for name in names:
            if name not in self.outputs:
                raise InvalidRequest(f"no output {name!r}: expected one of {', '.join(self.outputs)}, or *")
        return list(names)


def load(
    record: VersionRecord,
    path: Path,
    turns: Turns,
    settings: Settings,
    running: Running,
) -> LoadedModel:
    """Make a session of a served file; blocks for as long as the runtime needs."""
    manifest = Manifest.model_validate(record.manifest)
    threads = manifest.serving.threads or settings.session_threads
    session = running.call(record.id, RUNTIMES[record.runtime], path, threads, manifest.serving.provider)
    return LoadedModel(
        record,
        manifest,
        InputLayout(manifest, session.signature),
        session.signature.inputs[0],
        session.signature.output(manifest.output_node).name,
        [spec.name for spec in session.signature.outputs if spec.is_numeric and spec.shape],
        manifest.serving.deadline or settings.deadline,
        partial(_make_batcher, session, partial(running.call, record.id), turns, manifest, settings),
    )


def _make_batcher(
    session: Session,
    marked: Callable[..., list[FloatArray]],
    turns: Turns,
    manifest: Manifest,
    settings: Settings,
    outputs: Sequence[str],
) -> Batcher:
    return Batcher(
        partial(marked, predictor(session, outputs)),
        turns,
        max_batch_size=manifest.serving.max_batch_size or settings.max_batch_size,
        max_queue=manifest.serving.max_queue or settings.max_queue,
        parallel=settings.run_threads,
        steady=session.steady,
    )
