import sys

import pytest

from sear.cli.main import main
from sear.runs.grid import GridOutcome, PlannedRun
from sear.settings.known_models import PARTS

DONE = {"run_folder": "results/ml-100k/SEAR/a-run", "dataset": "ml-100k"}


@pytest.fixture
def calls(monkeypatch):
    """What would have been run: (dataset, model, config files, overrides), nothing is trained."""
    seen = []

    def run_sear(dataset, model, files, **keys):
        seen.append((dataset, model, files, keys))
        return DONE

    monkeypatch.setattr("sear.quick_start.run_sear", run_sear)
    return seen


@pytest.fixture
def grids(monkeypatch):
    """What grids would have been run: (runs, their settings), nothing is trained."""
    seen = []

    def run_grid(runs, *, settings, **_):
        seen.append((runs, [settings(planned) for planned in runs]))
        return GridOutcome()

    monkeypatch.setattr("sear.cli.main.run_grid", run_grid)
    return seen


def test_lists_make_a_grid_with_the_seeds_outermost(calls, grids, capsys):
    assert main(["--model=SEAR,SASRec", "--seed=1,2", "--epochs=3"]) == 0
    ((runs, settings),) = grids
    assert runs == [PlannedRun("ml-100k", model, "", seed) for seed in (1, 2) for model in ("SEAR", "SASRec")]
    assert [(found["model"], found["seed"], found["epochs"]) for found in settings] == [
        ("SEAR", 1, 3), ("SASRec", 1, 3), ("SEAR", 2, 3), ("SASRec", 2, 3)
    ]  # fmt: skip
    assert capsys.readouterr().out == "4 runs; the first: ml-100k, SEAR, seed 1\n"
    assert calls == []


def test_values_of_a_key_make_a_grid_for_the_models_that_know_it(grids, capsys):
    assert main(["--model=SEAR,Pop", "--d_state=8,16", "--dropout_prob=0,0.1", "--ablate=rating"]) == 0
    ((runs, settings),) = grids
    told = [(found["model"], planned.ablate, found.get("d_state"), found.get("dropout_prob"))
            for planned, found in zip(runs, settings, strict=True)]  # fmt: skip
    values = [(8, 0), (8, 0.1), (16, 0), (16, 0.1)]
    assert told == [
        *(("SEAR", part, *pair) for part in ("", "rating") for pair in values),
        ("Pop", "", None, None),
    ]
    assert str(runs[1]) == "ml-100k, SEAR, d_state=8, dropout_prob=0.1, seed 2020"
    assert "without --d_state, which is no key of theirs: Pop" in capsys.readouterr().out
    assert main(["--learning_rate=0.001,-1"]) == 2
    assert "learning_rate is -1" in capsys.readouterr().err


def test_a_run_ends_by_naming_the_command_of_its_report(calls, monkeypatch, tmp_path, capsys):
    assert main([]) == 0
    assert capsys.readouterr().out.endswith("make a report with: python -m sear.report results/ml-100k\n")
    monkeypatch.chdir(tmp_path)
    for folder, told in (("/x y/tiny/SEAR/1", "'/x y/tiny'"), ("/moved/1", "/moved/1"), ("/1", "/1")):
        monkeypatch.setattr("sear.quick_start.resume", lambda *_, at=folder: {"run_folder": at, "dataset": "tiny"})
        assert main([f"--resume={tmp_path}"]) == 0
        assert capsys.readouterr().out.endswith(f"make a report with: python -m sear.report {told}\n")


def test_an_ablation_is_a_run_of_its_own_beside_the_whole_model(grids):
    assert main(["--model=SEAR,Pop", f"--ablate={','.join(PARTS)}"]) == 0
    ((runs, settings),) = grids
    assert [(planned.model, planned.ablate) for planned in runs] == [
        ("SEAR", ""),
        *(("SEAR", part) for part in PARTS),
        ("Pop", ""),
    ]
    whole, *parts, pop = settings
    assert "ablate" not in pop and whole["ablate"] is None
    for part, found in zip(PARTS, parts, strict=True):
        changed = {key: value for key, value in found.items() if value != whole[key]}
        streams = [name for name in ("semantic", "collaborative", "rating") if name != part]
        expected = {
            "aggregation": {"aggregation": False},
            "text_init": {"text_init": False},
            "soft_labels": {"soft_label_length": 1},
        }.get(part, {"streams": streams})
        assert changed == {"ablate": part} | expected


