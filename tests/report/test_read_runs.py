import json
import os
import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sear.errors import InputError
from sear.evaluation.examples import example_cases, examples
from sear.report import make_report
from sear.report.figure_style import axes, seconds_axis
from sear.report.freeze import freeze
from sear.report.read_runs import read_runs
from sear.report.rows import compare_rows, rows_of
from sear.report.summaries import marks_note, quality_table
from tests.helpers.finished_runs import write_run

NEVER = 99  # a rank past every cut-off


def test_means_and_deviations_are_taken_over_seeds(tmp_path):
    write_run(tmp_path, [1, NEVER, NEVER, NEVER], seed=1)
    write_run(tmp_path, [1, 2, 2, NEVER], seed=2)
    write_run(tmp_path, [1, 1, NEVER, NEVER], model="Pop", seed=1)
    table = quality_table("t", "t", rows_of(read_runs([tmp_path])), ["hit@10", "mrr@10"], {}, "")
    numbers = table.numbers.set_index("model").loc["SEAR"]
    assert numbers["hit@10"] == (1 / 4 + 3 / 4) / 2
    assert numbers["hit@10_sd"] == pytest.approx(np.sqrt(2 * (1 / 4) ** 2))
    assert numbers["mrr@10"] == pytest.approx((1 / 4 + (1 + 1 / 2 + 1 / 2) / 4) / 2)
    pop = table.entries[[row[0].text for row in table.entries].index("Pop")]
    assert [entry.text for entry in pop] == ["Pop", "1", "0.5000", "0.5000", "0.5000"]  # one seed has no deviation
    assert table.columns[2:] == ["Hit@10", "MRR@10", "validation MRR@10"]


def test_validation_stands_in_a_table_only_where_one_metric_chose_all_epochs(tmp_path):
    write_run(tmp_path, [1, NEVER], valid_metric="Hit@10")
    table = quality_table("t", "t", rows_of(read_runs([tmp_path])), ["mrr@10"], {}, "")
    assert table.columns[2:] == ["MRR@10", "validation Hit@10"] and table.numbers["valid_hit@10"].item() == 1 / 2
    write_run(tmp_path, [1, NEVER], model="Pop")
    table = quality_table("t", "t", rows_of(read_runs([tmp_path])), ["mrr@10"], {}, "")
    assert table.columns[2:] == ["MRR@10"]


def test_a_change_that_cannot_be_told_is_a_dash(tmp_path):
    write_run(tmp_path, [NEVER, NEVER])
    write_run(tmp_path, [1, NEVER], ablate="rating")
    rows = rows_of(read_runs([tmp_path]))
    table = quality_table("t", "t", rows, ["mrr@10"], {}, "", against=next(row for row in rows if row.whole))
    assert [entries[-1].text for entries in table.entries] == ["–", "–"]


def test_cases_are_averaged_over_seeds_before_they_are_tested(tmp_path):
    write_run(tmp_path, [1, 2, NEVER, 4], seed=1)
    write_run(tmp_path, [1, 1, NEVER, 4], seed=2)
    write_run(tmp_path, [2, 4, NEVER, NEVER], model="Pop", seed=1)
    rows = rows_of(read_runs([tmp_path]))
    assert [row.label for row in rows] == ["SEAR", "Pop"]
    tested = compare_rows(rows, rows[0], ["mrr@10"])["Pop", "mrr@10"]
    sear, pop = [1, (1 / 2 + 1) / 2, 0, 1 / 4], [1 / 2, 1 / 4, 0, 0]
    assert tested.comparison.difference == pytest.approx(sum(pop) / 4 - sum(sear) / 4)
    assert tested.t_p == pytest.approx(stats.ttest_rel(pop, sear).pvalue)


def test_cases_are_matched_whatever_their_order_in_the_files(tmp_path):
    first, second = write_run(tmp_path, [1, 2, 3]), write_run(tmp_path, [3, 2, 1], model="Pop")
    cases = pd.read_csv(second / "cases.csv.gz")
    cases.iloc[[2, 0, 1]].to_csv(second / "cases.csv.gz", index=False)
    runs = {run.model: run for run in read_runs([first, second])}
    assert runs["Pop"].ranks.tolist() == [3, 2, 1]
    assert runs["Pop"].cases.equals(runs["SEAR"].cases)


def test_of_two_runs_of_one_run_the_newer_counts(tmp_path):
    older = write_run(tmp_path / "a", [NEVER, NEVER])
    newer = write_run(tmp_path / "b", [1, 1])
    stamp = (older / "metrics.json").stat().st_mtime_ns
    for folder, later in ((older, 0), (newer, 10**9)):
        os.utime(folder / "metrics.json", ns=(stamp + later, stamp + later))
    assert [run.folder for run in read_runs([tmp_path])] == [newer]


def test_a_frozen_command_names_no_place_of_one_machine(tmp_path):
    told = {"data_path": "/home/me/dataset", "encoder": "/home/me/mpnet", "note": "a b"}
    folder = write_run(tmp_path / "a", [1, 2], told=told)
    (frozen,) = freeze(read_runs([folder]), tmp_path / "frozen")
    kept = json.loads((frozen / "metrics.json").read_text())
    assert kept["command"] == "python custom_trainer.py --dataset=tiny --model=SEAR --seed=1 '--note=a b'"
    assert kept["overrides"] == {"encoder": "mpnet", "note": "a b"}
    metrics = json.loads((folder / "metrics.json").read_text())
    del metrics["overrides"]  # as an earlier SEAR wrote it: what its command held is not looked for
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (frozen,) = freeze(read_runs([folder]), tmp_path / "again")
    assert json.loads((frozen / "metrics.json").read_text())["command"] is None


