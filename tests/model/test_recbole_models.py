"""Any of RecBole's sequential models runs by name, on rows of one prefix each; those that cannot are told why."""

import math

import pytest

from sear.errors import InputError
from sear.settings.known_models import OWN_MODELS, UNFED_MODELS, recbole_models, recbole_root
from sear.settings.recbole_config import build_config
from tests.conftest import random_histories, tiny_config_root, write_atomic_files
from tests.helpers.killed_run import run

MANY_ITEMS = ("GRU4RecCPR", "SASRecCPR")  # they rerank the first hundred items: too many for a tiny catalogue


@pytest.mark.parametrize("name", [name for name in recbole_models() if name not in (*OWN_MODELS, *MANY_ITEMS)])
def test_a_sequential_model_of_recbole_trains_and_is_tested_by_name(tmp_path, monkeypatch, tiny_text, name):
    write_atomic_files(tmp_path, "tiny", random_histories(users=12, items=8, longest=12), items=8)
    monkeypatch.setattr("sear.settings.gather.CONFIG_ROOT", tiny_config_root(tmp_path))
    monkeypatch.setattr("sear.runs.training_run.environment", lambda _: {"device": "cpu", "commit": None})
    done = run(tmp_path, model=name, epochs=1, hidden_size=64, num_layers=1)
    assert done["epochs"] == 1 and done["test"]["mrr@10"] > 0
    assert math.isfinite(done["valid"]["mrr@10"])


def test_every_sequential_model_of_recbole_either_runs_or_says_why_not():
    files = {path.stem for path in (recbole_root() / "model" / "sequential_recommender").glob("*.py")} - {"__init__"}
    assert files == {name.lower() for name in (*recbole_models(), *UNFED_MODELS)}
    for name in UNFED_MODELS:
        with pytest.raises(InputError, match=f"model {name} .* - choose from SEAR, "):
            build_config("ml-100k", name)


def test_windows_are_refused_to_a_model_that_learns_from_the_last_event_alone():
    with pytest.raises(InputError, match="train_rows is 'windows', but NARM learns from the last event .* prefixes"):
        build_config("ml-100k", "NARM", {"train_rows": "windows"})
