import gzip
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from sear.report import make_report
from sear.report.__main__ import main
from sear.report.figure_style import PALETTE, looks_of
from sear.report.figures import learning_curves
from sear.report.freeze import freeze
from sear.report.rows import rows_of
from sear.report.runs import read_runs
from sear.report.tables import Entry, Table, best_in_column, escape_latex, to_latex, to_markdown
from tests.finished_runs import write_run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


def write_grid(results):
    """Three models (one in a variant), an ablation, two seeds, 60 cases, and a second data set with a single run."""
    random = np.random.default_rng(3)
    difficulty = random.integers(1, 25, 60)
    for seed in (1, 2):
        noise = random.integers(0, 4, 60)
        write_run(results, difficulty + noise, seed=seed)
        write_run(results, difficulty + noise + 1, seed=seed, ablate="text_init")
        write_run(results, difficulty + 9 * noise, model="SASRec", seed=seed)
        write_run(results, difficulty + 40 - noise, model="Pop", seed=seed)
    write_run(results, difficulty, seed=1, window_stride=25)
    write_run(results, difficulty, dataset="other", seed=1)
    return results


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    results = write_grid(tmp_path_factory.mktemp("grid") / "results")
    return make_report([results], command="python -m sear.report <results>").parent


@pytest.fixture
def no_figures(monkeypatch):
    """For what figures have no part in: drawing takes most of a report's time."""
    monkeypatch.setattr("sear.report.sections._figures", lambda *args: {})


def test_p_values_are_corrected_over_the_rows_of_a_metric(report):
    table = pd.read_csv(report / "tiny-significance.csv")
    for _, rows in table.groupby("metric"):
        assert len(rows) == 4
        smallest = rows.loc[rows["t_p"].idxmin()]
        assert smallest["t_p_holm"] == pytest.approx(min(4 * smallest["t_p"], 1))
        assert (rows["t_p_holm"] >= rows["t_p"]).all() and (rows["wilcoxon_p_holm"] >= rows["wilcoxon_p"]).all()


def test_frozen_cells_give_the_same_tables_and_hold_no_ids(report, tmp_path, no_figures):
    cells = freeze(read_runs([report.parent]), tmp_path / "frozen")
    assert sorted(path.name for path in cells[0].iterdir()) == ["metrics.json", "ranks.csv.gz"]
    kept = "".join(gzip.decompress((cell / "ranks.csv.gz").read_bytes()).decode() for cell in cells)
    assert re.fullmatch(r"(rank\n(\d+\n)+)+", kept)
    again = make_report([tmp_path / "frozen"]).parent
    for table in report.glob("*.csv"):
        assert (again / table.name).read_bytes() == table.read_bytes(), table.name


def test_freezing_twice_gives_the_same_bytes(report, tmp_path):
    runs = read_runs([report.parent])
    for one, other in zip(freeze(runs, tmp_path / "a"), freeze(runs, tmp_path / "b"), strict=True):
        assert (one / "ranks.csv.gz").read_bytes() == (other / "ranks.csv.gz").read_bytes()


def test_best_is_what_reads_highest_and_ties_share_it():
    assert best_in_column([0.12341, 0.12339, 0.1]) == [True, True, False]
    assert best_in_column([0.5]) == [False]
    assert best_in_column([0.5, float("nan")]) == [False, False]


def test_tables_survive_signs_that_markdown_and_latex_claim():
    table = Table("t", "50% of_all", ["m_1", "x"], [[Entry("a|b & <i>"), Entry("1 ± 2", True, "†")]], pd.DataFrame())
    assert r"| a\|b & \<i\> |" in to_markdown(table) and "**1 ± 2**†" in to_markdown(table)
    latex = to_latex(table)
    assert r"a|b \& $<$i$>$ & \textbf{1 $\pm$ 2}$^\dagger$ \\" in latex and r"\caption{50\% of\_all}" in latex
    assert escape_latex("\\{~^}") == r"\textbackslash{}\{\textasciitilde{}\textasciicircum{}\}"


