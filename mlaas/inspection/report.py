"""An inspection for people and for machines."""

from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from mlaas.inspection.inspect import BranchSummary, Inspection

_UNLIMITED = 10_000


def as_json(found: Inspection) -> dict[str, Any]:
    """What JSON says of a file; the names of the fields are those of :class:`Inspection`."""
    rate = found.events_per_second
    return {
        "path": found.path,
        "trees": found.trees,
        "tree": found.tree,
        "entries": found.entries,
        "read": found.read,
        "events_per_second": None if rate is None else round(rate, 1),
        "branches": [_branch(summary) for summary in found.branches.values()],
        "skipped": found.skipped,
    }


def print_inspection(found: Inspection, console: Console) -> None:
    """Print tables; of a file with several trees, where none was chosen, those trees."""
    console.print(Text(found.path))
    if found.tree is None:
        trees = Table("tree", "events", box=SIMPLE)
        for name, entries in found.trees.items():
            trees.add_row(Text(name), f"{entries:,}")
        console.print(trees)
        console.print("name one of them with --tree to see its branches")
        return
    name = f"{found.tree}: " if found.tree else ""
    console.print(Text(f"{name}{found.entries:,} events, {len(found.branches)} branches"))
    branches = Table("branch", "kind", "type", box=SIMPLE)
    for header in ("dim", "min", "max", "missing", "empty"):
        branches.add_column(header, justify="right")
    for summary in found.branches.values():
        branches.add_row(*_row(summary, found.read))
    # Wider than the terminal rather than with names and numbers cut short.
    needed = Measurement.get(console, console.options.update(max_width=_UNLIMITED), branches).maximum
    console.width = max(needed, console.width)
    console.print(branches)
    for skipped, reason in found.skipped.items():
        console.print(Text(f"not a feature: {skipped} ({reason})"))
    if (rate := found.events_per_second) is not None:
        console.print(Text(f"read {found.read:,} events at {rate:,.0f} events/s"))


def _branch(summary: BranchSummary) -> dict[str, Any]:
    content = asdict(summary)
    return {**content.pop("branch"), **content, "missing_share": summary.missing_share}


def _row(summary: BranchSummary, events: int) -> list[Text]:
    share = summary.missing_share
    cells = [
        summary.branch.name,
        summary.branch.kind,
        summary.branch.dtype,
        str(summary.dimension),
        "" if summary.minimum is None else f"{summary.minimum:.6g}",
        "" if summary.maximum is None else f"{summary.maximum:.6g}",
        "" if share is None else f"{share:.1%}",
        f"{summary.empty / events:.1%}" if events and summary.branch.kind == "jagged" else "",
    ]
    return [Text(cell) for cell in cells]
