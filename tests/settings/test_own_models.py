"""Models of the user's own, by MODULE:CLASS or as classes: which settings they have, and what is told of mistakes."""

import subprocess
import sys
from itertools import count

import pytest

from sear.cli.arguments import parse
from sear.cli.help import help_text
from sear.errors import InputError
from sear.files import PROJECT_ROOT
from sear.quick_start import evaluate
from sear.runs.find import find_runs
from sear.settings.recbole_config import build_config, config_from_settings, effective_settings
from sear.settings.rules import read_settings
from tests.helpers.killed_run import run

SOURCE = """
from recbole.model.sequential_recommender.fdsa import FDSA
from recbole.model.sequential_recommender.narm import NARM
from sear.model import SEAR
from sear.model.causal import SASRec
from sear.model.next_item import NextItemModel


class MyModel(SEAR):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.penalty = config["penalty"]

    def loss(self, user_PD, item_VD, target_PK, earlier=None):
        return super().loss(user_PD, item_VD, target_PK, earlier) + self.penalty


class Further(MyModel):
    pass


class MySASRec(SASRec):
    pass


class MyNext(NextItemModel):
    pass


class MyNARM(NARM):
    pass


class MyFDSA(FDSA):
    pass


class Nothing:
    pass
"""
numbers = count()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module with the classes above, in a package in the working directory, and its folder."""
    package = tmp_path / f"mine{next(numbers)}"  # another one in each test: Python keeps a module once imported
    package.mkdir()
    (package / "models.py").write_text(SOURCE)
    (package / "MyModel.yaml").write_text("penalty: 0.5   # (float >= 0) added to the loss\nnum_layers: 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return f"{package.name}.models", package


def message(model, *files, **overrides):
    with pytest.raises(InputError) as error:
        build_config("ml-100k", model, overrides, files)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_subclass_of_sear_has_sears_keys_and_those_of_the_yaml_beside_it(module):
    config = build_config("ml-100k", f"{module[0]}:MyModel", {"penalty": 2.0})
    assert (config["penalty"], config["num_layers"], config["d_state"], config["train_rows"]) == (2.0, 1, 32, "windows")
    assert config["model"] == config["model_name"] == f"{module[0]}:MyModel"
    assert "penalty is -1, not float >= 0" in message(f"{module[0]}:MyModel", penalty=-1)
    assert "num_heads is 5, which does not divide" in message(f"{module[0]}:MyModel", num_heads=5)
    (module[1] / "Further.yaml").write_text("num_layers: 3\n")
    further = build_config("ml-100k", f"{module[0]}:Further")
    assert (further["penalty"], further["num_layers"]) == (0.5, 3)  # a base's file counts, the class's own is stronger
    (module[1] / "models.yaml").write_text("num_layers: 4\nd_state: 8\n")
    config = build_config("ml-100k", f"{module[0]}:MyModel")
    assert (config["num_layers"], config["d_state"]) == (1, 8)


def test_subclasses_of_other_models_have_those_models_keys(module):
    config = build_config("ml-100k", f"{module[0]}:MySASRec")
    assert (config["train_rows"], config["n_heads"], config["soft_label_length"], config["d_state"]) == (
        "windows", 2, 1, None,
    )  # fmt: skip
    config = build_config("ml-100k", f"{module[0]}:MyNARM", {"n_layers": 2})
    assert (config["train_rows"], config["n_layers"], config["dropout_probs"]) == ("prefixes", 2, [0.25, 0.5])
    assert "train_rows is 'windows', but" in message(f"{module[0]}:MyNARM", train_rows="windows")


def test_a_config_file_may_bring_new_keys_but_no_misspelt_ones(module):
    (module[1] / "MyModel.yaml").unlink()
    file = module[1] / "more.yaml"
    file.write_text("penalty: 0.25   # (float >= 0) added to the loss\nextra: [1, 2]\n")
    model = f"{module[0]}:MyModel"
    config = build_config("ml-100k", model, {"penalty": 0.75}, [file])
    assert (config["penalty"], config["extra"]) == (0.75, [1, 2])
    assert parse([f"--model={model}", f"--config={file}", "--penalty=0.75"]).overrides == {"penalty": 0.75}
    settings = effective_settings(config)
    assert settings["extra"] == [1, 2]
    assert effective_settings(config_from_settings(settings)) == settings
    assert "unknown key penalty" in message(model, penalty=1)
    file.write_text("num_layer: 1\n")
    assert "unknown key num_layer (did you mean num_layers?) - if it is a new one, write" in message(model, file)
    file.write_text("num_layer: 1   # (int >= 1) of another kind\n")
    assert build_config("ml-100k", model, {}, [file])["num_layer"] == 1


def test_a_file_in_config_gives_a_short_name(module, here):
    (here / "config" / "model" / "mine.yaml").write_text(f"model: {module[0]}:MyModel\nd_conv: 2\n")
    config = build_config("ml-100k", "mine")
    assert (config["model"], config["model_name"]) == (f"{module[0]}:MyModel", "mine")
    assert (config["penalty"], config["d_conv"]) == (0.5, 2)
    assert "--penalty=0.5" in help_text([f"{module[0]}:MyModel"])


def test_what_is_no_model_is_told_in_one_line(module):
    name, package = module
    assert "has no class MyModl (did you mean MyModel?)" in message(f"{name}:MyModl")
    assert "no module mine.models in " in message("mine.models:MyModel")
    assert f"write for example {name}:MyModel" in message(f"{name}.py:MyModel")
    assert "no module  in" in message(":MyModel")
    assert "is no sequential model of RecBole's - derive it from sear.model.SEAR" in message(f"{name}:Nothing")
    assert "is a FDSA, which learns from item features" in message(f"{name}:MyFDSA")
    assert "write MODULE:CLASS of your own" in message("MyModel")
    (package / "broken.py").write_text("import nowhere\n")
    assert "broken cannot be imported (ModuleNotFoundError: No module named 'nowhere')" in message(
        f"{package.name}.broken:A"
    )
    (package / "exits.py").write_text("raise SystemExit(0)\n")
    assert "exits cannot be imported (SystemExit: 0)" in message(f"{package.name}.exits:A")
    assert "neither a name nor a class" in message(3)


@pytest.mark.long
def test_an_own_model_trains_is_found_again_and_tested_again(module, here):
    model = f"{module[0]}:MyModel"
    plain, raised = (run(here, model=model, epochs=1, penalty=penalty)["run_folder"] for penalty in (0, 100))
    assert plain.rpartition("/")[0].endswith(f"results/tiny/{module[0]}.MyModel")
    losses = [float(open(f"{folder}/history.csv").readlines()[1].split(",")[2]) for folder in (plain, raised)]
    assert losses[1] == pytest.approx(losses[0] + 100)
    settings = read_settings(f"{plain}/config.yaml")[0]
    assert str(find_runs(settings)[0]) == plain
    assert evaluate(plain)["test"]["hit@10"] >= 0


@pytest.mark.long
def test_run_sear_takes_a_class_even_of_a_function(here):
    from sear.model import SEAR

    class Local(SEAR):
        """SEAR under another name."""

    ours, local = run(here, epochs=1), run(here, model=Local, epochs=1)
    assert ours["test"] == local["test"]
    assert local["model"].endswith("<locals>.Local") and evaluate(local["run_folder"])["test"] == local["test"]


def test_a_class_of_a_script_is_asked_for_by_its_module(here):
    settings = effective_settings(build_config("ml-100k", "SEAR"))
    settings |= {"model": "__main__:Gone", "model_name": "__main__:Gone"}
    with pytest.raises(InputError, match="has no class Gone"):
        config_from_settings(settings)


@pytest.mark.long
def test_a_module_in_the_working_directory_is_found_from_the_command_line(module):
    words = [sys.executable, PROJECT_ROOT / "custom_trainer.py", f"--model={module[0]}:MyModel", "--help"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=module[1].parent)
    assert done.returncode == 0 and "added to the loss" in done.stdout, done.stderr


def test_a_transition_prior_is_for_every_model_with_user_vectors(module):
    name, _ = module
    for model in ("MyNext", "MySASRec", "MyModel"):
        config = build_config("ml-100k", f"{name}:{model}", {"transition_prior": [0, 1]})
        assert config["transition_prior"] == [0, 1]
    with pytest.raises(InputError, match="transition_prior is .*, but .*:MyNARM has no user vectors"):
        build_config("ml-100k", f"{name}:MyNARM", {"transition_prior": [0, 1]})
