"""How figures look: sizes for a slide, colours that do not depend on how the eye sees red and green."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from mlaas.report.text import short

# M. Okabe and K. Ito, Color Universal Design (2008), without yellow.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#767676"
SIZE = (7.2, 5.4)
# Figures that show each class have no more than this; the JSON has all.
MOST_CLASSES = len(COLOURS)

STYLE: dict[str, Any] = {
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelsize": 14,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 13,
    "figure.constrained_layout.use": True,
    "font.size": 12,
    "grid.color": "#e3e3e3",
    "legend.fontsize": 12,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "lines.markersize": 5.0,
    "pdf.fonttype": 42,
    "svg.hashsalt": "mlaas",
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
}


@dataclass(frozen=True)
class Plot:
    """A figure and what is said of it.

    Attributes:
        title: What it shows, in a few words.
        caption: How to read it.
        alternative: What it shows, for those who do not see it.
        figure: Of matplotlib.
    """

    title: str
    caption: str
    alternative: str
    figure: Any

    @property
    def wide(self) -> bool:
        """Whether it takes the width of a page."""
        return bool(self.figure.get_figwidth() > 1.4 * SIZE[0])


def house_style() -> AbstractContextManager[None]:
    """Figures are made and saved within it; matplotlib's defaults otherwise, whatever the user has set."""
    from matplotlib import style

    context: AbstractContextManager[None] = style.context(["default", STYLE])
    return context


def new_figure(size: tuple[float, float] = SIZE) -> Any:
    """An empty figure, ``size`` in inches, that no global state knows of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size)
    FigureCanvasAgg(figure)
    return figure


def literal(name: str) -> str:
    """``name`` of the user's as matplotlib shows it and not as a formula."""
    return short(name).replace("$", r"\$")


def first_of(classes: list[str]) -> str:
    """What a caption adds where the figure leaves classes out."""
    return f" The first {MOST_CLASSES} of {len(classes)} classes." if len(classes) > MOST_CLASSES else ""


def colour(place: int) -> str:
    """The colour of the class, curve or side at ``place``."""
    return COLOURS[place % len(COLOURS)]


def marker(place: int) -> str:
    """The marker that goes with :func:`colour`."""
    return MARKERS[place % len(MARKERS)]
