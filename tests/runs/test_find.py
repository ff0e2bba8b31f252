"""A run is found by the settings that made it."""

from dataclasses import replace

import pytest

from sear.runs.find import find_runs, recorded_hash, settings_hash
from sear.runs.folder import new_run_folder, write_config, write_metrics
from sear.settings.known_models import OWN_MODELS
from sear.settings.recbole_config import build_config, effective_settings
from tests.runs.test_folder import RECORD


def test_a_run_folder_is_found_by_the_settings_that_made_it(tmp_path):
    settings = effective_settings(
        build_config("ml-100k", "SEAR", {"learning_rate": 1e-5, "seed": 7, "results_path": str(tmp_path)})
    )
    folder = new_run_folder(tmp_path, "ml-100k", "SEAR", 7)
    write_config(folder, settings)
    assert find_runs(settings) == (None, folder)
    assert find_runs(settings | {"seed": 8}) == (None, None)


@pytest.mark.parametrize("model", ["SEAR", *OWN_MODELS, "NARM"])
def test_a_run_that_is_older_than_a_key_is_found_where_its_usual_value_is_asked_for(tmp_path, model):
    config = build_config("ml-100k", model, {"seed": 7, "results_path": str(tmp_path)})
    settings = effective_settings(config)
    folder = new_run_folder(tmp_path, "ml-100k", model, 7)
    write_config(folder, {key: value for key, value in settings.items() if key not in ("stopping_step", "eval_step")})
    assert find_runs(settings) == (None, folder)
    assert find_runs(settings | {"eval_step": 2}) == (None, None)


def test_looking_for_runs_imports_no_class_of_the_users(tmp_path):
    settings = {"dataset": "a", "model": "no_such_module:Mine", "results_path": str(tmp_path), "k": 4}
    folder = new_run_folder(tmp_path, "a", "Mine", 1)
    write_config(folder, settings)
    told = []
    assert find_runs(settings, tell=told.append) == (None, folder) and told == []


def test_settings_hash_ignores_places_and_kinds_of_number():
    settings = {"topk": (5, 10), "k": 4, "text": None}
    assert settings_hash({**settings, "topk": [5, 10], "use_gpu": False, "k": 4.0}) == settings_hash(settings)
    assert settings_hash({**settings, "data_path": "elsewhere"}) != settings_hash(settings)  # other events, perhaps
    assert settings_hash({**settings, "k": 1}) != settings_hash(settings)
    assert settings_hash({**settings, "seed": 1}) != settings_hash({**settings, "seed": 2})


def test_a_config_file_that_is_changed_is_read_again(tmp_path):
    settings = {"dataset": "a", "results_path": str(tmp_path), "k": 4}
    folder = new_run_folder(tmp_path, "a", "SEAR", 1)
    write_config(folder, settings)
    assert find_runs(settings) == (None, folder)
    write_config(folder, settings | {"k": 5})
    assert find_runs(settings) == (None, None)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"text_encoder": {"path": "e", "weights": None, "files": "old"}}, "by another text encoder than e is by now"),
        ({"settings": "0" * 16}, "with other settings than its config.yaml says by now"),
        ({"data": {"inter": "2"}}, "on other data (its .inter file was another)"),
        ({"began_with": "old"}, None),
        ({}, None),
    ],
)
def test_a_finished_run_by_another_encoder_or_of_other_settings_is_trained_anew(tmp_path, monkeypatch, changes, told):
    known = {"path": "e", "weights": None, "files": "new"}
    monkeypatch.setattr("sear.data.text_encoder.encoder_checksums", lambda path: known | {"path": path})
    asked = {"dataset": "a", "results_path": str(tmp_path), "k": 4, "item_sem_embedding_model_path": "e"}
    asked["warm_start"] = str(tmp_path / "gone")
    folder = new_run_folder(tmp_path, "a", "SEAR", 1)
    write_config(folder, asked)
    record = replace(RECORD, data={"inter": "1"}, text_encoder=known, settings=recorded_hash(asked))
    write_metrics(folder, replace(record, **changes))
    lines = []
    assert find_runs(asked, {"inter": "1"}, lines.append) == (None if told else folder, None)
    assert lines == ([f"{folder} was trained {told}: not taken as done"] if told else [])


def test_a_finished_run_is_taken_as_done_where_its_encoder_is_not_whole_any_more(tmp_path):
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "modules.json").write_text('[{"path": ""}]')
    (tmp_path / "e" / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    asked = {"dataset": "a", "results_path": str(tmp_path), "item_sem_embedding_model_path": str(tmp_path / "e")}
    folder = new_run_folder(tmp_path, "a", "SEAR", 1)
    write_config(folder, asked)
    write_metrics(folder, replace(RECORD, data={"inter": "1"}, text_encoder={"path": "e", "weights": "1"}))
    assert find_runs(asked, {"inter": "1"}) == (folder, None)


def test_the_recorded_hash_leaves_out_what_changes_no_result():
    settings = {"k": 4, "threads": 2, "data_path": "a", "item_sem_embedding_model_path": "b"}
    known = recorded_hash(settings)
    elsewhere = {"data_path": "c", "item_sem_embedding_model_path": "d", "results_path": "e", "threads": 1}
    assert recorded_hash(settings | elsewhere) == known != recorded_hash(settings | {"k": 5})


@pytest.mark.parametrize(("now", "found"), [("as then", True), ("another", False), (None, True)])
def test_a_run_that_began_with_another_model_than_its_place_holds_now_is_not_taken_as_done(
    tmp_path, monkeypatch, now, found
):
    monkeypatch.setattr("sear.runs.warm_start.digest_of_start", lambda path: now)  # None: the model is gone
    asked = {"dataset": "a", "results_path": str(tmp_path), "warm_start": "m"}
    folder = new_run_folder(tmp_path, "a", "SEAR", 1)
    write_config(folder, asked)
    write_metrics(folder, replace(RECORD, data={"inter": "1"}, began_with="as then"))
    lines = []
    assert find_runs(asked, {"inter": "1"}, lines.append) == (folder if found else None, None)
    told = f"{folder} began with another model than m holds by now: not taken as done"
    assert lines == ([] if found else [told])
