import pytest

from sear.errors import InputError
from sear.files import PROJECT_ROOT
from sear.settings.recbole_config import build_config, config_from_settings, effective_settings
from sear.settings.rules import dump_yaml, load_yaml, read_rules
from tests.helpers.config_folder import copy_config, data_folder

SEAR_YAML = PROJECT_ROOT / "config" / "model" / "SEAR.yaml"


@pytest.fixture
def own_config(tmp_path, monkeypatch):
    return copy_config(tmp_path, monkeypatch)


@pytest.mark.parametrize("model", ["SEAR", "SASRec", "FPMC"])
def test_settings_make_the_same_config_again(model):
    config = build_config("ml-100k", model, {"learning_rate": 1e-5, "window_stride": 7, "topk": [10, 20]})
    written = dump_yaml(effective_settings(config))
    again = config_from_settings(load_yaml(written))
    assert again.final_config_dict == config.final_config_dict
    assert dump_yaml(effective_settings(again)) == written


def test_settings_are_plain_and_hold_every_key_of_the_yaml_file():
    plain = effective_settings(build_config("ml-100k"))
    assert set(read_rules(SEAR_YAML)) | {"dataset", "model", "model_name"} <= set(plain)
    kinds = {type(value) for value in plain.values()}
    assert kinds <= {int, float, bool, str, list, dict, type(None)}


def test_a_runs_settings_hold_although_the_yaml_files_have_changed(own_config, tmp_path):
    (own_config / "data" / "herbs.yaml").write_text("load_col: ~\nnum_layers: 5\n")
    root = data_folder(tmp_path, "herbs")
    written = effective_settings(build_config("herbs", overrides={"data_path": root}))
    (own_config / "data" / "herbs.yaml").unlink()
    again = config_from_settings(written)
    assert (again["num_layers"], again["data_path"]) == (5, f"{root}/herbs")


def test_paths_inside_the_project_are_written_relative_to_it(own_config, tmp_path, monkeypatch):
    monkeypatch.setattr("sear.settings.recbole_config.PROJECT_ROOT", tmp_path)
    (own_config / "data" / "herbs.yaml").write_text("load_col: ~\n")
    (tmp_path / "dataset").mkdir()
    data_folder(tmp_path / "dataset", "herbs")
    assert effective_settings(build_config("herbs"))["data_path"] == "dataset"


def test_a_runs_settings_are_a_config_file(tmp_path):
    config = build_config("ml-100k", overrides={"d_state": 8})
    (tmp_path / "config.yaml").write_text(dump_yaml(effective_settings(config)))
    again = build_config("ml-100k", config_files=[tmp_path / "config.yaml"])
    assert again.final_config_dict == config.final_config_dict


def test_a_cut_short_settings_file_is_told():
    with pytest.raises(InputError, match="run/config.yaml: has no model, .* start that run anew"):
        config_from_settings({"dataset": "ml-100k"}, "run/config.yaml")


@pytest.mark.parametrize("model", ["SEAR", "SEAR-tuned", "ItemKNN", "NARM"])
def test_settings_without_keys_added_since_hold_the_yaml_files_values_and_say_so(model):
    whole = build_config("ml-100k", model, {"topk": [10, 20]})
    plain = effective_settings(whole)
    older = {key: value for key, value in plain.items() if key not in ("valid_smoothing", "recommend_again")}
    config = config_from_settings(older, "run/config.yaml")
    assert set(config.older_than) == set(plain) - set(older) and "valid_smoothing" in config.older_than
    assert effective_settings(config) == plain and config_from_settings(plain).older_than == []
    assert config.final_config_dict == whole.final_config_dict


def test_settings_cut_short_are_not_filled_up():
    plain = effective_settings(build_config("ml-100k"))
    cut = {key: plain[key] for key in sorted(plain)[:-9]} | {"model": "SEAR", "model_name": "SEAR"}
    with pytest.raises(InputError, match="run/config.yaml: has no window_stride, so it is cut short - restore it"):
        config_from_settings(cut, "run/config.yaml")


def test_a_copy_of_ml_100k_below_data_path_is_read_before_recboles_own(tmp_path):
    own = build_config("ml-100k", overrides={"data_path": str(tmp_path)})["data_path"]
    assert "dataset_example" in own
    root = data_folder(tmp_path, "ml-100k")
    config = build_config("ml-100k", overrides={"data_path": root})
    assert config["data_path"] == f"{root}/ml-100k"
    assert config_from_settings(effective_settings(config))["data_path"] == f"{root}/ml-100k"


def test_settings_edited_by_hand_are_checked():
    plain = effective_settings(build_config("ml-100k")) | {"num_heads": 5}
    with pytest.raises(InputError, match="run/config.yaml: num_heads is 5"):
        config_from_settings(plain, "run/config.yaml")
