"""The benchmarks run at toy size, and what their figures rest on is right. No figure of theirs is tested."""

import json
import os
import re
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import measure, run
from benchmarks.matrix_products import ProductRecorder, ProductReplay
from benchmarks.measure import PeakMemory, Request, Side, Turn, alternate, compare, peak_of, seconds_of
from benchmarks.profile import OUTSIDE, REST, part_of, report
from benchmarks.profile import main as profile_main
from benchmarks.synthetic import BEAUTY, ML_1M, SHARES, TOY, history_lengths, make_events
from benchmarks.training import Experiment, SampledBatches
from tests.helpers.tiny_encoder import make_tiny_encoder

ROOT = Path(__file__).parent.parent.parent
QUICK = ["--quick", "--json"]


def printed(capsys, *arguments):
    assert run.main([*QUICK, *arguments]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("sizes", [ML_1M, BEAUTY, TOY])
def test_synthetic_histories_have_the_published_lengths(sizes):
    lengths = history_lengths(sizes)
    assert len(lengths) == sizes.users and lengths.sum() == sizes.events
    assert np.abs(np.quantile(lengths, SHARES) - sizes.lengths).max() <= 1


def test_synthetic_events_survive_the_5_core_whole():
    events = make_events(TOY)
    assert len(events) == TOY.events and events["timestamp"].is_unique
    for column, count in (("user_id", TOY.users), ("item_id", TOY.items)):
        occurrences = events[column].value_counts()
        assert len(occurrences) == count and occurrences.min() >= 5


def test_sides_take_turns_and_three_rounds_are_run_whatever_the_budget(monkeypatch):
    order = []
    monkeypatch.setattr(measure, "peak_of", lambda side: order.append("-"))
    monkeypatch.setattr(measure, "seconds_of", lambda side, _: side.run() or 1.0)
    sides = {name: Side(lambda name=name: order.append(name)) for name in "ABC"}
    alternate(sides, Request(rounds=4))
    assert "".join(order) == "A-B-C-ABCABCABCABC"
    order.clear()
    alternate(sides, Request(rounds=4, budget=0.0))
    assert "".join(order) == "A-B-C-ABCABCABC"


def test_seconds_are_scaled_to_the_whole_job():
    assert seconds_of(Side(lambda: time.sleep(0.02), scale=100.0), 0.0) >= 2


def test_a_ratio_is_of_one_round_and_figures_are_medians():
    turns = {"A": [Turn(1, 4e6), Turn(2, 6e6), Turn(1, None)], "B": [Turn(3, 1e6), Turn(2, 1e6), Turn(2, 1e6)]}
    row = compare("row", "B", turns)
    assert (row.ratio, row.lowest, row.highest, row.rounds) == (2, 1, 3, 3)
    assert (row.seconds, row.baseline_seconds, row.peak_mb, row.baseline_peak_mb) == (1, 2, 5, 1)


@pytest.mark.skipif(PeakMemory().start is None, reason="this system does not tell a process its peak memory")
def test_peak_memory_is_that_of_the_call_alone():
    peaks = [peak_of(Side(lambda size=size: np.ones(size, np.uint8))) for size in (200_000_000, 50_000_000)]
    assert peaks == pytest.approx([200e6, 50e6], rel=0.1)


def test_the_floor_replays_the_products_of_forward_and_backward():
    layer = torch.nn.Linear(8, 4)
    inputs = torch.randn(5, 8, requires_grad=True)
    with ProductRecorder() as recorder:
        layer(inputs).sum().backward()
    assert recorder.operations() == 3 * 2 * 5 * 8 * 4  # output, gradient of the inputs, gradient of the weights
    replay = ProductReplay(recorder)
    replay.run()
    for product, given, out in replay.calls:  # their memory is shared, so one at a time
        with torch.no_grad():
            product(*given, out=out)
        assert torch.equal(out, product(*given))
    assert sorted(tuple(out.shape) for *_, out in replay.calls) == [(4, 8), (5, 4), (5, 8)]


def test_the_floor_adds_in_place_what_was_added_in_place():
    total = torch.zeros(3, 2)
    with ProductRecorder() as recorder:
        total.addmm_(torch.ones(3, 4), torch.ones(4, 2))
    ((_, given, out),) = ProductReplay(recorder).calls
    assert out is given[0] and out.shape == (3, 2)


def test_a_sample_of_batches_stands_for_its_epoch():
    experiment = Experiment("ml-100k", None, hidden_size=8, num_layers=1, num_heads=2)
    whole, some = experiment.windows(None), experiment.windows(5)
    assert whole.scale == 1 and len(whole.chosen) == whole.total
    assert len(some.chosen) == 5 and some.scale == pytest.approx(whole.total / 5, rel=0.1)
    padded = experiment.prefixes(trim=False, count=2, most_events=1600)
    assert [len(batch) for batch in padded.chosen] == [16, 16]
    assert padded.scale == len(padded.rows) / 32
    assert padded.collate_fn(padded.chosen[0])["item_id_list"].shape == (16, 100)
    assert isinstance(padded, SampledBatches) and padded.epoch_batches(1, 1) is padded.chosen


def test_an_operation_belongs_to_the_part_it_runs_in():
    assert part_of(["aten::mm", "aten::matmul", "aten::linear"]) == "matrix products"
    assert part_of(["aten::mm", "FusedFeedForward"]) == "matrix products"
    assert part_of(["FusedFeedForwardBackward", "autograd::engine::evaluate_function: X"]) == "GELU"
    assert part_of(["aten::mm", "_ChunkedSoftLabelLoss"]) == "head and loss"
    assert part_of(["aten::_fused_adamw_", "Optimizer.step#AdamW.step"]) == "optimiser"
    assert part_of(["aten::index", "collate"]) == "collate"
    assert part_of(["_CompiledScanBackward"]) == "scan" and part_of(["aten::cat"]) == REST
    shown = report((Counter({"scan": 1.0}), Counter({"scan": 2})), 4.0, 10.0)
    assert re.search(r"scan +\| +10\.00 \| +25\.0% \| +20 ", shown)
    assert re.search(re.escape(OUTSIDE) + r" \| +30\.00 \| +75\.0%", shown)


@pytest.mark.long
def test_the_cheap_rows_run(capsys):
    pytest.importorskip("mambapy")
    found = printed(capsys, "--only=scan,loss,full")
    rows = [(row["name"].split(",")[0], row["baseline"]) for row in found["rows"]]
    assert {row for row, _ in rows} == {"scan", "loss", "full ranking"}
    assert {baseline for row, baseline in rows if row == "scan"} >= {"mambapy pscan", "mambapy plain loop"}
    assert not found["skipped"] and found["quick"] and found["environment"]["threads"] >= 1
    assert all(row["seconds"] > 0 and row["ratio"] > 0 and row["goal"] is None for row in found["rows"])


@pytest.mark.long
def test_a_model_in_use_recommends_what_recbole_finds(capsys):
    found = printed(capsys, "--only=recommend")["rows"]
    baselines = [row["baseline"] for row in found]
    assert baselines == ["RecBole's full_sort_topk", *["full_sort_predict, topk"] * 2, *["the history read again"] * 3]
    assert "users/s" in found[0]["note"] and "p50" in found[1]["note"] and "KB as bytes" in found[-1]["note"]


@pytest.mark.long
def test_an_epochs_rows_run_on_synthetic_histories(capsys):
    found = printed(capsys, "--only=epoch-beauty")
    baselines = [row["baseline"] for row in found["rows"]]
    assert baselines == ["padded prefixes", "trimmed prefixes", "matrix products", "SASRec"]


@pytest.mark.long
def test_encoding_is_measured_with_a_real_encoder_and_skipped_without(capsys, tmp_path):
    missing = printed(capsys, "--only=encoding", f"--encoder={tmp_path}")
    assert not missing["rows"]
    assert missing["skipped"] == [f"encoding: skipped, {tmp_path} holds no encoder - name a folder: --encoder=FOLDER"]
    found = printed(capsys, "--only=encoding", f"--encoder={make_tiny_encoder(tmp_path / 'tiny')}")
    assert [row["baseline"] for row in found["rows"]] == ["SentenceTransformer.encode"]


@pytest.mark.long
def test_a_table_names_its_baselines_and_notes(capsys):
    assert run.main(["--quick", "--only=loss"]) == 0
    shown = capsys.readouterr().out
    assert "| loss, 300 items [1]" in shown and "dense label matrix" in shown and "\n[1] 64 positions" in shown


@pytest.mark.long
def test_threads_asked_for_reach_processes_of_their_own_too(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    assert run.main([*QUICK, "--only=loss", "--threads=1"]) == 0
    assert asked == [1] and os.environ["OMP_NUM_THREADS"] == "1"


def test_a_wrong_row_is_answered_with_the_right_ones(capsys):
    with pytest.raises(SystemExit):
        run.main(["--only=scan,los,x"])
    assert "no row is called x - choose from scan, epoch-ml-100k" in capsys.readouterr().err


def test_the_readme_names_every_row():
    readme = (ROOT / "benchmarks" / "README.md").read_text()
    assert all(f"`--only {name}`" in readme for name in run.BENCHMARKS)


@pytest.mark.long
def test_a_profile_shows_where_an_epochs_time_goes_and_went_before_its_fused_parts(capsys):
    found = {}
    for name, options in (("fused", []), ("plain", ["--plain"])):
        assert profile_main(["--batches=1", *options]) == 0
        found[name] = capsys.readouterr().out
        assert re.search(r"\| scan +\| +\d", found[name]) and "ml-100k, 1 of 47 batches" in found[name]
    assert "plain torch but for the scan" in found["plain"] and "plain" not in found["fused"]


@pytest.mark.long
def test_additions_are_held_against_an_epoch_without(capsys):
    found = printed(capsys, "--only=additions")
    names = [row["name"] for row in found["rows"]]
    parts = ("repeat bias", "averaged weights", "tied table", "all three")
    assert names == [f"epoch with {part}, {data}" for data in ("ml-100k", "beauty") for part in parts]
    assert {row["baseline"] for row in found["rows"]} == {"without additions"}


@pytest.mark.long
def test_bfloat16_and_dataset_build_run(capsys):
    found = printed(capsys, "--only=bfloat16,dataset")
    assert [row["baseline"] for row in found["rows"]] == ["float32", "float32", "RecBole's SequentialDataset"]


def test_processes_take_turns_with_one_of_as_many_threads(capsys, monkeypatch):
    started = []
    monkeypatch.setattr("benchmarks.machines.fault", lambda: "no rights")
    monkeypatch.setattr("benchmarks.processes.epoch_seconds", lambda by, words: started.append(by) or float(len(by[0])))
    (row,) = printed(capsys, "--only=processes")["rows"]
    alone, two = [sys.executable], [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    assert started == [[alone], [two]] and "two machines are left out: no rights" in row["note"]
    assert row["baseline"] == "1 process, 2 threads" and row["ratio"] == pytest.approx(1 / 5)
