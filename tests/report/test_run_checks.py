import json
import os
from datetime import datetime

import pytest

from sear.errors import InputError
from sear.report.freeze import freeze
from sear.report.read_runs import read_runs
from tests.helpers.finished_runs import write_run

NEVER = 99  # a rank past every cut-off


@pytest.mark.parametrize(("ranks", "targets"), [([1, 2, 3], ["i0", "i1", "i7"]), ([1, 2], ["i0", "i1"])])
def test_runs_on_different_cases_are_refused(tmp_path, ranks, targets):
    write_run(tmp_path, [1, 2, 3])
    write_run(tmp_path, ranks, model="Pop", targets=targets)
    with pytest.raises(InputError, match="not tested on the same cases"):
        read_runs([tmp_path])


def test_frozen_runs_of_other_cases_are_refused(tmp_path):
    freeze(read_runs([write_run(tmp_path / "a", [1, 2])]), tmp_path / "frozen")
    freeze(read_runs([write_run(tmp_path / "b", [1, 2], model="Pop", targets=["i5", "i6"])]), tmp_path / "frozen")
    with pytest.raises(InputError, match="not tested on the same cases"):
        read_runs([tmp_path / "frozen"])


def test_the_runs_that_do_not_fit_the_newest_are_named_with_their_dates_the_oldest_first(tmp_path):
    newest = write_run(tmp_path, [1, 2, 3], model="Z")
    older = [write_run(tmp_path, [1, 2], seed=seed) for seed in range(7)]
    for day, folder in enumerate([*older, newest]):
        noon = datetime(2026, 1, 1 + day, 12).timestamp()
        os.utime(folder / "metrics.json", (noon, noon))
    with pytest.raises(InputError) as error:
        read_runs([tmp_path])
    named = ", ".join(f"{folder} (2026-01-0{day} 12:00)" for day, folder in enumerate(older[:5], start=1))
    assert str(error.value) == (
        f"{named} and 2 more and the newest run, {newest} (2026-01-08 12:00), were not tested on the same cases"
        " (2 and 3) - move the older folders elsewhere, or run them again"
    )


BY_ONE = {"path": "/a/mpnet", "weights": "12", "files": "34"}


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ({"data": {"inter": "1"}}, {"data": {"inter": "2"}}, r"trained on other data than .* \(their .inter files\)"),
        (
            {"data": {"inter": "1"}, "text_encoder": BY_ONE},
            {"data": {"inter": "1", "item": "2"}, "text_encoder": BY_ONE},
            r"their .item files",
        ),
        ({"text_encoder": BY_ONE}, {"text_encoder": BY_ONE | {"path": "/b/mpnet", "files": "56"}}, "text encoders of"),
    ],
)
@pytest.mark.parametrize("model", ["SEAR", "Pop"])
def test_runs_on_other_data_or_by_another_encoder_are_neither_averaged_nor_compared(tmp_path, one, other, told, model):
    folders = write_run(tmp_path, [1, 2]), write_run(tmp_path, [1, 2], model=model, seed=2)
    for folder, changes in zip(folders, (one, other), strict=True):
        change_metrics(folder, changes)
    with pytest.raises(InputError, match=told) as error:
        read_runs([tmp_path])
    assert all(str(folder) in str(error.value) for folder in folders)
    for changes in (one, {"data": None, "text_encoder": None}):  # the latter as of an earlier SEAR
        change_metrics(folders[1], changes)
        lines = []
        assert len(read_runs([tmp_path], lines.append)) == 2
        unknown = changes is not one and "data" in one
        assert [line.partition(", as")[0] for line in lines] == [
            "tiny: 1 of 2 runs do not say which data they were trained on"
        ] * unknown


def test_other_texts_than_those_that_a_run_without_texts_had_are_told_and_not_refused(tmp_path):
    folders = [write_run(tmp_path, [1, 2], model=model) for model in ("Pop", "SEAR")]
    change_metrics(folders[0], {"data": {"inter": "1"}})
    change_metrics(folders[1], {"data": {"inter": "1", "item": "2"}, "text_encoder": BY_ONE})
    lines = []
    assert len(read_runs([tmp_path], lines.append)) == 2
    assert [line.partition(" than")[0] for line in lines] == [
        f"tiny: {folders[0]} and {folders[1]} were made beside other .item files"
    ]


def test_a_frozen_run_with_ranks_and_no_metric_is_refused(tmp_path):
    (folder,) = freeze(read_runs([write_run(tmp_path / "runs", [1, 2])]), tmp_path / "frozen")
    change_metrics(folder, {"test": {}})
    with pytest.raises(InputError, match="test is {}, which the ranks beside it do not bear out"):
        read_runs([folder])


def change_metrics(folder, changes):
    path = folder / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("test", {"hit@10": 0.9}, "test hit@10 is 0.9, by the ranks beside it 0.5"),
        ("test", None, "test is None, no dict"),
        ("test_history_masked", {"hit@10": 0.5}, "test_history_masked is .*, which the ranks beside it"),
        ("test", {"foo": 1}, "test has 'foo', which is no metric of ranks"),
        ("test", {"foo@10": 1}, "test has 'foo@10', which is no metric of ranks"),
        ("dataset", 5, "dataset is 5, no str"),
        ("statistics", 5, "statistics is 5, no dict"),
        ("command", ["python"], r"command is \['python'\], no str"),
        ("seed", True, "seed is True, no int"),
        ("valid", {"hit@10": "much"}, "valid is {'hit@10': 'much'}, no dict"),
    ],
)
@pytest.mark.parametrize("frozen", [False, True])
def test_figures_that_the_ranks_do_not_bear_out_are_refused(tmp_path, key, value, told, frozen):
    folder = write_run(tmp_path / "runs", [1, NEVER])
    if frozen:
        (folder,) = freeze(read_runs([folder]), tmp_path / "frozen")
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics |= {"test_by_history_length": [], "test_by_item_popularity": []}  # else they lack what `test` has
    (folder / "metrics.json").write_text(json.dumps(metrics | {key: value}))
    remedy = "freeze that run again" if frozen else "restore it, or (move the folder elsewhere and )?run again"
    with pytest.raises(InputError, match=f"metrics.json: {told}.* - {remedy}$"):
        read_runs([folder])
