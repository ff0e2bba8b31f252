import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.config import Config

from sear.errors import InputError
from sear.files import PROJECT_ROOT
from sear.settings import gather as settings
from sear.settings.gather import SEAR_KEYS, find_data, own_files
from sear.settings.recbole_config import build_config, config_from_settings, effective_settings, overrides_of
from sear.settings.rules import dump_yaml, load_yaml, read_rules
from tests.helpers.config_folder import copy_config, data_folder

SEAR_YAML = PROJECT_ROOT / "config" / "model" / "SEAR.yaml"


@pytest.fixture
def own_config(tmp_path, monkeypatch):
    return copy_config(tmp_path, monkeypatch)


def test_defaults_are_the_published_hyper_parameters():
    config = build_config("ml-100k")
    published = {
        "hidden_size": 64, "num_layers": 2, "dropout_prob": 0.2, "d_state": 32, "d_conv": 4, "expand": 2,
        "num_heads": 4, "soft_label_length": 4, "soft_label_decay": 2.0, "learner": "adamw", "learning_rate": 1e-3,
        "weight_decay": 0.0, "learning_rate_decay": 0.96, "train_batch_size": 2048, "eval_batch_size": 4096,
        "stopping_step": 4, "epochs": 200, "seed": 2020, "valid_metric": "MRR@10", "MAX_ITEM_LIST_LENGTH": 100,
        "train_rows": "windows", "keep_dt_init": False, "mask_history": False,
    }  # fmt: skip
    assert {key: config[key] for key in published} == published
    assert isinstance(config, Config)
    assert config["eval_args"]["split"] == {"LS": "valid_and_test"}
    assert config["train_neg_sample_args"]["distribution"] == "none"


def test_sear_wins_over_recboles_own_settings_for_ml_100k():
    assert build_config("ml-100k")["normalize_all"] is False
    assert build_config("ml-100k", "SASRec")["normalize_all"] is False


def test_stronger_sources_win(own_config, tmp_path):
    model_file = own_config / "model" / "SEAR.yaml"
    for line in ("num_layers", "epochs", "d_state", "expand"):
        assert f"\n{line}: " in model_file.read_text()
    with open(own_config / "data" / "ml-100k.yaml", "a") as file:
        file.write("num_layers: 3\nepochs: 3\nd_state: 3\n")
    (tmp_path / "a.yaml").write_text("epochs: 5\nd_state: 5\n")
    (tmp_path / "b.yaml").write_text("d_state: 6\n")
    config = build_config("ml-100k", "SEAR", {"epochs": 7}, [tmp_path / "a.yaml", tmp_path / "b.yaml"])
    assert [config[key] for key in ("expand", "num_layers", "d_state", "epochs")] == [2, 3, 6, 7]


def test_both_names_of_a_data_set_work(own_config, tmp_path):
    (own_config / "data" / "herbs.yaml").write_text("dataset: amazon-herbs\nload_col: ~\n")
    root = data_folder(tmp_path, "amazon-herbs")
    for name in ("herbs", "amazon-herbs"):
        config = build_config(name, overrides={"data_path": root})
        assert config["dataset"] == "amazon-herbs"
        assert config["data_path"] == f"{root}/amazon-herbs"


def test_a_data_set_of_ones_own_needs_one_yaml_file_and_may_be_called_anything(own_config, tmp_path):
    for name in ("list", "print('x')", "1e3"):
        (own_config / "data" / f"{name}.yaml").write_text("load_col: {inter: [user_id, item_id, timestamp]}\n")
        assert build_config(name, overrides={"data_path": data_folder(tmp_path, name)})["dataset"] == name


def test_a_model_file_may_be_a_variant_of_a_class(own_config):
    (own_config / "model" / "SEAR-small.yaml").write_text("model: SEAR\nhidden_size: 8\n")
    config = build_config("ml-100k", "SEAR-small")
    assert (config["model"], config["model_name"], config["hidden_size"], config["num_layers"]) == (
        "SEAR", "SEAR-small", 8, 2
    )  # fmt: skip


def test_a_data_file_may_hold_settings_of_single_models(own_config):
    path = own_config / "data" / "ml-100k.yaml"
    usual = path.read_text().partition("by_model:")[0]
    path.write_text(f"{usual}epochs: 7\nby_model:\n  SEAR-tuned: {{epochs: 9, dropout_prob: 0.4}}\n  SASRec: {{}}\n")
    assert [build_config("ml-100k", model)["epochs"] for model in ("SEAR", "SASRec", "SEAR-tuned")] == [7, 7, 9]
    assert build_config("ml-100k", "SEAR-tuned", {"epochs": 3})["epochs"] == 3
    assert overrides_of(build_config("ml-100k", "SEAR-tuned")) == {}


@pytest.mark.parametrize(
    "by_model, told",
    [
        ("[SEAR]", r": by_model is \['SEAR'\] - write settings below the name of each model"),
        ("{SASrec: {epochs: 3}}", r": by_model: unknown model SASrec \(did you mean SASRec\?\)"),
        ("{SEAR: 3}", r": by_model: SEAR is 3 - write its settings below it, as KEY: VALUE"),
        ("{SEAR: {epoch: 3}}", r": by_model, SEAR: unknown key epoch \(did you mean epochs\?\)"),
        ("{SEAR: {epochs: x}}", r": by_model, SEAR: epochs is 'x', not int >= 1"),
    ],
)
def test_what_a_data_file_may_not_say_of_models_is_named(own_config, by_model, told):
    (own_config / "data" / "ml-100k.yaml").write_text(f"# a comment\nby_model: {by_model}\n")
    with pytest.raises(InputError, match=f"ml-100k.yaml, line 2{told}"):
        build_config("ml-100k", "SEAR")


