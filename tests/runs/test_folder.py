"""A run's files: what they hold, that equal runs make equal bytes, and what is said of broken ones."""

import gzip
import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from enum import Enum
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sear.errors import InputError, WriteError
from sear.runs.find import recorded_hash
from sear.runs.folder import (
    new_run_folder,
    read_run_folder,
    write_cases,
    write_config,
    write_history,
    write_metrics,
)
from sear.runs.record import RunRecord, read_metrics

METRICS = {"hit@10": 1 / 3, "ndcg@10": 0.2, "mrr@10": 0.1}
RECORD = RunRecord(
    dataset="tiny",
    model="SEAR",
    seed=1,
    statistics={"users": 3, "items": 4, "interactions": 9, "sparsity": 1 - 9 / 12},
    epochs=2,
    best_epoch=1,
    valid=METRICS,
    test=METRICS,
    test_history_masked=None,
    test_by_history_length=[{"group": "[20,∞)", "cases": 0, **dict.fromkeys(METRICS)}],
    test_by_item_popularity=[],
    seconds={"data": 0.5, "train": 2.0},
    environment={"device": "cpu", "commit": None},
    class_name="SEAR",
    overrides={"k": 1},
)
EPOCHS = [
    {"epoch": 0, "lr": 1e-3, "loss": 5.123456789012345, "seconds": 1.5},
    {"epoch": 1, "lr": 9.6e-4, "loss": 4.0, "seconds": 1.25, "valid_mrr@10": 0.1},
]
CASES = {
    "user": ["007", "NA", 'quote " and, comma'],
    "target": ["", " space ", "💄"],
    "rank": np.array([1, 40, 3]),
    "history_length": [3, 4, 5],
    "target_training_count": [0, 2, 1],
}


def finished_run(results: Path) -> Path:
    folder = new_run_folder(results, "tiny", "SEAR", 1)
    write_config(folder, {"seed": 1})
    write_history(folder, EPOCHS)
    write_cases(folder, CASES)
    write_metrics(folder, RECORD)
    return folder


def test_runs_that_start_in_the_same_second_get_folders_of_their_own(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: new_run_folder(tmp_path, "tiny", "SEAR", 7), range(24)))
    assert len(set(folders)) == 24
    assert all(folder.is_dir() and folder.parent == tmp_path / "tiny" / "SEAR" for folder in folders)
    assert all("-seed7" in folder.name for folder in folders)


def test_a_run_is_read_as_it_was_written(tmp_path):
    run = read_run_folder(finished_run(tmp_path))
    assert run.config == {"seed": 1}
    assert run.record == RECORD
    assert list(run.history["loss"]) == [5.123456789012345, 4.0]
    assert math.isnan(run.history["valid_mrr@10"][0]) and run.history["valid_mrr@10"][1] == 0.1
    assert {name: list(column) for name, column in run.cases.items()} == {name: list(CASES[name]) for name in CASES}


def test_metrics_keep_their_order_and_take_numbers_of_numpy(tmp_path):
    write_metrics(tmp_path, replace(RECORD, seed=np.int64(3), parameters=np.int64(5)))
    text = (tmp_path / "metrics.json").read_text(encoding="utf-8")
    assert list(json.loads(text))[:3] == ["dataset", "model", "seed"]
    assert list(json.loads(text))[-1] == "command"  # and nothing of a GPU or of a frozen run
    assert json.loads(text)["seed"] == 3 and '"[20,∞)"' in text


def test_metrics_that_are_nan_are_never_written(tmp_path):
    with pytest.raises(ValueError):
        write_metrics(tmp_path, replace(RECORD, test={"hit@10": math.nan}))
    assert list(tmp_path.iterdir()) == []


def test_what_another_sear_keeps_besides_is_passed_over(tmp_path):
    write_metrics(tmp_path, RECORD)
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"extra": 1}))
    assert read_metrics(tmp_path) == RECORD


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"epochs": "2"}, "epochs is '2', no int"),
        ({"epochs": True}, "epochs is True, no int"),
        ({"dataset": "../../elsewhere"}, "dataset is '../../elsewhere', no name"),
        ({"dataset": ".."}, "dataset is '..', no name"),
        ({"model": "/etc/cron.d"}, "model is '/etc/cron.d', no name"),
        ({"dataset": "a\\b"}, r"dataset is 'a\\\\b', no name"),
        ({"dataset": ""}, "dataset is '', no name"),
        ({"test": {"hit@10": "much"}}, "test is {'hit@10': 'much'}, no dict"),
        ({"test_by_history_length": [3]}, "no list"),
        ({"test_by_item_popularity": [{"cases": 1}]}, "item_popularity holds {'cases': 1}, no group of test cases"),
        ({"seconds": None, "data": {"inter": 1}}, "data is {'inter': 1}, no dict"),
    ],
)
def test_a_field_of_the_wrong_type_is_named(tmp_path, change, told):
    with pytest.raises(InputError, match=f"metrics.json: .*{told}") as error:
        RunRecord.from_dict(RECORD.to_dict() | change, tmp_path / "metrics.json")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"statistics": ' + "[" * 600 + "]" * 600 + "}"])
