import sys

import pytest

from sear.ablation import PARTS
from sear.command_line import main
from sear.errors import InputError
from sear.experiment import Cell, GridOutcome
from sear.request import parse


def message(*words):
    with pytest.raises(InputError) as error:
        parse(words)
    assert "\n" not in str(error.value)
    return str(error.value)


def value(word):
    (found,) = parse([word]).overrides.values()
    return found


@pytest.fixture
def calls(monkeypatch):
    """What would have been run: (dataset, model, config files, overrides), nothing is trained."""
    seen = []
    monkeypatch.setattr(
        "sear.quick_start.run_sear", lambda dataset, model, files, **keys: seen.append((dataset, model, files, keys))
    )
    return seen


def test_no_words_mean_sear_on_ml_100k():
    request = parse([])
    assert (request.datasets, request.models, request.seeds, request.overrides) == (["ml-100k"], ["SEAR"], [], {})


@pytest.mark.parametrize(
    "word, expected",
    [
        ("--learning_rate=1e-3", 0.001),
        ("--epochs=3", 3),
        ("--topk=[5, 10]", [5, 10]),
        ("--streams=[semantic,rating]", ["semantic", "rating"]),
        ("--window_stride=~", None),
        ("--aggregation=False", False),
        ("--show_progress", True),
        ("--clip_grad_norm={max_norm: 5}", {"max_norm": 5}),
        ("--user_inter_num_interval=[5,inf)", "[5,inf)"),
        ("--user_inter_num_interval=~", None),
        ("--user_inter_num_interval='[5,inf)'", "[5,inf)"),
        ("--gpu_id=1", 1),
        ("--valid_metric=NDCG@10", "NDCG@10"),
        ("--item_sem_embedding_model_path=1", "1"),
        ("--item_sem_embedding_model_path=~", "~"),
        ("--item_sem_embedding_model_path=a=b, c: d # e", "a=b, c: d # e"),
        ("--results_path=__import__('os').getcwd()", "__import__('os').getcwd()"),
        ("--epochs=__import__('os').getcwd()", "__import__('os').getcwd()"),  # text, which its check refuses
        ("--epochs=010", "010"),
        ("--topk=[5, 10", "[5, 10"),
    ],
)
def test_values_are_yaml_and_texts_stay_texts(word, expected):
    found = value(word)
    assert found == expected and type(found) is type(expected)


def test_comma_lists_are_data_sets_models_and_seeds():
    asked = parse(["--dataset=ml-100k,ml-1m", "--model=SEAR, SASRec", "--seed=1,2,3"])
    assert (asked.datasets, asked.models, asked.seeds) == (["ml-100k", "ml-1m"], ["SEAR", "SASRec"], [1, 2, 3])


def test_an_extra_file_may_name_data_set_and_model_but_words_are_stronger(tmp_path):
    (tmp_path / "run.yaml").write_text("dataset: beauty\nmodel: SASRec\nmodel_name: SASRec\n")
    word = f"--config={tmp_path}/run.yaml"
    assert parse([word]).datasets == ["beauty"] and parse([word]).models == ["SASRec"]
    assert parse([word, "--dataset=ml-1m", "--model=SEAR"]).datasets == ["ml-1m"]
    assert parse([word, "--dataset=ml-1m", "--model=SEAR"]).models == ["SEAR"]