def test_settings_of_a_single_model_have_an_effect_and_stand_in_a_data_file_alone(own_config, tmp_path):
    (own_config / "data" / "ml-100k.yaml").write_text("by_model: {SASRec: {d_state: 8}}\n")
    with pytest.raises(InputError, match="line 1: by_model, SASRec: d_state has no effect on this model - remove it"):
        build_config("ml-100k", "SASRec")
    (tmp_path / "mine.yaml").write_text("by_model: {SASRec: {epochs: 8}}\n")
    with pytest.raises(
        InputError, match="mine.yaml, line 1: by_model stands in a data set's own config/data/NAME.yaml"
    ):
        build_config("ml-100k", "SEAR", {}, [tmp_path / "mine.yaml"])


def test_every_data_file_of_the_project_makes_a_config(tmp_path):
    assert set(own_files("data")) == {"ml-100k", "ml-1m", "beauty", "games", "supplies", "scientific"}
    for name in own_files("data"):
        folder = find_data(name)[1]
        config = build_config(name, overrides={"data_path": data_folder(tmp_path, folder)})
        assert config["user_inter_num_interval"] == config["item_inter_num_interval"] == "[5,inf)"


@pytest.mark.parametrize("model", ["NARM", "Caser", "STAMP", "FPMC", "TransRec"])
def test_recboles_sequential_models_share_the_protocol_and_keep_their_own_sizes(model):
    config = build_config("ml-100k", model)
    own = read_rules(settings.recbole_root() / "properties" / "model" / f"{model}.yaml")
    assert all(config[key] == rule.default for key, rule in own.items())
    assert config["metrics"] == ["Hit", "NDCG", "MRR"] and config["history_length_groups"] == [0, 5, 10, 15, 20]
    assert config["train_rows"] == "prefixes" and config["soft_label_length"] is None
    sampled = config["train_neg_sample_args"]["distribution"]
    assert sampled == ("uniform" if model in ("FPMC", "TransRec") else "none")


def test_sear_keys_name_keys_of_its_yaml_file():
    assert set(SEAR_KEYS) <= set(read_rules(SEAR_YAML))


def test_sys_argv_is_neither_read_nor_changed(monkeypatch):
    words = ["pytest", "-q", "--epochs=3", "--seed=5", "--seed=6", "--a=b=c"]
    monkeypatch.setattr(sys, "argv", list(words))
    config = build_config("ml-100k")
    assert (config["epochs"], config["seed"]) == (200, 2020)
    assert sys.argv == words


@pytest.mark.parametrize("text", ["[5,inf)", "[0,10]", "(2,7)"])
def test_intervals_stay_text(text):
    assert build_config("ml-100k", overrides={"user_inter_num_interval": text})["user_inter_num_interval"] == text


@pytest.mark.parametrize("text", ["1", "list", "None", "[1, 2]", "__import__('os').getcwd()", "1e-3", "~", "010"])
def test_strings_survive_as_they_are(text):
    config = build_config("ml-100k", overrides={"item_sem_embedding_model_path": text})
    assert config["item_sem_embedding_model_path"] == text
    again = config_from_settings(load_yaml(dump_yaml(effective_settings(config))))
    assert again["item_sem_embedding_model_path"] == text


def test_overrides_are_not_shared_with_the_config():
    topk = [10, 20]
    config = build_config("ml-100k", overrides={"topk": topk})
    config["topk"].append(30)
    assert topk == [10, 20]


def test_python_values_become_yaml_values():
    config = build_config("ml-100k", overrides={"topk": (10,), "seed": np.int64(3), "results_path": Path("elsewhere")})
    assert (config["topk"], config["seed"], config["results_path"]) == ([10], 3, "elsewhere")
    assert type(config["seed"]) is int


def test_a_users_cuda_visible_devices_stays(monkeypatch):
    for mine in ("3", ""):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", mine)
        monkeypatch.setattr(torch.cuda, "is_available", lambda mine=mine: bool(mine))
        if not mine:  # hides every card
            with pytest.raises(InputError, match="torch finds no such GPU"):
                build_config("ml-100k", overrides={"gpu_id": "1"})
            assert os.environ["CUDA_VISIBLE_DEVICES"] == mine
            continue
        config = build_config("ml-100k", overrides={"gpu_id": "1"})
        assert os.environ["CUDA_VISIBLE_DEVICES"] == mine
        assert config["gpu_id"] == "1"


def test_without_one_gpu_id_decides(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    build_config("ml-100k", overrides={"gpu_id": 1})
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


def test_use_gpu_false_means_cpu_and_hides_no_card_from_a_later_run(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert build_config("ml-100k", overrides={"use_gpu": False})["device"] == torch.device("cpu")
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    assert build_config("ml-100k")["device"] == torch.device("cuda")


def test_sears_own_keys_have_no_effect_on_a_model_of_recbole(tmp_path):
    (tmp_path / "shared.yaml").write_text("soft_label_length: 4\ntrim_padding: True\ntext_init: False\nepochs: 3\n")
    plain = build_config("ml-100k", "NARM", {"epochs": 3})
    for asked in ({"config_files": [tmp_path / "shared.yaml"]}, {"overrides": {"trim_padding": True, "epochs": 3}}):
        config = build_config("ml-100k", "NARM", **asked)
        assert config["soft_label_length"] is None and config["trim_padding"] is None
        assert effective_settings(config) == effective_settings(plain)
        assert config_from_settings(effective_settings(plain) | {"trim_padding": True})["trim_padding"] is None
    assert build_config("ml-100k", "SASRec", config_files=[tmp_path / "shared.yaml"])["soft_label_length"] == 4