def test_what_is_mixed_in_after_training_is_no_key_of_a_model_that_counts(grids, capsys):
    words = ["--transition_prior=[0,1]", "--text_match=[0,2]", "--text_match_half_life=1,3"]
    assert main(["--model=SASRec,EASE", *words]) == 0
    ((runs, settings),) = grids
    assert [planned.model for planned in runs] == ["SASRec", "SASRec", "EASE"]
    assert [(found["text_match"], found["transition_prior"]) for found in settings] == 2 * [([0, 2], [0, 1])] + [
        (None, None)
    ]
    assert capsys.readouterr().out.count("which is no key of theirs: EASE") == 3


def test_a_part_that_is_missing_already_cannot_be_taken_out(grids, capsys):
    assert main(["--ablate=rating,soft_labels", "--soft_label_length=1"]) == 2
    assert capsys.readouterr().err == (
        "error: command line: SEAR does without soft_labels already - remove it from --ablate\n"
    )
    assert grids == []


def test_a_part_that_a_file_takes_out_and_parts_that_words_take_out_do_not_mix(grids, tmp_path, capsys):
    (tmp_path / "my.yaml").write_text("ablate: rating\n")
    assert main([f"--config={tmp_path}/my.yaml", "--ablate=aggregation"]) == 2
    told = f"{tmp_path}/my.yaml, line 1: ablate is 'rating', and --ablate asks for other parts - remove one of the two"
    assert told in capsys.readouterr().err
    assert grids == []


def test_each_model_takes_the_keys_it_knows_and_the_others_are_named(grids, capsys):
    assert main(["--model=SEAR,SASRec,Pop", "--n_heads=1", "--d_state=8", "--epochs=3"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "without --n_heads, which is no key of theirs: SEAR, Pop",
        "without --d_state, which is no key of theirs: SASRec, Pop",
    ]  # fmt: skip
    ((_, settings),) = grids
    assert [(found.get("n_heads"), found.get("d_state")) for found in settings] == [(None, 8), (1, None), (None, None)]
    assert main(["--n_heads=1"]) == 2


def test_nothing_runs_when_the_last_run_cannot(calls, tmp_path, capsys):
    assert main(["--dataset=ml-100k,beauty", f"--data_path={tmp_path}"]) == 2
    assert calls == []
    error = capsys.readouterr().err
    assert error == (
        f"error: {tmp_path}/amazon-beauty/amazon-beauty.inter is missing - "
        "make it with: python -m sear.atomic_files beauty RAW_DIR\n"
    )


def test_extra_files_reach_the_run(calls, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("seed: 5\n")
    assert main([f"--config={tmp_path}/mine.yaml"]) == 0
    assert calls == [("ml-100k", "SEAR", [tmp_path / "mine.yaml"], {})]
    (tmp_path / "mine.yaml").write_text("\nseed: five\n")
    assert main([f"--config={tmp_path}/mine.yaml"]) == 2
    assert f"error: {tmp_path}/mine.yaml, line 2: seed is 'five'" in capsys.readouterr().err
    assert main([f"--config={tmp_path}/none.yaml"]) == 2
    assert f"error: {tmp_path}/none.yaml is missing" in capsys.readouterr().err


def test_a_mistake_is_one_line_and_debug_shows_where(capsys):
    assert main(["--num_heads=5"]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err == (
        "error: command line: num_heads is 5, which does not divide hidden_size 64 - "
        "choose from 1, 2, 4, 8, 16, 32, 64\n"
    )
    assert main(["--num_heads=5", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_one_line(monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "results/x")

    monkeypatch.setattr("sear.quick_start.run_sear", full)
    assert main([]) == 2
    assert (
        capsys.readouterr().err == "error: results/x cannot be used (No space left on device) - free some space there\n"
    )


def test_ctrl_c_ends_with_130(monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("sear.quick_start.run_sear", stop)
    assert main([]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_resume_and_evaluate_reach_quick_start(monkeypatch, tmp_path, capsys):
    seen = []
    monkeypatch.setattr("sear.quick_start.resume", lambda folder, _: seen.append(("resume", folder)) or DONE)
    monkeypatch.setattr("sear.quick_start.evaluate", lambda folder, _: seen.append(("evaluate", folder)))
    assert main([f"--resume={tmp_path}"]) == main([f"--evaluate={tmp_path}"]) == 0
    assert seen == [("resume", tmp_path), ("evaluate", tmp_path)]
    lines = capsys.readouterr().out.splitlines()  # the model may be any: none is named
    assert f"going on with: {tmp_path}" in lines and f"evaluating: {tmp_path}" in lines


def test_words_come_from_sys_argv_by_default(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["custom_trainer.py", "--help"])
    assert main() == 0
    assert "custom_trainer.py" in capsys.readouterr().out
