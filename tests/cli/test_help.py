from sear.cli.help import help_text
from sear.settings.gather import own_files, recbole_models
from sear.settings.rules import dump_value, read_rules
from tests.helpers.config_folder import copy_config


def test_help_lists_every_key_with_its_default_and_its_words():
    text = help_text()
    joined = " ".join(text.split())
    for key, rule in read_rules(own_files("model")["SEAR"]).items():
        assert f"--{key}={dump_value(rule.default)}" in text
        assert f"({rule.allowed}) {rule.meaning}" in joined
    for name in (*own_files("data"), *own_files("model"), *recbole_models()):
        assert name in text
    for option in ("--dataset", "--model", "--seed", "--config", "--resume", "--evaluate", "--debug", "--help"):
        assert option in text
    assert "--use_gpu=true" in text


def test_help_fits_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    wide = [line for line in help_text().splitlines() if len(line) > 120]
    assert wide == []


def test_help_for_a_model_lists_its_own_keys():
    assert "--n_heads=2" in help_text(["SASRec"])
    assert "--n_heads=2" not in help_text()


def test_help_shows_models_and_data_sets_of_ones_own(tmp_path, monkeypatch):
    folder = copy_config(tmp_path, monkeypatch)
    (folder / "model" / "SEAR-small.yaml").write_text("model: SEAR\nhidden_size: 8  # (int >= 1) narrow\n")
    (folder / "data" / "herbs.yaml").write_text("")
    assert "SEAR-small" in help_text() and "herbs" in help_text()


def test_help_for_settings_beside_sears_own_shows_what_differs():
    own = help_text(["SEAR-tuned"]).partition("Keys of config/model/SEAR-tuned.yaml")[2].partition("Keys of RecBole")[0]
    assert "--streams=[semantic, collaborative]" in own and "--model" not in own and "--hidden_size" not in own
