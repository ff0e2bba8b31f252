"""Random orders of a file change tied events alone; test cases are split by the time before their target."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.tied_events import by_gap, shuffle_lines, shuffled_orders, split_by_gap
from sear import run_sear
from tests.conftest import tiny_config_root, write_atomic_files

EVENTS = {f"u{user}": [(f"i{item}", 3, 100 + item // 2) for item in range(user % 3, 12)] for user in range(12)}


def test_lines_keep_their_header_and_are_all_there(tmp_path):
    path = tmp_path / "a.inter"
    path.write_text("head\n" + "".join(f"line {i}\n" for i in range(50)))
    shuffle_lines(path, seed=1)
    header, *lines = path.read_text().splitlines()
    assert header == "head" and lines != sorted(lines, key=lambda line: int(line.split()[1]))
    assert sorted(lines) == sorted(f"line {i}" for i in range(50))


def test_cases_are_split_by_the_time_before_their_target():
    cases = pd.DataFrame({"rank": [1, 11, 1, 2], "rank_history_masked": [1, 1, 1, 1]})
    found = by_gap(cases, np.array([0, 0, 5, 86_400]))
    assert [part["cases"] for part in found.values()] == [2, 1, 1]
    assert found["same second"]["kept"]["hit@10"] == 0.5 and found["same second"]["filtered"]["hit@10"] == 1
    assert found["another day"]["kept"]["mrr@10"] == 0.5


@pytest.mark.long
def test_a_finished_runs_cases_meet_their_events(tmp_path, monkeypatch):
    write_atomic_files(tmp_path, "tiny", EVENTS)
    root = tiny_config_root(tmp_path)
    columns = "load_col: {inter: [user_id, item_id, rating, timestamp], item: [item_id, title, kind]}"
    (root / "data" / "tiny.yaml").write_text(f"data_path: {tmp_path}\n{columns}\nuse_gpu: False\n")
    monkeypatch.setattr("sear.settings.gather.CONFIG_ROOT", root)
    done = run_sear("tiny", "Pop", mask_history=True, results_path=str(tmp_path / "results"))
    found = split_by_gap(tmp_path / done["run_folder"])
    assert sum(part["cases"] for part in found.values()) == 12 and found["another day"]["cases"] == 0
    summary = shuffled_orders("tiny", "Pop", orders=2)
    assert summary["hit@10, kept"]["as the file is"] == done["test"]["hit@10"]
    assert summary["hit@10, filtered"]["sd"] is not None
