import pytest

from sear.errors import InputError
from sear.files import PROJECT_ROOT
from sear.settings.recbole_config import build_config, model_class
from sear.settings.rules import read_settings
from tests.helpers.config_folder import copy_config, data_folder

SEAR_YAML = PROJECT_ROOT / "config" / "model" / "SEAR.yaml"


@pytest.fixture
def own_config(tmp_path, monkeypatch):
    return copy_config(tmp_path, monkeypatch)


def message(dataset="ml-100k", model="SEAR", place="command line", files=(), **overrides):
    with pytest.raises(InputError) as error:
        build_config(dataset, model, overrides, files, place)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_unknown_names_bring_the_nearest_one():
    assert message("ml100k").startswith("unknown data set ml100k (did you mean ml-100k?) - choose from ")
    assert "unknown model sear (did you mean SEAR?) - choose from SEAR, " in message(model="sear")
    assert "unknown model GRU4rec (did you mean GRU4Rec?)" in message(model="GRU4rec")
    assert "describe your own in config/data/zzz.yaml" in message("zzz")
    assert message(epoch=3) == "command line: unknown key epoch (did you mean epochs?) - --help lists the keys"
    assert "(did you mean NDCG?)" in message(metrics=["hit", "ndgc"])
    assert message(qqqqq=3) == "command line: unknown key qqqqq - --help lists the keys"
    assert message(checkpoint_dir="x").endswith("set results_path")


def test_data_without_a_yaml_file_are_told_apart_from_an_unknown_name(tmp_path, monkeypatch):
    monkeypatch.setattr("sear.settings.gather.PROJECT_ROOT", tmp_path)
    data_folder(tmp_path / "dataset", "shopx")
    told = message("shopx")
    assert told.startswith("data set shopx has data in dataset/shopx, but config/data/shopx.yaml is missing - ")
    assert "--write_config" in told and message("shop1").startswith("unknown data set shop1")


@pytest.mark.parametrize("value", ["0,001", 0])
def test_a_decimal_comma_is_met_by_the_way_to_write_it(value):
    assert message(learning_rate=value).endswith("learning_rate: 0.001 (with a point, for a comma separates values)")
    assert "with a point" not in message(learning_rate=-0.5) and "with a point" not in message(epochs=0)


def test_general_models_are_refused():
    with pytest.raises(InputError, match="BPR is no sequential model"):
        model_class("BPR")
    assert "unknown model BPR" in message(model="BPR")


