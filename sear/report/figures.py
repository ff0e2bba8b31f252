"""The figures of a report, each drawn from rows of runs."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

import numpy as np
import pandas as pd

from sear.report.figure_style import FONT, LIGHT, SIZE, Figure, Looks, axes, keep, legend_below, seconds_axis
from sear.report.rows import Row, Tests, mean
from sear.report.run import Run
from sear.report.summaries import group_numbers, metric_name, without_note

MOST_MODELS = 8  # with bars: thinner ones are not read
LABEL_WIDTH = 26  # characters of a row's label in one line


def group_bars(
    name: str, title: str, rows: Sequence[Row], looks: Looks, key: str, what: str, metric: str, folder: Path
) -> Figure:
    """Bars of a metric by group, one colour per model, whiskers = deviation over seeds."""
    numbers = group_numbers(rows, key, metric)
    heads = numbers.drop_duplicates("group")
    width = 0.84 / len(rows)
    with axes() as ax:
        for place, row in enumerate(rows):
            own, look = numbers[numbers["model"] == row.label], looks[row.label]
            if own.empty:  # its runs were not asked for this metric by group
                continue
            left = own["group"].map(list(heads["group"]).index) - 0.42 + width * (place + 0.5)
            paint = {"color": look.colour, "hatch": look.hatch, "edgecolor": LIGHT["paper"], "linewidth": 0}
            ax.bar(left, own["mean"], width * 0.92, label=row.label, **paint)
            ax.errorbar(left, own["mean"], own["sd"], fmt="none", ecolor=LIGHT["ink"], elinewidth=0.9, capsize=0)
        ax.set_xticks(range(len(heads)), [f"{g}\n{c:,}" for g, c in zip(heads["group"], heads["cases"], strict=True)])
        ax.set(xlabel=f"{what}, number of test cases", ylabel=metric_name(metric))
        ax.grid(False, axis="x")
        ax.tick_params(length=0)
        legend_below(ax)
        several = any(len(row.runs) > 1 for row in rows)
        text = "Means over seeds; whiskers: a standard deviation each way." if several else ""
        without = [row.label for row in rows if row.label not in set(numbers["model"])]
        return keep(ax, folder, name, title, (text + without_note("groups", without)).strip())


def learning_curves(
    name: str, title: str, rows: Sequence[Row], looks: Looks, metric: str, over: str, folder: Path
) -> Figure | None:
    """Validation metric over epochs or seconds: a line per seed, a mark at the epoch that was tested; None without any.

    Args:
        over: "epoch" or "seconds".
    """
    column = f"valid_{metric}"
    with axes() as ax:
        drawn = 0
        for row in rows:
            label: str | None = row.label
            look = looks[row.label]
            for run in row.runs:
                curve = _curve(run, column)
                if curve is None:
                    continue
                x = curve["epoch"] + 1 if over == "epoch" else curve["seconds_so_far"]
                best = int(np.argmax(curve["epoch"] == run.record.best_epoch))
                ax.plot(x, curve[column], color=look.colour, alpha=0.6, linewidth=1.1)
                tested = x.iloc[best], curve[column].iloc[best]
                ax.plot(*tested, look.marker, color=look.colour, markersize=6, label=label)
                label, drawn = None, drawn + 1
        if not drawn:
            return None
        if over == "seconds":
            seconds_axis(ax)
        ax.set(xlabel="epoch" if over == "epoch" else "seconds of training", ylabel=f"validation {metric_name(metric)}")
        legend_below(ax)
        without = [row.label for row in rows if all(_curve(run, column) is None for run in row.runs)]
        text = "A line per seed; the mark is the epoch that was tested."
        return keep(ax, folder, name, title, text + without_note("curve", without))


def _curve(run: Run, column: str) -> pd.DataFrame | None:
    """The epochs that were validated, with the seconds of training up to each one's end."""
    if run.history is None or column not in run.history:
        return None
    curve = run.history.assign(seconds_so_far=run.history["seconds"].cumsum()).dropna(subset=[column])
    return curve if len(curve) else None


def quality_by_cost(
    name: str, title: str, rows: Sequence[Row], looks: Looks, metric: str, folder: Path
) -> Figure | None:
    """Each model's quality against its training time; None where no run says how long it took."""
    timed = [row for row in rows if mean(row.values("seconds", "train")) > 0]
    if not timed:
        return None
    with axes() as ax:
        for row in timed:
            look = looks[row.label]
            x, y = mean(row.values("seconds", "train")), mean(row.values("test", metric))
            ax.plot(x, y, look.marker, color=look.colour, markersize=9, label=row.label)
        seconds_axis(ax)
        ax.margins(0.12)
        ax.set(xlabel="seconds of training and validation", ylabel=f"test {metric_name(metric)}")
        legend_below(ax)
        untimed = [row.label for row in rows if row not in timed]
        return keep(ax, folder, name, title, "The best place is at the top left." + without_note("time", untimed))


def effects(
    name: str, title: str, rows: Sequence[Row], looks: Looks, reference: Row, tests: Tests, metric: str, folder: Path
) -> Figure:
    """Difference to the reference with its 95 % interval, a line per row; the mark says what the tests say."""
    others = [row for row in rows if (row.label, metric) in tests]
    labels = ["\n".join(wrap(row.label, LABEL_WIDTH, break_long_words=False)) for row in others]
    lines = max((label.count("\n") + 1 for label in labels), default=1)
    with axes(SIZE[0], 0.9 + (0.12 + 0.16 * lines) * len(others)) as ax:
        for place, row in enumerate(others):
            c = tests[row.label, metric].comparison
            colour, sure = looks[row.label].colour, tests[row.label, metric].mark
            ax.plot([c.low, c.high], [place, place], color=colour, linewidth=2.2, solid_capstyle="round")
            face = colour if sure else LIGHT["paper"]
            ax.plot(c.difference, place, "o" if sure else "s", color=colour, markerfacecolor=face, markersize=6)
        ax.axvline(0, color=LIGHT["ink"], linewidth=1)
        ax.set_yticks(range(len(others)), labels, color=LIGHT["ink"], fontsize=FONT)
        ax.invert_yaxis()
        ax.locator_params(axis="x", nbins=5)
        ax.grid(False, axis="y")
        ax.tick_params(length=0)
        ax.set(xlabel=f"{metric_name(metric)} − that of {reference.label}")
        text = (
            "With 95 % intervals, each for its comparison alone. Full circles: both tests tell the two apart after "
            "Holm's correction. Hollow squares: they do not. Right of the line is better."
        )
        return keep(ax, folder, name, title, text)
