"""The progress bar of a scoring, with events a second."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} events/s")


class Bar:
    """Counts events, and moves a bar on standard error where a person looks.

    Attributes:
        scored: Events that were scored.
    """

    def __init__(self, progress: Progress, total: int) -> None:
        self.scored = 0
        self._progress = progress
        self._task = progress.add_task("scoring", total=total)

    def advance(self, events: int) -> None:
        """More events are scored."""
        self.scored += events
        self._progress.advance(self._task, events)

    def skip(self, events: int) -> None:
        """More events were scored before."""
        self._progress.advance(self._task, events)


@contextmanager
def scoring_bar(total: int) -> Iterator[Bar]:
    """A bar for ``total`` events."""
    console = Console(stderr=True)
    columns = (TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bar(progress, total)