@pytest.mark.parametrize(
    "key, value, why",
    [
        ("epochs", "many", "not int >= 1 - for example epochs: 200"),
        ("epochs", 0, "not int >= 1"),
        ("epochs", True, "not int >= 1"),
        ("epochs", 2.0, "not int >= 1"),
        ("epochs", None, "not int >= 1"),
        ("hidden_size", -64, "not int >= 1 - for example hidden_size: 64"),
        ("num_heads", 5, "which does not divide hidden_size 64 - choose from 1, 2, 4, 8, 16, 32, 64"),
        ("dropout_prob", 1, "not float >= 0 and < 1"),
        ("dropout_prob", -0.1, "not float >= 0 and < 1"),
        ("learning_rate", 0, "not float > 0"),
        ("learning_rate", float("nan"), "not float > 0"),
        ("learning_rate", float("inf"), "not float > 0"),
        ("learning_rate_decay", 1.5, "not float > 0 and <= 1"),
        ("soft_label_length", 0, "not int >= 1"),
        ("soft_label_decay", -1, "not float >= 0"),
        ("streams", ["sematic"], "(did you mean semantic?) - for example streams: [semantic, collaborative, rating]"),
        ("streams", "rating", "not list of str"),
        ("streams", [], "an empty list"),
        ("streams", ["rating", "rating"], "which names one entry twice - remove one of them"),
        ("train_rows", "window", "(did you mean windows?)"),
        ("window_stride", 101, "more than MAX_ITEM_LIST_LENGTH 100 - choose 1 to 100, or ~ for the half"),
        ("window_stride", 0, "not int >= 1 or ~"),
        ("metrics", ["AUC"], "not list of str: Hit | NDCG"),
        ("topk", [0], "not list of int >= 1 - for example topk: [10]"),
        ("topk", [], "an empty list - for example topk: [10]"),
        ("valid_metric", "MRR@5", "no metric that metrics and topk ask for - choose from Hit@10, NDCG@10, MRR@10"),
        ("learner", "admw", "(did you mean adamw?)"),
        ("weight_decay", -1e-3, "not float >= 0"),
        ("seed", -1, "not int >= 0 and < 4294967296"),
        ("seed", 2**32, "not int >= 0 and < 4294967296"),
        ("reproducibility", "yes", "not bool - for example reproducibility: true"),
        ("threads", 0, "not int >= 1 or ~ - for example threads: ~"),
        ("history_length_groups", [5, 10], "which does not rise from 0"),
        ("item_popularity_groups", [0, 20, 10], "which does not rise from 0"),
        ("user_inter_num_interval", "5", 'no interval - write one such as user_inter_num_interval: "[5,inf)"'),
        ("val_interval", {"rating": "[a,b]"}, 'whose rating is no interval - write one such as "[3,inf)"'),
        ("val_interval", {"rating": "[5,1]"}, "whose rating is no interval"),
        ("val_interval", {"rating": "[nan,1]"}, "whose rating is no interval"),
        ("val_interval", {"item_id": [[1], "2"]}, "whose item_id is no list of ids"),
        ("repeatable", False, "but a sequential model may repeat items"),
        ("loss_type", "BPR", "not str: CE"),
        ("train_neg_sample_args", {"distribution": "uniform"}, "but SEAR learns from all items"),
        ("eval_args", {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO"}, "but the last two events"),
        ("eval_args", {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "uni100"}, "but the last two events"),
        ("eval_args", {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": {"test": "uni9"}}, "but the last two"),
        ("eval_args", "LS", "not dict"),
        ("load_col", {"inter": ["user_id", "item_id"]}, "whose inter lacks timestamp"),
        ("load_col", {"inter": "user_id"}, "whose inter is no list of column names"),
        ("load_col", {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id"]}, "names no text field"),
        ("normalize_all", True, "but it has no effect here"),
        ("benchmark_filename", ["train", "valid", "test"], "but it has no effect here"),
        ("shuffle", False, "but it has no effect here"),
        ("worker", 4, "but it has no effect here"),
        ("metric_decimal_place", 6, "but it has no effect here"),
        ("state", "LOUD", "not str: DEBUG | INFO"),
        ("data_path", "odd\udcff/", "no text in UTF-8, so that no result could name it - rename the file or folder"),
    ],
)
def test_wrong_values_name_place_key_and_remedy(key, value, why):
    found = message(**{key: value})
    assert found.startswith(f"command line: {key} is {value!r}, ")
    assert why in found and " - " in found


def test_a_wrong_value_in_a_file_is_found_with_its_line(tmp_path):
    (tmp_path / "mine.yaml").write_text("# mine\n\nepochs: many\n")
    assert message(files=[tmp_path / "mine.yaml"]).startswith(f"{tmp_path}/mine.yaml, line 3: epochs is 'many'")
    line = read_settings(SEAR_YAML)[1]["num_heads"]
    assert SEAR_YAML.read_text().splitlines()[line - 1].startswith("num_heads: 4")
    assert message(hidden_size=6).startswith(f"config/model/SEAR.yaml, line {line}: num_heads is 4, which does not")


def test_modes_of_eval_args_may_be_spelt_out():
    eval_args = {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": {"valid": "full", "test": "full"}}
    assert build_config("ml-100k", overrides={"eval_args": eval_args})["eval_args"]["group_by"] == "user"


def test_missing_data_names_the_command_that_makes_it_and_nothing_is_downloaded(own_config, tmp_path, monkeypatch):
    monkeypatch.setattr("recbole.data.dataset.dataset.download_url", lambda *_: pytest.fail("downloads"))
    found = message("beauty", data_path=str(tmp_path))
    assert found == (
        f"{tmp_path}/amazon-beauty/amazon-beauty.inter is missing - "
        "make it with: python -m sear.atomic_files beauty RAW_DIR"
    )
    data_folder(tmp_path, "amazon-beauty", ["inter"])
    assert "amazon-beauty.item is missing - make it with" in message("beauty", data_path=str(tmp_path))
    (own_config / "data" / "herbs.yaml").write_text("load_col: ~\n")
    assert "herbs/herbs.inter is missing - put it there (dataset/README.md" in message("herbs", data_path=str(tmp_path))


def test_a_broken_data_file_of_another_data_set_does_no_harm(own_config):
    (own_config / "data" / "aaa.yaml").write_text("x: [")
    assert build_config("ml-100k")["dataset"] == "ml-100k"


def test_a_model_file_must_name_a_class(own_config):
    (own_config / "model" / "Mine.yaml").write_text("hidden_size: 8\n")
    assert "config/model/Mine.yaml: unknown model Mine" in message(model="Mine")
    (own_config / "model" / "Mine.yaml").write_text("model: [SEAR]\n")
    assert "model is ['SEAR'], no name - write model: NAME" in message(model="Mine")
