"""Reading, scoring and writing: the parts of a file, and the output that they become."""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlaas.errors import DataError
from mlaas.scoring.bar import Bar
from mlaas.scoring.errors import ScoringError
from mlaas.scoring.files import Block, EventFile, read_blocks
from mlaas.scoring.model import Scorer
from mlaas.scoring.outputs import Output, Target
from mlaas.scoring.parts import Parts
from mlaas.scoring.writers import WRITERS, Columns

# Events that are written at a time: a basket, cluster or row group.
WRITTEN_EVENTS = 100_000


@dataclass(frozen=True)
class Work:
    """How every output is made.

    Attributes:
        scores: Names of the numbers that the model gives.
        step: Events to read at a time; None goes by their size.
        parts: Where scores are kept until an output is complete.
        bar: Told what is done.
    """

    scorer: Scorer
    scores: Sequence[str]
    target: Target
    step: int | None
    parts: Parts
    bar: Bar

    def score(self, output: Output, skip_bad_files: bool) -> tuple[int, dict[str, str]]:
        """Make an output, or go on with it.

        Args:
            skip_bad_files: Whether to leave out files that turn out to be damaged.

        Returns:
            How many events it has, and the files that are left out → why. It is not made where all of them are.

        Raises:
            DataError: A file is damaged.
            ScoringError: The model fails, or the scores can't be written.
        """
        before = self.parts.finished(output.number)
        if before is not None and output.path.exists():
            self.bar.skip(sum(file.entries for _, file in output.files))
            return before, {}
        names: list[str] = []
        left_out: dict[str, str] = {}
        for number, file in output.files:
            try:
                names += self._score_file(output, number, file)
            except DataError as error:
                if not skip_bad_files:
                    raise
                left_out[file.path] = str(error)
        if len(left_out) == len(output.files):
            return 0, left_out
        with _writing(output.path):
            events = self._join(output, names)
            self.parts.finish(output.number, events)
            self.parts.drop(names)
        return events, left_out

    def _score_file(self, output: Output, number: int, file: EventFile) -> list[str]:
        """Make the parts of a file that are not there yet; the names of all of them."""
        with file.open() as reader:
            by_range = {(start, stop): f"{number}-{start}-{stop}" for start, stop in file.ranges(reader, self.step)}
            todo = [one for one, name in by_range.items() if not self.parts.has(name)]
            self.bar.skip(file.entries - sum(stop - start for start, stop in todo))
            blocks = read_blocks(file, reader, todo, self.scorer.model, output.identifiers)
            with closing(blocks):
                for block in blocks:
                    columns = self._columns(output, block)
                    with _writing(output.path):
                        self.parts.write(by_range[block.start, block.stop], columns)
                    self.bar.advance(block.stop - block.start)
                    del block
        return list(by_range.values())

    def _columns(self, output: Output, block: Block) -> Columns:
        answers = np.concatenate(self.scorer.predict(block.raw), axis=1)
        values = [*block.identifiers.values(), *answers.T]
        return dict(zip(output.columns(self.scores), values, strict=True))

    def _join(self, output: Output, names: Sequence[str]) -> int:
        """Write all parts of an output one after the other; how many events there are."""
        unfinished = self.parts.folder / "output.unfinished"
        model, events = self.scorer.model, 0
        about = f"scores of {model.reference}, bundle sha256 {model.digest}"
        try:
            with closing(WRITERS[self.target.format](unfinished, output.dtypes(self.scores), about)) as writer:
                for columns in _grouped(map(self.parts.read, names)):
                    writer.write(columns)
                    events += len(next(iter(columns.values())))
            with unfinished.open("rb") as file:
                os.fsync(file.fileno())
            unfinished.replace(output.path)
        finally:
            unfinished.unlink(missing_ok=True)
        return events


def _grouped(parts: Iterator[Columns]) -> Iterator[Columns]:
    """The same events in pieces of ``WRITTEN_EVENTS`` or more, but for the last."""
    waiting: list[Columns] = []
    events = 0
    for columns in parts:
        waiting.append(columns)
        events += len(next(iter(columns.values())))
        if events >= WRITTEN_EVENTS:
            yield _joined(waiting)
            waiting, events = [], 0
    if waiting:
        yield _joined(waiting)


def _joined(parts: Sequence[Columns]) -> Columns:
    return {name: np.concatenate([one[name] for one in parts]) for name in parts[0]}


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what a full disk and the like raise into an error of ours."""
    try:
        yield
    except OSError as error:
        # Arrow writes sentences of its own behind the number.
        reason = os.strerror(error.errno) if error.errno else error
        raise ScoringError(f"{path}: cannot be written: {reason}") from error
