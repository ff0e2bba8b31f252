import json

import pytest

from sear.errors import InputError
from sear.report.freeze import freeze
from sear.report.read_runs import read_runs
from sear.report.rows import rows_of
from tests.helpers.finished_runs import write_run


def test_runs_that_differ_in_a_setting_are_rows_of_their_own(tmp_path):
    write_run(tmp_path, [1, 2], seed=1)
    write_run(tmp_path, [1, 2], seed=2)
    write_run(tmp_path, [1, 1], seed=1, window_stride=25)
    write_run(tmp_path, [1, 1], seed=1, ablate="soft_labels")
    rows = rows_of(read_runs([tmp_path]))
    seeds = {row.label: [run.seed for run in row.runs] for row in rows}
    assert seeds == {"SEAR": [1, 2], "SEAR (window_stride=25)": [1], "SEAR without soft labels": [1]}


def labels_of(*paths):
    return sorted((run.label, run.seed) for run in read_runs(paths))


def test_a_frozen_run_and_a_new_variant_are_never_taken_for_each_other(tmp_path):
    freeze(read_runs([write_run(tmp_path / "old", [1, 2])]), tmp_path / "frozen")
    write_run(tmp_path / "new", [2, 2], stride=25, told={"stride": 25, "mask_history": True})
    runs = read_runs([tmp_path / "frozen", tmp_path / "new"])
    assert {run.label: run.ranks.tolist() for run in runs} == {"SEAR": [1, 2], "SEAR (stride=25)": [2, 2]}
    freeze(runs, tmp_path / "frozen")
    write_run(tmp_path / "third", [3, 3], seed=2, stride=50)
    assert labels_of(tmp_path / "frozen", tmp_path / "third") == [("SEAR", 1), ("SEAR", 2), ("SEAR (stride=25)", 1)]
    write_run(tmp_path / "again", [3, 3], seed=2, stride=25, told={"stride": 25})
    variant = tmp_path / "frozen" / "tiny" / "SEAR-stride=25"
    assert labels_of(variant, tmp_path / "again") == [("SEAR (stride=25)", 1), ("SEAR (stride=25)", 2)]


def test_the_value_of_the_files_is_plain_even_where_most_runs_were_given_another(tmp_path):
    for seed, told in ((1, {}), (2, {"stride": 25}), (3, {"stride": 25})):
        write_run(tmp_path, [1, 2], seed=seed, stride=25 if told else 50, told=told)
    assert labels_of(tmp_path) == [("SEAR", 1), ("SEAR (stride=25)", 2), ("SEAR (stride=25)", 3)]


@pytest.mark.parametrize(
    "runs",
    [
        [("k", 4, 1), ("k", 4, 2), ("k", 5, 1)],
        [("stride", 5, 1), ("stride", 5, 2)],
        [("encoder", "/home/me/mpnet", 1), ("encoder", "/home/me/mpnet", 2)],
    ],
)
def test_runs_keep_their_names_when_they_are_frozen_a_part_at_a_time(tmp_path, runs):
    for number, (key, value, seed) in enumerate(runs):
        write_run(tmp_path / str(number), [1, 2], seed=seed, **{key: value}, told={key: value})
    names = labels_of(*(tmp_path / str(number) for number in range(len(runs))))
    freeze(read_runs([tmp_path / str(number) for number in range(len(runs) - 1)]), tmp_path / "frozen")
    assert labels_of(tmp_path / "frozen", tmp_path / str(len(runs) - 1)) == names
    freeze(read_runs([tmp_path / "frozen", tmp_path / str(len(runs) - 1)]), tmp_path / "frozen")
    assert labels_of(tmp_path / "frozen") == names


def test_a_key_that_older_runs_did_not_have_is_no_variant(tmp_path):
    for seed in range(5):
        write_run(tmp_path, [1, 2], seed=seed, **({"new_key": 7} if seed > 2 else {}))
    assert labels_of(tmp_path) == [("SEAR", seed) for seed in range(5)]
    write_run(tmp_path, [1, 2], seed=9, new_key=8, told={"new_key": 8})
    assert labels_of(tmp_path)[-1] == ("SEAR (new_key=8)", 9)


def test_a_run_that_was_given_a_key_which_all_others_are_too_old_for_is_a_variant(tmp_path):
    write_run(tmp_path, [1, 2], seed=1)
    write_run(tmp_path, [1, 2], seed=2, new_key=8, told={"new_key": 8})
    assert labels_of(tmp_path) == [("SEAR", 1), ("SEAR (new_key=8)", 2)]


def test_a_place_of_the_data_names_nothing(tmp_path):
    write_run(tmp_path, [1, 2], seed=1, data_path="dataset")
    write_run(tmp_path, [1, 2], seed=2, data_path="/mnt/big", told={"data_path": "/mnt/big"})
    assert labels_of(tmp_path) == [("SEAR", 1), ("SEAR", 2)]


def test_it_does_not_matter_whether_files_or_commands_gave_a_value(tmp_path):
    write_run(tmp_path, [1, 2], seed=1, stride=25, told={"stride": 25})
    write_run(tmp_path, [1, 2], seed=2, stride=25)
    assert labels_of(tmp_path) == [("SEAR", 1), ("SEAR", 2)]


@pytest.mark.parametrize("seeds", [[], [3, 4]])
def test_no_name_holds_a_place_of_one_machine(tmp_path, seeds):
    write_run(tmp_path, [1, 2], seed=1, encoder="/home/me/mpnet", told={"encoder": "/home/me/mpnet"})
    write_run(tmp_path, [1, 2], seed=2, encoder="/home/me/other", told={"encoder": "/home/me/other"})
    for seed in (0, *seeds):
        write_run(tmp_path, [1, 2], seed=seed, encoder="mpnet")
    assert labels_of(tmp_path) == [("SEAR", seed) for seed in (0, 1, *seeds)] + [("SEAR (encoder=other)", 2)]


def test_a_run_of_an_earlier_sear_that_kept_its_command_alone_is_named_by_its_settings(tmp_path):
    for seed, stride in enumerate((25, 50, 50)):
        path = write_run(tmp_path, [1, 2], seed=seed, stride=stride) / "metrics.json"
        metrics = json.loads(path.read_text())
        del metrics["overrides"]
        path.write_text(json.dumps(metrics | {"command": "python custom_trainer.py --stride=25"}))
    assert labels_of(tmp_path) == [("SEAR", 1), ("SEAR", 2), ("SEAR (stride=25)", 0)]


def test_variants_are_named_by_what_differs_from_most_runs_even_where_none_is_plain(tmp_path):
    for seed, changes in enumerate([{"k": 1}, {"stride": 5}, {"k": 9, "stride": 5}, {"decay": [1, 2]}]):
        write_run(tmp_path, [1, 2, 3], seed=seed, **{"k": 4, "stride": 2, "decay": [3]} | changes)
    named = [run.variant for run in sorted(read_runs([tmp_path]), key=lambda run: run.seed)]
    assert named == ["k=1", "stride=5", "k=9, stride=5", "decay=[1, 2]"]


def test_rows_that_no_folders_name_can_tell_apart_are_not_frozen(tmp_path):
    for seed, streams in enumerate(("x", "['a']", "-a")):
        write_run(
            tmp_path / "runs" / str(seed), [1, 2], streams=streams, told={} if seed == 0 else {"streams": streams}
        )
    with pytest.raises(InputError, match="and another row of that spelling"):
        freeze(read_runs([tmp_path / "runs"]), tmp_path / "frozen")
    assert not (tmp_path / "frozen").exists()