@pytest.mark.parametrize(
    "words, why",
    [
        (["epochs=3"], "'epochs=3' is no setting - write --key=value"),
        (["-epochs=3"], "'-epochs=3' is no setting"),
        (["--epochs", "3"], "'3' is no setting - write --key=value, without spaces"),
        (["--epochs"], "--epochs has no value - write --epochs=VALUE"),
        (["--epochs="], "--epochs has no value"),
        (["--"], "'--' is no setting"),
        (["--=3"], "'--=3' is no setting"),
        (["--epochs=1", "--epochs=1"], "--epochs stands twice - remove one of them"),
        (["--epoch=1"], "unknown key epoch (did you mean epochs?) - --help lists the keys"),
        (["--learning-rate=1"], "unknown key learning-rate (did you mean learning_rate?)"),
        (["--evaluat=x"], "unknown key evaluat (did you mean evaluate?)"),
        (["--debug=1"], "--debug takes no value"),
        (["--seed=1,x"], "seed is 'x', not int >= 0 and < 4294967296 - for example --seed=2020"),
        (["--seed=-1"], "seed is '-1', not int >= 0"),
        (["--seed=1,1"], "--seed=1,1 names one entry twice"),
        (["--seed=1,01"], "--seed=1,01 names one seed twice"),
        (["--dataset="], "--dataset has no value"),
        (["--dataset"], "--dataset has no value"),
        (["--dataset=ml-100k,"], "--dataset has no value, or an empty one"),
        (["--ablate=ratings"], "unknown part ratings (did you mean rating?) - choose from semantic, collaborative, "),
        (["--ablate=rating,rating"], "--ablate=rating,rating names one entry twice"),
        (["--model=Pop", "--ablate=rating"], "--ablate takes parts out of SEAR - add SEAR to --model"),
        (["--model=NARM", "--d_state=8"], "unknown key d_state"),
        (["--resume=nowhere"], "resume is 'nowhere', no run folder - name one: results/DATASET/MODEL/RUN_ID"),
        (["--resume"], "resume is None, no run folder"),
    ],
)
def test_words_that_cannot_be_understood_are_told(words, why):
    found = message(*words)
    assert found.startswith(f"command line: {why}")


def test_unknown_data_sets_and_models_are_told():
    assert message("--dataset=ml-100k,ml1m").startswith("unknown data set ml1m (did you mean ml-1m?)")
    assert message("--model=SEAR,SASrec").startswith("unknown model SASrec (did you mean SASRec?)")


def test_a_run_is_taken_as_it_is(tmp_path):
    assert parse([f"--resume={tmp_path}"]).resume == tmp_path
    assert parse([f"--evaluate={tmp_path}", "--debug"]).evaluate == tmp_path
    assert message(f"--resume={tmp_path}", "--epochs=3").endswith("--resume takes a run as it is - remove --epochs")
    assert message(f"--resume={tmp_path}", f"--evaluate={tmp_path}").endswith("remove --evaluate")


@pytest.fixture
def grids(monkeypatch):
    """What grids would have been run: (cells, their settings), nothing is trained."""
    seen = []

    def run_grid(cells, *, settings, **_):
        seen.append((cells, [settings(cell) for cell in cells]))
        return GridOutcome()

    monkeypatch.setattr("sear.command_line.run_grid", run_grid)
    return seen


def test_lists_make_a_grid_with_the_seeds_outermost(calls, grids, capsys):
    assert main(["--model=SEAR,SASRec", "--seed=1,2", "--epochs=3"]) == 0
    ((cells, settings),) = grids
    assert cells == [Cell("ml-100k", model, "", seed) for seed in (1, 2) for model in ("SEAR", "SASRec")]
    assert [(found["model"], found["seed"], found["epochs"]) for found in settings] == [
        ("SEAR", 1, 3), ("SASRec", 1, 3), ("SEAR", 2, 3), ("SASRec", 2, 3)
    ]  # fmt: skip
    assert capsys.readouterr().out == "4 cells; the first: ml-100k, SEAR, seed 1\n"
    assert calls == []


def test_an_ablation_is_a_cell_of_its_own_beside_the_whole_model(grids):
    assert main(["--model=SEAR,Pop", f"--ablate={','.join(PARTS)}"]) == 0
    ((cells, settings),) = grids
    assert [(cell.model, cell.ablate) for cell in cells] == [
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


def test_each_model_takes_the_keys_it_knows(grids):
    assert main(["--model=SEAR,SASRec,Pop", "--n_heads=1", "--d_state=8"]) == 0
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
    assert capsys.readouterr().err == "error: [Errno 28] No space left on device: 'results/x'\n"


def test_ctrl_c_ends_with_130(monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("sear.quick_start.run_sear", stop)
    assert main([]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_resume_and_evaluate_reach_quick_start(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr("sear.quick_start.resume", lambda folder: seen.append(("resume", folder)))
    monkeypatch.setattr("sear.quick_start.evaluate", lambda folder: seen.append(("evaluate", folder)))
    assert main([f"--resume={tmp_path}"]) == main([f"--evaluate={tmp_path}"]) == 0
    assert seen == [("resume", tmp_path), ("evaluate", tmp_path)]


def test_words_come_from_sys_argv_by_default(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["custom_trainer.py", "--help"])
    assert main() == 0
    assert "custom_trainer.py" in capsys.readouterr().out
