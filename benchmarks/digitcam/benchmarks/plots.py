"""Plots as SVG elements for a page: colours are the page's, so that they follow its dark and light; text stays text.

A plot is wrapped in an `svg` element with its own title, which is what a screen reader tells of it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any, Literal, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, QUIET, LINE, BAD = "#010101", "#020202", "#030303", "#040404"
"""Stand for the page's colours while matplotlib draws."""
SERIES = tuple(f"#0505{i:02x}" for i in range(8))
_VARIABLES = {
    INK: "ink",
    QUIET: "quiet",
    LINE: "line",
    BAD: "bad",
    **{colour: f"s{i}" for i, colour in enumerate(SERIES)},
}
_STYLES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
WIDTH_IN, HEIGHT_IN = 4.8, 3.4
_RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.5,
    "text.color": INK,
    "axes.labelcolor": QUIET,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
}


class Plot(NamedTuple):
    """A plot in a page: the SVG element, and what stands below it."""

    svg: str
    caption: str


class Palette:
    """Which colour a bundle has, and which line and marker a format, alike in all plots of a page."""

    def __init__(self, bundles: list[str], formats: list[str]) -> None:
        self._bundles, self._formats = bundles, formats

    def colour(self, bundle: str) -> str:
        """Return a bundle's colour."""
        return SERIES[self._bundles.index(bundle) % len(SERIES)]

    def variable(self, bundle: str) -> str:
        """Return the CSS variable of a bundle's colour."""
        return f"--{_VARIABLES[self.colour(bundle)]}"

    def style(self, format: str) -> Literal["-", "--", ":", "-."]:
        """Return a format's line style."""
        return _STYLES[self._formats.index(format) % len(_STYLES)]

    def marker(self, format: str) -> str:
        """Return a format's marker."""
        return _MARKERS[self._formats.index(format) % len(_MARKERS)]

    def key(self, axes: Axes, bundles: list[str], formats: list[str], lines: bool = False) -> None:
        """Put what colours and markers, or lines, mean above a plot."""
        for bundle in sorted(set(bundles), key=self._bundles.index):
            axes.plot([], [], color=self.colour(bundle), linewidth=5, label=bundle)
        for format in sorted(set(formats), key=self._formats.index):
            if lines:
                axes.plot([], [], color=QUIET, linestyle=self.style(format), label=format)
            else:
                axes.plot([], [], color=QUIET, linestyle="", marker=self.marker(format), label=format)
        legend(axes)


def legend(axes: Axes) -> None:
    """Put the legend above a plot, where it hides nothing, in rows of three."""
    handles, labels = axes.get_legend_handles_labels()
    axes.figure.legend(
        handles, labels, loc="outside upper left", ncols=min(3, len(labels)), handlelength=2.2, columnspacing=1.2
    )


class Drawn:
    """A plot while it is drawn, and its SVG element afterwards."""

    def __init__(self, figure: Figure, axes: Axes) -> None:
        self.figure, self.axes = figure, axes
        self.svg = ""


@contextmanager
def drawing(title: str, xlabel: str, ylabel: str, height_in: float = HEIGHT_IN) -> Iterator[Drawn]:
    """Draw a plot; `title` is read out in place of it."""
    # Names of clips and markers are made from the salt and what they draw: with it no two plots of a page share one.
    with matplotlib.rc_context({**_RC, "svg.hashsalt": title}):
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        drawn = Drawn(figure, figure.subplots())
        drawn.axes.set(xlabel=xlabel, ylabel=ylabel)
        yield drawn
        drawn.svg = _element(figure, title)


def _element(figure: Figure, title: str) -> str:
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue().replace("\n", " ").replace("xlink:href", "href").replace("'DejaVu Sans'", "system-ui")
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    # matplotlib's rules would hold for the whole page, and its groups have the same names in every plot.
    text = re.sub(r"<style.*?</style>", "", text)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r"\s+", " ", text).replace("> <", "><")
    inside = text[text.index(">", text.index("<svg")) + 1 :]
    width, height = 72 * figure.get_size_inches()
    return f'<svg viewBox="0 0 {width:g} {height:g}" role="img"><title>{escape(title)}</title>{inside}'
