"""One whole row per run in summary.csv, with many writers, new figures, and files of other origin."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import pytest

from sear.errors import InputError
from sear.runs.summary import append_summary, read_summary
from tests.runs.test_folder import METRICS, RECORD


def test_a_run_has_one_row_with_its_figures(tmp_path):
    append_summary(tmp_path / "tiny" / "SEAR" / "a", RECORD)
    columns, rows = read_summary(tmp_path / "summary.csv")
    assert columns[:7] == ["dataset", "model", "run_id", "ablate", "seed", "epochs", "best_epoch"]
    assert rows[0]["run_id"] == "a" and float(rows[0]["test_hit@10"]) == 1 / 3 and rows[0]["commit"] == ""


def test_a_run_that_ends_twice_keeps_one_row_in_its_place(tmp_path):
    for name, seed in (("a", 1), ("b", 2), ("a", 3)):
        append_summary(tmp_path / "tiny" / "SEAR" / name, replace(RECORD, seed=seed))
    append_summary(tmp_path / "other" / "SEAR" / "a", replace(RECORD, dataset="other"))
    _, rows = read_summary(tmp_path / "summary.csv")
    assert [(row["dataset"], row["run_id"], row["seed"]) for row in rows] == [
        ("tiny", "a", "3"),
        ("tiny", "b", "2"),
        ("other", "a", "1"),
    ]


def test_new_figures_add_columns_and_keep_the_old_rows(tmp_path):
    append_summary(tmp_path / "tiny" / "SEAR" / "a", RECORD)
    append_summary(tmp_path / "tiny" / "SEAR" / "b", replace(RECORD, test_history_masked=METRICS))
    columns, rows = read_summary(tmp_path / "summary.csv")
    assert columns[-3:] == [f"test_history_masked_{name}" for name in METRICS]
    assert [row["test_history_masked_mrr@10"] for row in rows] == ["", "0.1"]
    assert [row["test_mrr@10"] for row in rows] == ["0.1", "0.1"]


def test_writers_at_the_same_time_lose_no_row(tmp_path):
    pytest.importorskip("fcntl")
    folders = [tmp_path / "tiny" / "SEAR" / str(number) for number in range(20)]
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        list(pool.map(append_summary, folders, [RECORD] * len(folders)))
    _, rows = read_summary(tmp_path / "summary.csv")
    assert sorted(int(row["run_id"]) for row in rows) == list(range(20))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".summary.lock", "summary.csv"]


@pytest.mark.parametrize(
    "text", ["", "name,score\n", "dataset,model,run_id\ntiny,SEAR\n", "dataset,model,run_id\na,b,c,d\n"]
)
def test_a_summary_of_other_origin_is_refused_and_kept(tmp_path, text):
    (tmp_path / "summary.csv").write_text(text)
    with pytest.raises(InputError, match="summary.csv"):
        append_summary(tmp_path / "tiny" / "SEAR" / "a", RECORD)
    assert (tmp_path / "summary.csv").read_text() == text
