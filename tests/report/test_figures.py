"""The figures of a report: their files, their looks, and what they leave out."""

import json
import re

import numpy as np
import pytest

from sear.report import make_report
from sear.report.figure_style import PALETTE, looks_of
from sear.report.figures import learning_curves, quality_by_cost
from sear.report.read_runs import read_runs
from sear.report.rows import rows_of
from tests.helpers.finished_runs import write_run


def test_the_page_says_under_each_figure_how_to_read_it(report):
    page = (report / "report.html").read_text(encoding="utf-8")
    for words in ("whiskers: a standard deviation", "the mark is the epoch", "at the top left", "Hollow squares"):
        assert words in page
    noted = re.findall(r'aria-describedby="([^"]+)"', page)
    assert len(noted) > 6 and all(f'id="{note}"' in page for note in noted)


def test_every_figure_is_there_as_png_and_as_svg_for_both_schemes(report):
    stems = {path.stem for path in report.glob("figures/*.svg")}
    parts = "by-history-length by-item-popularity curves-by-epoch curves-by-seconds cost effects".split()
    assert {f"tiny-{part}" for part in parts} <= stems
    assert stems == {path.stem for path in report.glob("figures/*.png")}
    for path in report.glob("figures/*.svg"):
        text = path.read_text(encoding="utf-8")
        assert "prefers-color-scheme: dark" in text and f"var(--ink, {PALETTE['ink'][0]})" in text
        bare = re.findall(r"(?<!, )#[0-9a-f]{6}\b", re.sub(r"<style>.*?</style>", "", text))
        assert not bare, f"{path.name}: a colour that does not follow the scheme"


def test_learning_curves_mark_the_epoch_that_was_tested(tmp_path, monkeypatch):
    folder, drawn = write_run(tmp_path, [1, 2, 30]), []
    monkeypatch.setattr("sear.report.figures.keep", lambda ax, *_: drawn.extend(ax.lines))
    rows = rows_of(read_runs([folder]))
    learning_curves("curves", "Curves", rows, looks_of([("SEAR", "SEAR")]), "ndcg@10", "epoch", tmp_path)
    curve, mark = drawn
    best = rows[0].runs[0].record.best_epoch
    assert np.argmax(curve.get_ydata()) != best
    assert mark.get_xdata().item() == best + 1 and mark.get_ydata().item() == curve.get_ydata()[best]


@pytest.mark.long
def test_bars_leave_out_no_reference_and_say_what_they_leave_out(tmp_path):
    for number in range(10):
        write_run(tmp_path, [number + 1, 10], model=f"model{number}")
    write_run(tmp_path, [11, 11], model="SEAR")
    page = make_report([tmp_path]).read_text(encoding="utf-8")
    bars = (tmp_path / "report" / "figures" / "tiny-by-history-length.svg").read_text(encoding="utf-8")
    assert "NDCG@10 by history length, 8 of 11 models" in page
    assert "whiskers" not in page and "Hollow squares" in page  # one seed has no deviation
    assert ">SEAR<" in bars and ">model6<" in bars and ">model7<" not in bars
    assert "var(--c1," in bars  # SEAR, the eleventh, in its own colour


def test_a_run_without_the_groups_of_a_metric_has_no_bars(tmp_path):
    write_run(tmp_path, [1, 10])
    other = write_run(tmp_path, [2, 11], model="SASRec") / "metrics.json"
    record = json.loads(other.read_text())
    for values in (record["test"], *record["test_by_history_length"], *record["test_by_item_popularity"]):
        del values["ndcg@10"]
    other.write_text(json.dumps(record))
    page = make_report([tmp_path]).read_text(encoding="utf-8")
    assert "No groups: SASRec." in page


@pytest.mark.parametrize(
    "names",
    [
        [f"SEAR-value-dropout04-window{n}" for n in range(4)],
        [f"Rec{n}" for n in range(30)],
        ["no-" * 40],
        ["WITHOUT-RATING-AND-MORE-WARMUP-" * 2],
    ],
)
def test_every_name_of_a_legend_lies_inside_the_figure_and_the_plot_keeps_its_height(tmp_path, monkeypatch, names):
    for number, name in enumerate(names):
        write_run(tmp_path, [number + 1, 10], model=name)
    seen = []
    monkeypatch.setattr("sear.report.figures.keep", lambda ax, *_: seen.append(ax))
    rows = rows_of(read_runs([tmp_path]))
    quality_by_cost("cost", "Cost", rows, looks_of((name, name) for name in names), "ndcg@10", tmp_path)
    (ax,) = seen
    ax.figure.draw_without_rendering()
    (legend,) = ax.figure.legends
    assert [text.get_text().replace("\n", "") for text in legend.get_texts()] == [row.label for row in rows]
    for text in legend.get_texts():
        box = text.get_window_extent()
        assert 0 <= box.x0 and box.x1 <= ax.figure.bbox.width and 0 <= box.y0
    assert ax.get_window_extent().height / ax.figure.dpi > 1.8


def test_fifty_models_look_different():
    assert len(set(looks_of((f"model{number}", f"model{number}") for number in range(50)).values())) == 50


def test_signs_of_formulas_in_a_name_are_only_signs(tmp_path):
    write_run(tmp_path, [1, 2, 30])
    write_run(tmp_path, [2, 3, 30], model="a$^$b")
    assert ">a$^$b<" in (make_report([tmp_path]).parent / "figures" / "tiny-effects.svg").read_text(encoding="utf-8")


def test_a_model_has_one_colour_on_all_pages():
    few, many = ([(name, name) for name in names] for names in (("mine", "SASRec"), ("SEAR", "Pop", "SASRec", "mine")))
    for name in ("mine", "SASRec"):
        assert looks_of(few)[name].colour == looks_of(reversed(many))[name].colour
    looks = looks_of([("SEAR", "SEAR"), ("SEAR without rating", "SEAR"), ("SASRec", "SASRec")])
    assert looks["SEAR"].colour == looks["SEAR without rating"].colour != looks["SASRec"].colour
    assert looks["SEAR"].marker != looks["SEAR without rating"].marker
    assert looks["SEAR"].hatch != looks["SEAR without rating"].hatch
