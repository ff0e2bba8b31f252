"""How figures look and are kept: a PNG, an SVG that follows light and dark, and the same SVG for the page."""

import io
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any

from sear.files import write_aside, write_text

# name -> (light, dark); c1… after Okabe and Ito, different to colour-blind readers too, lifted for dark paper
PALETTE = {
    "paper": ("#ffffff", "#161b22"),
    "ink": ("#1f2328", "#e6edf3"),
    "soft": ("#59636e", "#9aa4af"),
    "grid": ("#dfe3e8", "#30363d"),
    "c1": ("#0072b2", "#58aeea"),
    "c2": ("#d55e00", "#f58a4b"),
    "c3": ("#009e73", "#33c79b"),
    "c4": ("#b8568f", "#e694c3"),
    "c5": ("#e69f00", "#f3bd55"),
    "c6": ("#56b4e9", "#a5dcff"),
    "c7": ("#7a6f00", "#d6cb53"),
    "c8": ("#6e7781", "#aab4be"),
}
LIGHT = {name: light for name, (light, _) in PALETTE.items()}
SERIES = [LIGHT[f"c{number}"] for number in range(1, 9)]
MARKERS = "osD^vPX"
HATCHES = ("", "///", "...", "\\\\\\", "xxx", "|||", "---")  # of bars, as a marker is of lines
# the place of a model is its colour on every page; those that are compared most often have colours without a hatch
PLACES = (
    "SEAR", "SASRec", "GRU4Rec", "Mamba4Rec", "BERT4Rec", "SEAR-tuned", "ItemKNN", "Pop",
    "eSASRec", "BSARec", "EASE", "SequentialRules", "ItemKNN-recency", "EASE-recency",
)  # fmt: skip


@dataclass(frozen=True)
class Look:
    """How a row is drawn in every figure."""

    colour: str
    marker: str
    hatch: str


Looks = Mapping[str, Look]  # by the row's label
SIZE = (4.6, 3.4)  # inches: two fit beside each other on a desktop, one fills a phone with its letters still legible
FONT = 10.5  # points
LEGEND_WIDTH = 40  # characters of a name in one line of a legend
LEGEND_HEIGHT = 0.75  # inches of a legend that fits in the figure's height


@dataclass(frozen=True)
class Figure:
    """A drawn figure: `svg` is ready to stand inside the page, `text` says how to read it."""

    name: str
    title: str
    text: str
    svg: str


def css_variables(scheme: int) -> str:
    """The palette as CSS custom properties; scheme 0 = light, 1 = dark."""
    return " ".join(f"--{name}: {colours[scheme]};" for name, colours in PALETTE.items())


@contextmanager
def axes(width: float = SIZE[0], height: float = SIZE[1]) -> Iterator:
    """A matplotlib Axes in the report's style; needs no display and leaves no global state behind."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas
    from matplotlib.rcsetup import cycler

    style: Any = {
        "font.size": FONT, "font.family": "sans-serif", "axes.titlesize": FONT, "axes.labelsize": FONT,
        "xtick.labelsize": FONT, "ytick.labelsize": FONT, "legend.fontsize": FONT, "legend.frameon": False,
        "text.color": LIGHT["ink"], "axes.labelcolor": LIGHT["soft"], "xtick.color": LIGHT["soft"],
        "ytick.color": LIGHT["soft"], "axes.edgecolor": LIGHT["grid"], "axes.facecolor": "none",
        "figure.facecolor": LIGHT["paper"], "grid.color": LIGHT["grid"], "axes.grid": True, "axes.axisbelow": True,
        "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none", "lines.linewidth": 1.6,
        "axes.prop_cycle": cycler(color=SERIES), "text.parse_math": False,
    }  # fmt: skip
    with matplotlib.rc_context(style):
        canvas = Canvas(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(canvas)
        yield canvas.add_subplot()


def seconds_axis(ax) -> None:
    """A logarithmic x-axis in seconds, with numbers one can read: 1, 2, 5, 10, …; where they run wide 1, 10, 100, …"""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_xscale("log")
    low, high = ax.get_xlim()
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 200 * low else (1,)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def legend_below(ax, columns: int = 3) -> None:
    """A legend under the plot in as many columns as fit side by side; the figure grows with a tall one."""
    handles, labels = ax.get_legend_handles_labels()
    labels = ["\n".join(wrap(label, LEGEND_WIDTH)) for label in labels]
    figure = ax.figure
    for count in range(min(columns, len(handles)), 0, -1):
        look = {"loc": "outside lower center", "ncols": count, "columnspacing": 1.2, "handlelength": 1.4}
        legend = figure.legend(handles, labels, **look)
        extent = legend.get_window_extent(figure.canvas.get_renderer())
        if extent.width <= figure.bbox.width or count == 1:
            figure.set_figheight(figure.get_figheight() + max(0, extent.height / figure.dpi - LEGEND_HEIGHT))
            return
        legend.remove()


def keep(ax, folder: Path, name: str, title: str, text: str) -> Figure:
    """Write NAME.png and NAME.svg to `folder`; returns the figure for the page. Equal figures give equal bytes."""
    import matplotlib

    with write_aside(folder / f"{name}.png") as aside:
        ax.figure.savefig(aside, format="png", dpi=200, metadata={"Software": None})
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        nothing = dict.fromkeys(["Creator", "Date", "Format", "Type"])
        ax.figure.savefig(buffer, format="svg", metadata=nothing)
    svg = themed(buffer.getvalue(), name)
    dark = f"@media (prefers-color-scheme: dark) {{ svg {{ {css_variables(1)} }} }}"
    style = f"<style>svg {{ {css_variables(0)} }} {dark}</style>"
    write_text(folder / f"{name}.svg", re.sub(r"(<svg[^>]*>)", rf"\1{style}", svg, count=1))
    return Figure(name, title, text, svg)


def themed(svg: str, name: str) -> str:
    """matplotlib's SVG made fit to stand in a page: colours by name, ids of its own, no outside addresses but XML's."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    for colour, (light, _) in PALETTE.items():
        svg = re.sub(rf"{light}\b", f"var(--{colour}, {light})", svg, flags=re.IGNORECASE)
    head, body = svg.split(">", maxsplit=1)
    head = re.sub(r' (?:width|height)="[^"]*"', "", head)  # the viewBox stays: the page gives the width
    return f"{head}>{body}"


def looks_of(rows: Iterable[tuple[str, str]]) -> Looks:
    """Each row's look, for (label, model) of rows. A model has one colour on every page, by its name; what else has
    that colour differs in mark and hatch.
    """
    looks: dict[str, Look] = {}
    taken: set[tuple[int, int]] = set()
    for label, model in sorted(rows, key=lambda row: (row[1] not in PLACES, row[0] != row[1])):
        place = PLACES.index(model) if model in PLACES else zlib.crc32(model.encode())
        colour, kind = place % len(SERIES), place // len(SERIES) if model in PLACES else 2
        while (colour, kind) in taken:
            kind += 1
        taken.add((colour, kind))
        hatch = HATCHES[(kind + kind // len(MARKERS)) % len(HATCHES)]
        looks[label] = Look(SERIES[colour], MARKERS[(colour + kind) % len(MARKERS)], hatch)
    return looks
