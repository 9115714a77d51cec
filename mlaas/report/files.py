"""The files of a report."""

import io
import json
import warnings
from pathlib import Path
from typing import Any

from mlaas.errors import MlaasError
from mlaas.report.numbers import numbers_of
from mlaas.report.page import page
from mlaas.report.plots import PLOTS, Plot, house_style
from mlaas.report.run import Run
from mlaas.wholefile import whole_file

PNG_DPI = 200
FIGURES = "figures"


def write_report(folder: Path, run: Run) -> dict[str, Any]:
    """Write ``report.html``, ``report.json`` and ``figures/*.png`` and ``*.pdf`` into ``folder``.

    Each file is there as a whole or not at all. Files of an earlier report are replaced.

    Returns:
        What ``report.json`` holds.

    Raises:
        MlaasError: They cannot be written.
    """
    numbers = numbers_of(run)
    content = json.dumps(numbers, indent=1, allow_nan=False) + "\n"
    pictures: dict[str, tuple[Plot, bytes]] = {}
    try:
        (folder / FIGURES).mkdir(parents=True, exist_ok=True)
        with house_style(), warnings.catch_warnings():
            # A name may have signs that matplotlib's font lacks; they become boxes in the figure.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            for name, draw in PLOTS.items():
                plot = draw(numbers)
                if plot is not None:
                    _lay_out(plot)
                _write_figure(folder / FIGURES / name, plot)
                if plot is not None:
                    pictures[name] = (plot, _rendered(plot, "svg"))
        _write(folder / "report.json", content.encode())
        _write(folder / "report.html", page(numbers, pictures).encode())
    except OSError as error:
        raise MlaasError(f"{folder}: the report cannot be written: {error.strerror}") from error
    return numbers


def _write_figure(path: Path, plot: Plot | None) -> None:
    """Write a figure as PNG and PDF; remove those of an earlier report where this one has none."""
    for kind in ("png", "pdf"):
        target = path.with_suffix(f".{kind}")
        if plot is None:
            target.unlink(missing_ok=True)
        else:
            _write(target, _rendered(plot, kind))


def _lay_out(plot: Plot) -> None:
    """Find the places of everything once, not for every format."""
    plot.figure.draw_without_rendering()
    plot.figure.set_layout_engine("none")


def _rendered(plot: Plot, kind: str) -> bytes:
    # Without the date, so that equal reports are equal files.
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
    content = io.BytesIO()
    plot.figure.savefig(content, format=kind, dpi=PNG_DPI, metadata=dates[kind])
    return content.getvalue()


def _write(path: Path, content: bytes) -> None:
    with whole_file(path) as partial:
        partial.write_bytes(content)
