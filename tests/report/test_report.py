import gzip
import json
import re

import numpy as np
import pandas as pd
import pytest

from sear.errors import InputError
from sear.evaluation.significance import Comparison
from sear.report import make_report
from sear.report.__main__ import main
from sear.report.freeze import freeze
from sear.report.read_runs import read_run, read_runs
from sear.report.rows import CorrectedTest, metrics_of, rows_of
from sear.report.run import with_same_metrics
from sear.report.tables import Entry, Table, best_in_column, escape_latex, to_latex, to_markdown
from tests.helpers.finished_runs import write_run


def test_p_values_are_corrected_over_the_rows_of_a_metric(report):
    table = pd.read_csv(report / "tables" / "tiny-significance.csv")
    for _, rows in table.groupby("metric"):
        assert len(rows) == 4
        smallest = rows.loc[rows["t_p"].idxmin()]
        assert smallest["t_p_holm"] == pytest.approx(min(4 * smallest["t_p"], 1))
        assert (rows["t_p_holm"] >= rows["t_p"]).all() and (rows["wilcoxon_p_holm"] >= rows["wilcoxon_p"]).all()


def test_frozen_runs_give_the_same_tables_and_hold_no_ids(report, tmp_path, no_figures):
    folders = freeze(read_runs([report.parent]), tmp_path / "frozen")
    assert sorted(path.name for path in folders[0].iterdir()) == ["metrics.json", "ranks.csv.gz"]
    kept = "".join(gzip.decompress((folder / "ranks.csv.gz").read_bytes()).decode() for folder in folders)
    assert re.fullmatch(r"(rank\n(\d+\n)+)+", kept)
    again = make_report([tmp_path / "frozen"]).parent
    for table in report.glob("*.csv"):
        assert (again / table.name).read_bytes() == table.read_bytes(), table.name


def test_freezing_twice_gives_the_same_bytes(report, tmp_path):
    runs = read_runs([report.parent])
    for one, other in zip(freeze(runs, tmp_path / "a"), freeze(runs, tmp_path / "b"), strict=True):
        assert (one / "ranks.csv.gz").read_bytes() == (other / "ranks.csv.gz").read_bytes()


@pytest.mark.parametrize(
    ("t_p", "wilcoxon_p", "mark"),
    [(0.009, 0.009, "‡"), (0.009, 0.011, "†"), (0.049, 0.001, "†"), (0.051, 0.001, ""), (0.001, 0.051, "")],
)
def test_a_mark_needs_both_tests(t_p, wilcoxon_p, mark):
    assert CorrectedTest(Comparison(9, 0.1, 0.0, 0.2, 1.0, 0.0, 0.0), t_p, wilcoxon_p).mark == mark


@pytest.mark.parametrize(("sear", "pop", "change"), [(1, 3, "+100.0 %"), (3, 1, "−50.0 %")])
def test_a_tile_says_how_far_the_reference_is_above_the_best_peer(tmp_path, no_figures, sear, pop, change):
    write_run(tmp_path, [sear] * 3)  # rank 1: NDCG 1, rank 3: 1/2
    write_run(tmp_path, [pop] * 3, model="Pop")
    page = make_report([tmp_path]).read_text(encoding="utf-8")
    interval = f"{change} to {change}"  # in the unit of the change itself
    tile = f"<span>SEAR against Pop</span><b>{change}</b><small>NDCG@10, 95 % interval {interval}</small>"
    assert tile in page


