"""What a plain RecBole script may and may not ask of a SEARDataset."""

import sys

import pytest
from recbole.config import Config

from sear.data import history
from sear.data.dataset import SEARDataset
from sear.errors import InputError


@pytest.fixture
def dataset(monkeypatch):
    """A function (model, **settings) -> SEARDataset on ml-100k, by RecBole's own Config."""
    monkeypatch.setattr(sys, "argv", ["script.py"])  # which Config reads

    def build(model="SASRec", **settings):
        own = {"MAX_ITEM_LIST_LENGTH": 50, "train_neg_sample_args": None} | settings
        return SEARDataset(Config(model=model, dataset="ml-100k", config_dict=own))

    return build


def test_recboles_own_models_learn_from_every_training_event(dataset):
    built = dataset()
    train, _, _ = built.build()
    users = len(built.events.offsets) - 1
    assert len(train) == history.training_counts(built.events.offsets).sum() - users


def test_windows_for_a_model_that_learns_from_the_last_event_are_refused(dataset):
    with pytest.raises(InputError, match="train_rows is windows, but SASRec learns from the last event .* prefixes"):
        dataset(train_rows="windows").build()


def test_other_training_rows_are_refused(dataset):
    with pytest.raises(InputError, match="train_rows is 'prefix' - write windows or prefixes"):
        dataset(train_rows="prefix").build()


@pytest.mark.parametrize(
    "eval_args",
    [
        {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "mode": "full"},
        {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "uni100"},
        {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": {"valid": "uni100", "test": "full"}},
    ],
)
def test_another_protocol_is_refused(dataset, eval_args):
    with pytest.raises(InputError, match="eval_args is .*, but the last two events .* - write eval_args"):
        dataset(eval_args=eval_args).build()