class Reader(HTMLParser):
    """Gathers tags and notices elements that are closed in the wrong order."""

    VOID = {"meta", "br", "img", "link", "path", "use"}

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.outside = [], [], []

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        self.ids += [known["id"]] if "id" in known else []
        named = (known.get(name) or "" for name in ("src", "href", "xlink:href"))
        self.outside += [value for value in named if value and not value.startswith("#")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_from_outside(report):
    text = (report / "report.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert reader.open == [] and reader.outside == []
    assert len(set(reader.ids)) == len(reader.ids)
    assert "<script" not in text and "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_the_page_escapes_what_runs_say(report):
    text = (report / "report.html").read_text(encoding="utf-8")
    assert "&lt;i&gt;Eraserhead&lt;/i&gt; &amp; Co. (1977)" in text and "<i>Eraserhead" not in text
    assert "python -m sear.report &lt;results&gt;" in text
    assert "python custom_trainer.py --dataset=tiny --model=Pop --seed=2" in text
    assert ">fedcba, abcdef<" in text  # earlier commits of runs that were resumed


def test_every_figure_is_there_as_png_and_as_svg_for_both_schemes(report):
    stems = {path.stem for path in report.glob("*.svg")}
    parts = "by-history-length by-item-popularity curves-by-epoch curves-by-seconds cost effects".split()
    assert {f"tiny-{part}" for part in parts} <= stems
    assert stems == {path.stem for path in report.glob("*.png")}
    for path in report.glob("*.svg"):
        text = path.read_text(encoding="utf-8")
        assert "prefers-color-scheme: dark" in text and f"var(--ink, {PALETTE['ink'][0]})" in text
        bare = re.findall(r"(?<!, )#[0-9a-f]{6}\b", re.sub(r"<style>.*?</style>", "", text))
        assert not bare, f"{path.name}: a colour that does not follow the scheme"


def test_learning_curves_mark_the_epoch_that_was_tested(tmp_path, monkeypatch):
    folder, drawn = write_run(tmp_path, [1, 2, 30]), []
    monkeypatch.setattr("sear.report.figures.keep", lambda ax, *_: drawn.extend(ax.lines))
    rows = rows_of(read_runs([folder]))
    learning_curves("curves", "Curves", rows, looks_of(["SEAR"]), "ndcg@10", "epoch", tmp_path)
    curve, mark = drawn
    best = rows[0].runs[0].metrics["best_epoch"]
    assert np.argmax(curve.get_ydata()) != best
    assert mark.get_xdata().item() == best + 1 and mark.get_ydata().item() == curve.get_ydata()[best]


def test_a_model_of_the_users_own_is_a_peer_unless_it_is_sear_underneath(tmp_path, no_figures):
    write_run(tmp_path, [1, 2, 30])
    write_run(tmp_path, [2, 3, 30], model="Pop")
    mine = write_run(tmp_path, [1, 1, 30], model="mine")
    rows = rows_of(read_runs([tmp_path]))
    assert {row.label: row.peer for row in rows} == {"mine": True, "SEAR": False, "Pop": True}
    metrics = json.loads((mine / "metrics.json").read_text())
    (mine / "metrics.json").write_text(json.dumps(metrics | {"class": "SEAR"}))
    assert {row.label: row.peer for row in rows_of(read_runs([tmp_path]))}["mine"] is False


def test_ranks_without_the_history_have_a_table_and_tests_of_their_own(tmp_path, no_figures):
    random = np.random.default_rng(0)
    for model, plain, masked in (("SEAR", 40, 3), ("Pop", 5, 9)):
        write_run(tmp_path / "runs", random.integers(1, plain, 80), model=model, masked=random.integers(1, masked, 80))
    write_run(tmp_path / "runs", random.integers(1, 20, 80), model="SASRec")
    freeze(read_runs([tmp_path / "runs"]), tmp_path / "frozen")
    tables = []
    for name in ("runs", "frozen"):
        make_report([tmp_path / name], tmp_path / f"{name}-report")
        tables.append((tmp_path / f"{name}-report" / "tiny-history-masked.md").read_text())
    assert tables[0] == tables[1]
    assert re.findall(r"^\| (\w+) ", tables[0], re.M)[1:] == ["SEAR", "Pop"] and "‡" in tables[0]
    tested = pd.read_csv(tmp_path / "frozen-report" / "tiny-history-masked-significance.csv")
    assert set(tested["model"]) == {"Pop"} and (tested["t_p"] < 0.01).tolist() == [False, True, True]
    make_report([tmp_path / "runs"], tmp_path / "pop-report", reference="Pop")
    assert "differs from Pop" in (tmp_path / "pop-report" / "tiny-history-masked.md").read_text()
    masked = read_runs([tmp_path / "frozen" / "tiny" / "SEAR"])[0].metrics["test_history_masked"]
    assert f"{masked['ndcg@10']:.4f}" in tables[0]


def test_the_best_model_is_a_whole_one(tmp_path, no_figures):
    write_run(tmp_path, [2, 2, 30])
    write_run(tmp_path, [1, 1, 30], ablate="rating")
    page = make_report([tmp_path]).read_text(encoding="utf-8")
    assert "<span>Best model</span><b>SEAR</b>" in page and "SEAR without rating" in page


def test_bars_leave_out_no_reference_and_say_what_they_leave_out(tmp_path):
    for number in range(10):
        write_run(tmp_path, [number + 1, 10], model=f"model{number}")
    write_run(tmp_path, [11, 11], model="SEAR")
    page = make_report([tmp_path]).read_text(encoding="utf-8")
    bars = (tmp_path / "report" / "tiny-by-history-length.svg").read_text(encoding="utf-8")
    assert "NDCG@10 by history length, 8 of 11 models" in page
    assert ">SEAR<" in bars and ">model6<" in bars and ">model7<" not in bars
    assert "var(--c3," in bars and "var(--c8," not in bars  # SEAR, the eleventh, in its own colour


def test_fifty_models_look_different():
    assert len(set(looks_of([f"model{number}" for number in range(50)]).values())) == 50


def test_signs_of_formulas_in_a_name_are_only_signs(tmp_path):
    write_run(tmp_path, [1, 2, 30])
    write_run(tmp_path, [2, 3, 30], model="a$^$b")
    assert ">a$^$b<" in (make_report([tmp_path]).parent / "tiny-effects.svg").read_text(encoding="utf-8")


def test_equal_runs_give_equal_files(report, tmp_path):
    again = make_report([report.parent / "other"], out=tmp_path).parent
    files = sorted(path.name for path in again.glob("other-*"))
    assert len([name for name in files if name.endswith(".svg")]) == 5
    for name in files:
        assert (again / name).read_bytes() == (report / name).read_bytes(), name


def test_the_command_reports_and_freezes_and_names_mistakes(report, tmp_path, capsys, no_figures):
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "no finished run there" in capsys.readouterr().err
    assert main([str(report.parent), f"--out={tmp_path / 'out'}", "--reference=LLM"]) == 2
    assert "choose from" in capsys.readouterr().err
    assert main([f"--freeze={tmp_path / 'frozen'}", str(report.parent)]) == 0
    assert len(list((tmp_path / "frozen").rglob("ranks.csv.gz"))) == 10
    one = write_run(tmp_path, [1, 2])
    assert main([str(one)]) == 0
    assert (one / "report" / "report.html").exists()


def test_a_run_without_extras_is_reported_all_the_same(tmp_path, no_figures):
    folder = write_run(tmp_path, [1, 2, 30], example_titles=None)
    metrics = json.loads((folder / "metrics.json").read_text())
    for key in ("peak_memory_mb", "command"):
        del metrics[key]
    (folder / "metrics.json").write_text(json.dumps(metrics))
    text = make_report([folder]).read_text(encoding="utf-8")
    assert "not recorded" in text and "Examples" not in text


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_a_browser_finds_no_error_and_no_overflow_on_phone_and_desktop(report, tmp_path, scheme):
    page = html.escape((report / "report.html").read_text(encoding="utf-8").replace("<details", "<details open"))
    frames = "".join(f'<iframe width="{width}" height="900" srcdoc="{page}"></iframe>' for width in (390, 1280))
    pages = "[...document.querySelectorAll('iframe')].map(frame => frame.contentDocument)"
    told = "[page.documentElement.scrollWidth - page.documentElement.clientWidth, getComputedStyle(page.body).color]"
    script = f"onload = () => {{ document.title = JSON.stringify({pages}.map(page => {told})) }}"
    (tmp_path / "frames.html").write_text(f"<!DOCTYPE html><title></title>{frames}<script>{script}</script>")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += ["--no-first-run", f"--user-data-dir={tmp_path / 'user'}", "--enable-logging=stderr", "--dump-dom"]
    command += [f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"]
    done = subprocess.run([*command, (tmp_path / "frames.html").as_uri()], capture_output=True, text=True, timeout=120)
    ink = PALETTE["ink"][int(scheme == "dark")]
    colour = f"rgb({', '.join(str(int(ink[place : place + 2], 16)) for place in (1, 3, 5))})"
    assert json.loads(re.search("<title>(.*?)</title>", done.stdout).group(1)) == [[0, colour], [0, colour]]
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