def test_lists_in_lists_without_end_are_no_metrics(tmp_path, text):
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(InputError, match="cannot be read"):
        read_metrics(tmp_path)


def test_config_holds_every_key_in_plain_yaml(tmp_path):
    kind = Enum("kind", ["SEQUENTIAL"])
    settings = {"topk": [10], "rate": 1e-5, "none": None, "device": torch.device("cpu"), "path": Path("a/b")}
    settings |= {
        "kind": kind.SEQUENTIAL,
        "set": {"b", "a"},
        "pair": (1, 2),
        "text": "1e-3",
        "nested": {"x": np.bool_(True)},
    }
    write_config(tmp_path, settings)
    write_metrics(tmp_path, RECORD)
    write_history(tmp_path, EPOCHS)
    write_cases(tmp_path, CASES)
    read = read_run_folder(tmp_path).config
    assert list(read) == sorted(settings)
    plain = {
        "device": "cpu",
        "path": "a/b",
        "kind": "SEQUENTIAL",
        "set": ["a", "b"],
        "pair": [1, 2],
        "nested": {"x": True},
    }
    assert read == settings | plain


def test_equal_cases_make_equal_bytes_whenever_and_wherever_they_are_written(tmp_path, monkeypatch):
    (tmp_path / "one").mkdir()
    write_cases(tmp_path / "one", CASES)
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    (tmp_path / "two").mkdir()
    write_cases(tmp_path / "two", CASES)
    first, second = ((tmp_path / name / "cases.csv.gz").read_bytes() for name in ("one", "two"))
    assert first == second
    assert gzip.decompress(first).decode().splitlines()[:2] == [
        "user,target,rank,history_length,target_training_count",
        "007,,1,3,0",
    ]


def test_a_failed_write_leaves_the_file_before_it(tmp_path, monkeypatch):
    folder = finished_run(tmp_path)
    before = (folder / "cases.csv.gz").read_bytes()

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    with pytest.raises(WriteError):
        write_cases(folder, {**CASES, "rank": [9, 9, 9]})
    assert (folder / "cases.csv.gz").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == [
        "cases.csv.gz",
        "config.yaml",
        "history.csv",
        "metrics.json",
    ]


@pytest.mark.parametrize("name", ["config.yaml", "metrics.json", "history.csv", "cases.csv.gz"])
def test_a_missing_file_is_named(tmp_path, name):
    folder = finished_run(tmp_path)
    (folder / name).unlink()
    with pytest.raises(InputError, match=name):
        read_run_folder(folder)


@pytest.mark.parametrize("name", ["metrics.json", "history.csv", "cases.csv.gz"])
def test_a_file_cut_off_anywhere_is_named(tmp_path, name):
    folder = finished_run(tmp_path)
    whole = (folder / name).read_bytes()
    # a table cut off between two lines is a table all the same, and JSON is whole without its last line end
    for kept in {*range(0, len(whole) - 1, 17), len(whole) - 2}:
        (folder / name).write_bytes(whole[:kept])
        with pytest.raises(InputError, match=name):
            read_run_folder(folder)


@pytest.mark.parametrize("text", ["[]", '{"dataset": "tiny"}', "\udcff"])
def test_another_programs_metrics_are_refused(tmp_path, text):
    folder = finished_run(tmp_path)
    (folder / "metrics.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match="metrics.json"):
        read_run_folder(folder)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="name a run folder"):
            read_run_folder(folder)


def test_a_config_file_that_was_changed_after_the_run_is_refused(tmp_path):
    folder = finished_run(tmp_path)
    write_metrics(folder, replace(RECORD, settings=recorded_hash({"seed": 1})))
    write_config(folder, {"seed": 1, "data_path": "elsewhere"})  # a folder that was moved
    assert read_run_folder(folder).config["data_path"] == "elsewhere"
    write_config(folder, {"seed": 2})
    with pytest.raises(
        InputError,
        match="config.yaml was changed since the run was finished.* - restore it, or move the folder elsewhere",
    ):
        read_run_folder(folder)
