"""A second config of one model: a name of its own in results, summary, grid and report, and all that SEAR can."""

import json

import pandas as pd
import pytest

from sear.cli.main import main
from sear.errors import InputError
from sear.files import PROJECT_ROOT
from sear.quick_start import evaluate
from sear.settings.recbole_config import build_config, config_from_settings, effective_settings, overrides_of
from sear.settings.rules import dump_yaml, read_settings
from tests.conftest import TOY, random_histories, tiny_config_root, write_atomic_files
from tests.helpers.config_folder import copy_config

TUNED = PROJECT_ROOT / "config" / "model" / "SEAR-tuned.yaml"


def test_the_tuned_config_holds_only_what_differs_from_the_published_one(tmp_path, monkeypatch):
    data = copy_config(tmp_path, monkeypatch) / "data" / "ml-100k.yaml"
    data.write_text(data.read_text().partition("by_model:")[0])
    tuned, published = (read_settings(path)[0] for path in (TUNED, TUNED.with_name("SEAR.yaml")))
    assert tuned.pop("model") == "SEAR"
    assert tuned and all(published[key] != value for key, value in tuned.items())
    plain, changed = (effective_settings(build_config("ml-100k", model)) for model in ("SEAR", "SEAR-tuned"))
    assert {key: value for key, value in changed.items() if plain[key] != value} == tuned | {"model_name": "SEAR-tuned"}


@pytest.mark.parametrize("name", ["GRU4Rec", "SASRec", "Mamba4Rec", "eSASRec"])
def test_a_tuned_baseline_has_every_addition_of_sear_tuned_that_it_can_have(name):
    tuned, own = (read_settings(path)[0] for path in (TUNED, TUNED.with_name(f"{name}-tuned.yaml")))
    of_sear_alone = {"model", "streams", "item_table", "dropout_prob"}
    assert own.pop("model") == name
    assert own == {key: value for key, value in tuned.items() if key not in of_sear_alone}
    config = build_config("ml-100k", f"{name}-tuned")
    assert config["ema_decay"] == 0.995 and overrides_of(config) == {}  # by_model


def test_any_config_that_names_its_model_is_a_model_of_its_own_name(tmp_path, monkeypatch):
    path = copy_config(tmp_path, monkeypatch) / "model" / "mine.yaml"
    path.write_text("model: SEAR\nrating_encoding: centred\n")
    config = build_config("ml-100k", "mine", {"ablate": "aggregation"})
    assert (config["model"], config["model_name"], config["rating_encoding"]) == ("SEAR", "mine", "centred")
    assert config["aggregation"] is False
    assert effective_settings(config_from_settings(effective_settings(config))) == effective_settings(config)
    assert overrides_of(config) == {}  # the file of that name says it all, and so does the part that is left out
    path.write_text("model: SEAR\nrating_encoding: centered\n")
    with pytest.raises(InputError, match="mine.yaml, line 2: rating_encoding is 'centered', .*did you mean centred"):
        build_config("ml-100k", "mine")


def test_a_rating_encoding_is_sears_alone(capsys):
    assert main(["--model=Pop", "--rating_encoding=value"]) == 2
    assert "command line: unknown key rating_encoding" in capsys.readouterr().err


@pytest.fixture
def command(tmp_path, monkeypatch, tiny_text):
    """A function that runs the command line at toy size on the tiny data set; returns its exit code."""
    write_atomic_files(tmp_path, "tiny", random_histories())
    monkeypatch.setattr("sear.settings.gather.CONFIG_ROOT", tiny_config_root(tmp_path))
    (tmp_path / "toy.yaml").write_text(dump_yaml(TOY | {"threads": 1, "results_path": str(tmp_path / "results")}))
    return lambda *words, before="": main(
        ["--dataset=tiny", f"--config={before}{tmp_path}/toy.yaml", "--epochs=1", *words]
    )


@pytest.mark.long
def test_the_tuned_model_goes_the_whole_way_beside_the_published_one(command, tmp_path, capsys):
    assert command("--model=SEAR,SEAR-tuned", "--ablate=text_init", "--seed=1") == 0
    results = tmp_path / "results"
    found = {
        (metrics["model"], metrics["ablate"]): (metrics, path.parent)
        for path in results.rglob("metrics.json")
        for metrics in [json.loads(path.read_text())]
    }
    assert set(found) == {(model, part) for model in ("SEAR", "SEAR-tuned") for part in (None, "text_init")}
    assert all(folder.parent == results / "tiny" / model for (model, _), (_, folder) in found.items())
    summary = pd.read_csv(results / "summary.csv")
    assert sorted(summary["model"]) == ["SEAR", "SEAR", "SEAR-tuned", "SEAR-tuned"]
    page = (results / "tiny" / "report" / "report.html").read_text()
    assert "SEAR-tuned without text init" in page and "streams=" not in page

    metrics, folder = found["SEAR-tuned", None]
    assert command("--seed=1", f"--results_path={tmp_path}/same", before=f"{TUNED},") == 0
    (same,) = [json.loads(path.read_text()) for path in (tmp_path / "same").glob("tiny/SEAR/*/metrics.json")]
    assert (metrics["parameters"], metrics["test"]) == (same["parameters"], same["test"])
    assert "--model=SEAR-tuned" in metrics["command"] and "streams" not in metrics["command"]
    assert evaluate(folder)["test"] == metrics["test"]
    capsys.readouterr()
    assert command("--model=SEAR-tuned", "--ablate=text_init", "--seed=1") == 0
    assert capsys.readouterr().out.count("is done already in") == 2