def test_a_broken_run_is_named(tmp_path):
    with pytest.raises(InputError, match="no finished run there"):
        read_runs([tmp_path])
    folder = write_run(tmp_path, [1, 2])
    (folder / "cases.csv.gz").write_bytes((folder / "cases.csv.gz").read_bytes()[:-9])
    with pytest.raises(InputError, match="cases.csv.gz"):
        read_runs([tmp_path])


def test_the_note_explains_marks_only_where_there_are_any(tmp_path):
    rows = rows_of(read_runs([write_run(tmp_path, [1, 2])]))
    assert marks_note(rows, rows[0], {}) == ""


def test_examples_keep_the_last_events_and_the_first_titles():
    titles = ["", *"abcdefghijk"]
    found = examples(["7"], [[*range(1, 11)]], [[np.nan] * 9 + [4.0]], [11], [3], [[9, 8, 11, 7, 6, 5]], titles)
    assert [event["title"] for event in found[0]["history"]] == list("cdefghij")
    assert found[0]["history"][-2:] == [{"title": "i", "rating": None}, {"title": "j", "rating": 4.0}]
    assert (found[0]["user"], found[0]["target"], found[0]["rank"]) == ("7", "k", 3)
    assert found[0]["top"] == list("ihkgf")


def test_example_cases_are_spread_over_all_users_and_never_repeat():
    assert example_cases(943).tolist()[:: len(example_cases(943)) - 1] == [0, 942] and len(example_cases(943)) == 12
    assert example_cases(3).tolist() == [0, 1, 2]


def test_a_variants_long_name_leaves_room_for_its_interval(tmp_path):
    for seed, changes in enumerate([{}, {}, {"a_rather_long_setting": "with_a_long_value", "and": "another", "k": 5}]):
        write_run(tmp_path, np.arange(1, 40) + seed, seed=seed, **{"a_rather_long_setting": 1, "and": 2} | changes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns where labels leave no room
        make_report([tmp_path], tmp_path / "report")


@pytest.mark.parametrize("seconds", [(0.2, 900), (30, 40), (10, 1500)])
def test_the_numbers_below_an_axis_of_seconds_do_not_touch(seconds):
    with axes() as ax:
        ax.plot(seconds, [0, 1], "o")
        seconds_axis(ax)
        ax.margins(0.12)
        ax.figure.canvas.draw()
        low, high = ax.get_xlim()
        labels = [
            label for place, label in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True) if low <= place <= high
        ]
        boxes = [label.get_window_extent() for label in labels]
    assert len(boxes) > 1 and all(left.x1 < right.x0 for left, right in pairwise(boxes))


EXAMPLE = '[{"user": "1", "history": [%s], "target": "a", "rank": 1, "top": []}]'


@pytest.mark.parametrize("content", ["{}", "[1]", '[{"user": "1"}]', EXAMPLE % "{}", EXAMPLE % '{"title": "b"}'])
def test_examples_of_another_shape_are_told_in_one_line(tmp_path, content):
    folder = write_run(tmp_path, [1, 2])
    (folder / "examples.json").write_text(content)
    with pytest.raises(InputError, match=r"examples.json(: entry 0)? is no (list of )?examples? - restore it"):
        read_runs([tmp_path])


def test_a_history_with_words_among_its_numbers_is_told_in_one_line(tmp_path):
    path = write_run(tmp_path, [1, 2]) / "history.csv"
    path.write_text(path.read_text().replace(",1.5,", ",soon,", 1))
    with pytest.raises(InputError, match="history.csv: not every seconds is a number - restore it"):
        read_runs([tmp_path])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("name", ["metrics.json", "config.yaml", "history.csv", "cases.csv.gz", "examples.json"])
def test_a_pipe_in_a_run_folder_is_not_waited_for(tmp_path, name):
    folder = write_run(tmp_path, [1, 2])
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(InputError, match=f"{name} is no file but a folder, a pipe or a device"):
        read_runs([tmp_path])


def test_a_run_behind_a_link_is_reported_on_once(tmp_path):
    folder = write_run(tmp_path / "elsewhere", [1, 2])
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "linked").symlink_to(folder)
    (run,) = read_runs([tmp_path / "results"])
    assert run.folder == tmp_path / "results" / "linked"
    assert len(read_runs([tmp_path / "results", folder])) == 1


def test_runs_that_did_not_finish_are_told(tmp_path):
    write_run(tmp_path, [1, 10])
    for name in ("stopped", "stopped later"):
        (tmp_path / "tiny" / "SEAR" / name).mkdir()
        (tmp_path / "tiny" / "SEAR" / name / "last.pth").touch()
    told = []
    assert len(read_runs([tmp_path], told.append)) == 1
    folder = tmp_path / "tiny" / "SEAR" / "stopped"
    assert told == [f"left out: {folder} and 1 more did not finish - go on with --resume={folder}"]
