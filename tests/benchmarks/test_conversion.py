"""The conversion benchmark: a dump is whole or not there, both ways find the same events, rows say what was held."""

import gzip
import re

import pytest

from benchmarks import conversion, dataset_build
from benchmarks.measure import Request
from tests.helpers.raw_dumps import write_lines


def test_the_row_runs_and_names_its_baseline():
    (row,) = conversion.rows(Request(quick=True))
    assert row.baseline == conversion.BASELINE and row.rounds == 1
    assert row.ratio > 0 and row.peak_mb > 0 and row.baseline_peak_mb > 0
    assert row.note.startswith("2,000 reviews: 90 s held (") and "times less memory" in row.note


def test_only_the_baselines_dump_is_made_smaller_and_its_seconds_are_scaled():
    row = conversion.measured(4_000, 1_000, 1)
    assert row.note.startswith("4,000 reviews: 90 s held (") and "the baseline 1,000, its seconds scaled" in row.note


def test_where_little_memory_is_free_the_baseline_still_converts_its_smallest_dump(monkeypatch):
    for free, events in ((1e6, 100_000), (2e9, 400_000), (None, 2_100_000)):
        monkeypatch.setattr(conversion, "free_memory", lambda free=free: free)
        assert conversion.affordable_events() == events


HEADER = "user\titem\trating\ttime"
EVENTS = ["b\ty\t5\t1", "a\tx\t3\t1", "a\ty\t3\t2"]


@pytest.mark.parametrize(
    "theirs, differs",
    [
        ([EVENTS[1], EVENTS[2], "b\ty\t5.0\t1"], None),  # users in another order, numbers written otherwise
        ([EVENTS[0], EVENTS[2], EVENTS[1]], "item"),
        ([EVENTS[0], EVENTS[1], "a\ty\t4\t2"], "rating"),
        ([EVENTS[0], EVENTS[1], "a\ty\t3\t3"], "time"),
        ([EVENTS[0], EVENTS[1], "c\ty\t3\t2"], "user ids"),
        (EVENTS[:2], "user"),
    ],
)
def test_both_ways_must_find_the_same_events(tmp_path, theirs, differs):
    ours, plain = write_lines(tmp_path / "a", [HEADER, *EVENTS]), write_lines(tmp_path / "b", [HEADER, *theirs])
    if differs is None:
        return conversion.require_same_events(ours, plain)
    with pytest.raises(AssertionError, match=f"not the same events: {differs} differs"):
        conversion.require_same_events(ours, plain)


def test_a_limit_is_held_or_not():
    assert dataset_build.held(29.96, 30, 2.1e9, 2e9) == "30 s held (30 s), 2 GB NOT held (2.10 GB)"
    assert dataset_build.held(31, 30, None, 2e9) == "30 s NOT held (31 s), 2 GB unknown here"


@pytest.mark.long
def test_the_row_of_building_tells_loading_and_building_apart():
    (row,) = dataset_build.rows(Request(quick=True))
    assert re.search(
        r"load \+ build: SEARDataset [\d.e-]+ \+ [\d.e-]+ s; RecBole's SequentialDataset [\d.e-]+ ", row.note
    )
    assert "SEARDataset, whole process: 30 s held (" in row.note


def test_a_dump_cut_short_never_bears_the_final_name(tmp_path, monkeypatch):
    monkeypatch.setattr(conversion, "_product", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        conversion.make_dump(tmp_path, 400)
    assert [path.name for path in tmp_path.iterdir()] == ["Pet_Supplies_5.json.gz"]
    with gzip.open(tmp_path / "Pet_Supplies_5.json.gz") as file:
        assert sum(1 for _ in file) == 402  # every 200th stands there twice
