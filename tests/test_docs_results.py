"""Tables and figures of results in README and docs/ are those that the report makes of the kept runs."""

import json
import re

import numpy as np
import pytest

from sear.report import figures, make_report
from tests.helpers.doc_pages import PAGES, ROOT, page_name, page_text

RESULTS = ROOT / "docs" / "results"
BEST_BASELINE = "Mamba4Rec-tuned"  # on ml-100k, by validation


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """The folder of the reports on docs/results, with the one figure that is shown."""
    folder = tmp_path_factory.mktemp("reports")
    with pytest.MonkeyPatch.context() as patch:
        for other in ("group_bars", "learning_curves", "quality_by_cost"):
            patch.setattr(figures, other, lambda *_: None)
        for name in ("models", "variants", "additions"):
            make_report([RESULTS / name], folder / name)
        make_report([RESULTS / "tuned"], folder / "tuned", BEST_BASELINE)
        together = [RESULTS / "tuned", RESULTS / "unmixed", RESULTS / "models" / "ml-100k"]
        make_report(together, folder / "together", BEST_BASELINE)
    return folder


def test_tables_of_results_are_made_of_the_kept_runs(reports):
    count = 0
    for path in PAGES:
        text = page_text(path)
        shown = re.findall(r"^<!-- (\S+/\S+) -->\n((?:\|.*\n)+)", text, re.M)
        assert len(shown) == len(re.findall(r"^\| model ", text, re.M)), path  # none without its name
        for name, table in shown:
            report, _, table_name = name.partition("/")
            made = re.findall(r"^\|.*\n", page_text(reports / report / "tables" / f"{table_name}.md"), re.M)
            if name.endswith("significance"):  # the tests on the main metric stand for all
                made = [line for place, line in enumerate(made) if place < 2 or "NDCG@10" in line]
            assert table == "".join(made), f"{page_name(path)}: {name}"
            count += 1
    assert count == 14


def test_the_readme_has_one_table_of_results():
    assert len(re.findall(r"^\| model ", page_text(ROOT / "README.md"), re.M)) == 1


def test_the_figure_of_results_is_made_of_the_kept_runs(reports):
    name = "ml-100k-effects.svg"
    shown, made = (page_text(folder / name) for folder in (RESULTS, reports / "models" / "figures"))
    words, marks = r"<text[^>]*>([^<]*)", r'<use [^>]*x="([\d.]+)" y="([\d.]+)"'
    assert re.findall(words, shown) == re.findall(words, made)
    assert len(re.findall(marks, shown)) > 10
    assert re.findall(r"<use [^>]*(--c\d)", shown) == re.findall(r"<use [^>]*(--c\d)", made)
    assert np.array(re.findall(marks, shown), float) == pytest.approx(np.array(re.findall(marks, made), float), abs=1.0)


def commits_of(run):
    """The commits of a run, the last one first, each as seven letters."""
    known = [run["environment"]["commit"], *run["environment"].get("earlier_commits", [])]
    return [commit[:7] + ("+changes" if commit.endswith("+changes") else "") for commit in known]


def test_the_provenance_is_that_of_the_kept_runs():
    def joined(values):
        return ", ".join(map(str, values))

    made = []
    kinds = ("tuned", "unmixed", "models", "variants", "additions")
    for folder in (path for kind in kinds for path in sorted((RESULTS / kind).glob("*/*"))):
        runs = [json.loads(page_text(path)) for path in sorted(folder.glob("seed-*/metrics.json"))]
        cells = [
            folder.relative_to(RESULTS),
            joined(run["seed"] for run in runs),
            joined(f"{run['epochs']}\N{NO-BREAK SPACE}({run['best_epoch']})" for run in runs),
            joined(dict.fromkeys(run["environment"]["threads"] for run in runs)),
            joined(dict.fromkeys(commit for run in runs for commit in commits_of(run))),
        ]
        made.append(f"| {' | '.join(map(str, cells))} |")
    table = page_text(RESULTS / "README.md").partition("<!-- provenance -->\n")[2].splitlines()
    assert table[2:] == made and len(made) > 40


def test_what_the_text_says_of_single_seeds_is_in_the_kept_runs():
    text = " ".join(page_text(ROOT / "docs" / "results.md").split())
    found = re.search(
        r"SEAR's seed 4 too soon: it tests at NDCG@10 (\S+) \(the others at (\S+) to (\S+)\)\. "
        r"Without seed 4 of all models, SEAR's mean of the first table is (\S+)\.",
        text,
    ).groups()
    folder = RESULTS / "models" / "ml-100k" / "SEAR"
    runs = {seed: json.loads(page_text(folder / f"seed-{seed}" / "metrics.json")) for seed in range(1, 6)}
    value = {seed: run["test"]["ndcg@10"] for seed, run in runs.items()}
    one = value.pop(4)
    made = (one, min(value.values()), max(value.values()), np.mean(list(value.values())))
    assert list(found) == [f"{number:.4f}" for number in made]


def test_the_table_of_tied_events_is_that_of_the_kept_values():
    made = []
    for found in json.loads(page_text(RESULTS / "tied-events.json"))["data_sets"]:
        for protocol in ("kept", "filtered"):
            cells = [found["dataset"], protocol]
            for metric in ("hit@10", "ndcg@10"):
                value = found[f"{metric}, {protocol}"]
                cells += [
                    f"{value['as the file is']:.4f}",
                    f"{value['mean']:.4f} \N{PLUS-MINUS SIGN} {value['sd']:.4f}",
                ]
            made.append(f"| {' | '.join(cells)} |")
    text = page_text(ROOT / "docs" / "results.md").partition("## The order of tied events")[2]
    assert re.findall(r"^\| \S+ \| (?:kept|filtered) \|.*$", text, re.M) == made


def test_the_tables_of_new_items_are_those_of_the_kept_values():
    ways = {
        "random": "chance",
        "popularity": "popularity",
        "texts of the last 1": "texts most like the last item's",
        "texts of the last 5": "texts most like the last five items'",
        "ridge": "`add_items`",
        "ridge, items alike": "ridge, all items alike",
        "neighbours": "mean of ten nearest items",
        "tied texts alone": "tied text part alone",
    }
    text = page_text(ROOT / "docs" / "results.md").partition("## Items that were never sold")[2]
    files = list(RESULTS.glob("new-items-*.json"))
    made = []
    for path in files:
        found = json.loads(page_text(path))
        assert found["chosen"] == "ridge"
        for way, name in ways.items():
            cells = [found["dataset"], name]
            for among in ("all, seen filtered", "new"):
                for metric in ("hit@10", "mrr"):
                    value = found["test"][way][among][metric]
                    interval = f"({value['low']:.4f}\N{EN DASH}{value['high']:.4f})"
                    cells.append(f"{value['mean']:.4f} {interval}")
            made.append(f"| {' | '.join(cells)} |")
        loss = found["existing users"]["ridge"]
        values = [f"{loss[part]['ndcg@10']['mean']:.4f}" for part in ("without", "with")]
        change = loss["change"]["ndcg@10"]
        cells = [found["dataset"], f"{found['existing users']['cases']:,}", *values]
        cells.append(f"{change['low']:+.4f} to {change['high']:+.4f}")
        made.append(f"| {' | '.join(cells)} |")
    assert files and set(re.findall(r"^\| (?:ml-|beauty).*$", text, re.M)) == set(made)