def test_seeds_with_other_groups_than_each_other_are_named(tmp_path, no_figures):
    write_run(tmp_path, [1, 2, 30], seed=1)
    folder = write_run(tmp_path, [1, 2, 30], seed=2)
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["test_by_history_length"][0]["group"] = "0-3"
    (folder / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(InputError, match="test_by_history_length has the groups 0-3, .* report on them apart"):
        make_report([tmp_path])


def test_a_reference_is_taken_where_it_is_and_must_be_somewhere(tmp_path, no_figures):
    for dataset, models in {"a": ("SEAR", "Pop", "SASRec"), "b": ("SEAR", "Pop")}.items():
        for number, model in enumerate(models):
            write_run(tmp_path, [number + 1, 2, 30], dataset=dataset, model=model)
    out = make_report([tmp_path], reference="SASRec").parent
    assert "differs from SASRec" in (out / "tables" / "a-models.md").read_text()
    assert "differs from SEAR" in (out / "tables" / "b-models.md").read_text()
    with pytest.raises(InputError, match="--reference=LLM: no such row - choose from SEAR, Pop, SASRec"):
        make_report([tmp_path], reference="LLM")


def test_a_row_of_one_seed_is_told_to_be_one_training(report):
    for name, one_seed in (("ablations", False), ("variants", True)):
        assert ("as that one training" in (report / "tables" / f"tiny-{name}-SEAR.md").read_text()) is one_seed


def test_best_is_what_reads_highest_and_ties_share_it():
    assert best_in_column([0.12341, 0.12339, 0.1]) == [True, True, False]
    assert best_in_column([0.5]) == [False]
    assert best_in_column([0.5, float("nan")]) == [False, False]


def test_tables_survive_signs_that_markdown_and_latex_claim():
    table = Table(
        "t", "50% of_all [1]", ["m_1", "x"], [[Entry("a|b & <i>"), Entry("1 ± 2", True, "†")]], pd.DataFrame(), "± is"
    )
    assert r"| a\|b & \<i\> |" in to_markdown(table) and "**1 ± 2**†" in to_markdown(table)
    latex = to_latex(table)
    assert r"a|b \& $<$i$>$ & \textbf{1 $\pm$ 2}$^\dagger$ \\" in latex
    assert r"\caption[{50\% of\_all [1]}]{50\% of\_all [1]. $\pm$ is}" in latex
    assert escape_latex("\\{~^}") == r"\textbackslash{}\{\textasciitilde{}\textasciicircum{}\}"


def test_a_model_of_the_users_own_is_a_peer_unless_it_is_sear_underneath(tmp_path, no_figures):
    write_run(tmp_path, [1, 2, 30])
    write_run(tmp_path, [2, 3, 30], model="Pop")
    mine = write_run(tmp_path, [1, 1, 30], model="mine")
    rows = rows_of(read_runs([tmp_path]))
    assert {row.label: row.baseline for row in rows} == {"mine": True, "SEAR": False, "Pop": True}
    metrics = json.loads((mine / "metrics.json").read_text())
    (mine / "metrics.json").write_text(json.dumps(metrics | {"class": "SEAR"}))
    assert {row.label: row.baseline for row in rows_of(read_runs([tmp_path]))}["mine"] is False


def test_ranks_without_the_history_have_a_table_and_tests_of_their_own(tmp_path, no_figures):
    random = np.random.default_rng(0)
    for model, plain, masked in (("SEAR", 40, 3), ("Pop", 5, 9)):
        write_run(tmp_path / "runs", random.integers(1, plain, 80), model=model, masked=random.integers(1, masked, 80))
    write_run(tmp_path / "runs", random.integers(1, 20, 80), model="SASRec")
    freeze(read_runs([tmp_path / "runs"]), tmp_path / "frozen")
    tables = []
    for name in ("runs", "frozen"):
        make_report([tmp_path / name], tmp_path / f"{name}-report")
        tables.append((tmp_path / f"{name}-report" / "tables" / "tiny-seen-filtered.md").read_text())
    assert tables[0] == tables[1]
    assert re.findall(r"^\| (\w+) ", tables[0], re.M)[1:] == ["SEAR", "Pop"] and "‡" in tables[0]
    tested = pd.read_csv(tmp_path / "frozen-report" / "tables" / "tiny-seen-filtered-significance.csv")
    assert set(tested["model"]) == {"Pop"} and (tested["t_p"] < 0.01).tolist() == [False, True, True]
    make_report([tmp_path / "runs"], tmp_path / "pop-report", reference="Pop")
    assert "differs from Pop" in (tmp_path / "pop-report" / "tables" / "tiny-seen-filtered.md").read_text()
    masked = read_runs([tmp_path / "frozen" / "tiny" / "SEAR"])[0].record.test_history_masked
    assert f"{masked['ndcg@10']:.4f}" in tables[0]


def test_both_protocols_stand_side_by_side_with_the_seeds_above_the_reference(tmp_path, no_figures):
    for seed, kept, filtered in ((1, [1, 2, 30], [1, 1, 30]), (2, [5, 5, 30], [1, 1, 3])):
        write_run(tmp_path / "runs", kept, seed=seed, masked=filtered)
    write_run(tmp_path / "runs", [3, 3, 30], model="Pop", seed=1, masked=[3, 3, 3])
    write_run(tmp_path / "runs", [3, 3, 30], model="Pop", seed=2, masked=[3, 3, 3])
    write_run(tmp_path / "runs", [3, 3, 30], model="SASRec", seed=9, masked=[3, 3, 3])
    write_run(tmp_path / "runs", [1, 1, 1], model="GRU4Rec", seed=1)
    write_run(tmp_path / "runs", [1, 1, 1], seed=3)  # not ranked with seen items filtered: no seed of this table
    make_report([tmp_path / "runs"], tmp_path / "report", reference="Pop")
    table = pd.read_csv(tmp_path / "report" / "tables" / "tiny-protocols.csv").set_index("model")
    assert set(table.index) == {"SEAR", "Pop", "SASRec"}  # GRU4Rec has no ranks with seen items filtered
    counts = ["seeds_above_kept", "seeds_paired_kept", "seeds_above_filtered", "seeds_paired_filtered"]
    assert table.loc["SEAR", counts].tolist() == [1, 2, 2, 2]
    assert table.loc["SASRec", counts].tolist() == [0, 0, 0, 0]
    ndcg = [1 / np.log2(1 + rank) for rank in range(1, 4)]
    kept, filtered = (ndcg[0] + ndcg[1]) / 3, 2 * ndcg[0] / 3
    assert table.loc["SEAR", "ndcg@10_kept"] == pytest.approx((kept + 2 / np.log2(6) / 3) / 2)
    assert table.loc["SEAR", "ndcg@10_filtered"] == pytest.approx((filtered + filtered + ndcg[2] / 3) / 2)
    told = (tmp_path / "report" / "tables" / "tiny-protocols.md").read_text()
    assert "Seeds above Pop" in told and "1 of 2 / 2 of 2" in told


def test_the_best_model_is_a_whole_one(tmp_path, no_figures):
    write_run(tmp_path, [2, 2, 30])
    write_run(tmp_path, [1, 1, 30], ablate="rating")
    page = make_report([tmp_path]).read_text(encoding="utf-8")
    assert "<span>Best model</span><b>SEAR</b>" in page and "SEAR without rating" in page


def test_equal_runs_give_equal_files(report, tmp_path):
    again = make_report([report.parent], out=tmp_path).parent
    files = sorted(path.relative_to(again) for path in again.glob("*/other-*"))
    assert len([name for name in files if name.suffix == ".svg"]) == 5
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


def test_groups_without_a_case_are_not_shown(tmp_path, no_figures):
    folder = write_run(tmp_path, [1, 2, 30])
    metrics = json.loads((folder / "metrics.json").read_text())
    empty = [group["group"] for group in metrics["test_by_item_popularity"] if not group["cases"]]
    out = make_report([tmp_path]).parent
    heads = (out / "tables" / "tiny-by-item-popularity.md").read_text().splitlines()[2]
    assert empty and "· 0" not in heads and not any(name in heads for name in empty)


@pytest.mark.parametrize("rated", [True, False])
def test_the_examples_say_nothing_of_ratings_where_there_are_none(tmp_path, no_figures, rated):
    folder = write_run(tmp_path, [1, 2, 30])
    examples = json.loads((folder / "examples.json").read_text())
    for event in (event for example in examples for event in example["history"]):
        event["rating"] = event["rating"] if rated else None
    (folder / "examples.json").write_text(json.dumps(examples))
    page = make_report([tmp_path]).read_text(encoding="utf-8").partition("<h3>Examples</h3>")[2]
    assert ("★" in page) is rated and ("rated" in page) is rated


def test_a_model_that_a_table_does_not_hold_is_told_below_it(tmp_path, no_figures):
    for model in ("SEAR", "Pop"):
        write_run(tmp_path, [1, 2, 30], dataset="a", model=model, masked=[1, 1, 3] if model == "SEAR" else None)
    write_run(tmp_path, [1, 2, 30], dataset="b")
    tables = make_report([tmp_path]).parent / "tables"
    assert "No run on this data set: Pop." in (tables / "b-models.md").read_text()
    assert "No run" not in (tables / "a-models.md").read_text()
    assert "No such ranks: Pop." in (tables / "a-seen-filtered.md").read_text()


def test_a_metric_that_one_run_was_not_asked_for_is_worked_out_of_its_ranks_and_told(tmp_path, no_figures):
    write_run(tmp_path, [1, 2, 30], masked=[1, 1, 30])
    folder = write_run(tmp_path, [1, 3, 30], model="Pop", masked=[1, 2, 30])
    metrics = json.loads((folder / "metrics.json").read_text())
    for part in (metrics["test"], metrics["test_history_masked"], *metrics["test_by_history_length"]):
        del part["mrr@10"], part["ndcg@10"]
    (folder / "metrics.json").write_text(json.dumps(metrics))
    tables = make_report([tmp_path]).parent / "tables"
    for name, value in (("models", (1 + 1 / 3) / 3), ("seen-filtered", (1 + 1 / 2) / 3)):
        found = pd.read_csv(tables / f"tiny-{name}.csv", index_col="model")
        assert found.loc["Pop", "mrr@10"] == pytest.approx(value)
        told = "Worked out of the ranks, which metrics.json lacks: NDCG@10, MRR@10 of Pop."
        assert told in (tables / f"tiny-{name}.md").read_text().replace("\\", "")
    assert "No groups: Pop." in (tables / "tiny-by-history-length.md").read_text()


def test_one_run_that_was_asked_for_more_does_not_widen_every_table(tmp_path):
    runs = [read_run(write_run(tmp_path, [1, 2, 30], seed=seed)) for seed in (1, 2, 3)]
    runs[0].record.test |= {"map@7": 0.5}
    found = with_same_metrics(runs)
    assert metrics_of(found) == list(runs[1].record.test) and not any(run.from_ranks for run in found)
    for run, metric in zip(runs, ("hit@5", "hit@10", "hit@20"), strict=True):
        run.record.test = {metric: 1.0}
    assert metrics_of(with_same_metrics(runs)) == ["hit@5", "hit@10", "hit@20"]


def test_a_report_is_one_page_on_top_of_two_folders(report):
    assert sorted(path.name for path in report.iterdir()) == ["figures", "report.html", "tables"]


def test_a_lone_run_with_other_settings_does_not_bear_the_bare_name(tmp_path, no_figures):
    write_run(tmp_path, [1, 2, 30], epochs=2, told={"epochs": 2})
    write_run(tmp_path, [2, 3, 30], model="SASRec", lr=0.1, epochs=2, told={"lr": 0.1, "epochs": 2})
    write_run(tmp_path, [2, 9, 30], model="SASRec", lr=0.2, epochs=2, told={"lr": 0.2, "epochs": 2})
    page = make_report([tmp_path])
    models = (page.parent / "tables" / "tiny-models.md").read_text()
    assert re.findall(r"^\| ([^|]*?) +\|", models, re.M)[1:] == [
        "SEAR (epochs=2)", "SASRec (epochs=2, lr=0.1)", "SASRec (epochs=2, lr=0.2)",
    ]  # fmt: skip
    assert "differs from SEAR (epochs=2)" in models.replace("\\", "")
    assert not (page.parent / "tables" / "tiny-variants-SASRec.md").exists()
