"""The transition prior: what it adds to a score, that ranks follow it, how its weight is chosen, and what keeps it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sear.errors import InputError
from sear.evaluation.mix_choice import choose_mix
from sear.evaluation.ranks import case_ranks
from sear.model.transition_prior import mixed_scores
from sear.quick_start import evaluate
from sear.settings.recbole_config import build_config
from tests.conftest import random_histories
from tests.helpers.killed_run import run


class Loader:
    """A part of a dataset as a loader: case_ranks asks for batches by number."""

    def __init__(self, dataset):
        self._dataset = dataset

    def collate_fn(self, index):
        return (self._dataset[index],)


def same(batch):
    return batch


@pytest.fixture
def with_prior(tiny_model):
    """A SASRec on histories in which item n + 1 always follows item n, and its parts."""
    histories = {
        f"u{user}": [(f"i{(user + step) % 30}", 4, 881250000 + step) for step in range(6 + user % 9)]
        for user in range(60)
    }
    model, train, test = tiny_model("SASRec", histories, transition_prior=[0.0, 0.5, 2.0], transition_half_life=0.5)
    return model, train, Loader(test)


def test_the_mix_adds_a_weighted_logarithm_and_nothing_where_transitions_are_silent():
    score, share = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.0, 7.0, 1.0]])
    expected = torch.tensor([[1.0, 2 + 3 * np.log(8), 3 + 3 * np.log(2)]])
    torch.testing.assert_close(mixed_scores(score, share, 3.0, 1.0), expected.float())
    torch.testing.assert_close(mixed_scores(score, share, 0.0, 1.0), score)


def test_shares_are_one_on_average_and_all_zero_for_items_that_nothing_followed(with_prior):
    model, train, _ = with_prior
    prior = model.transition_prior
    history = torch.tensor([[1, 2, 3], [4, 0, 0]])
    shares = prior.shares(history)
    torch.testing.assert_close(shares[:, 1:].mean(1), torch.ones(2).double())
    number = {token: n for n, token in enumerate(train.field2id_token["item_id"])}
    assert shares[1].argmax() == number[f"i{int(train.field2id_token['item_id'][4][1:]) + 1}"]
    prior.rules.put(prior.rules.matrix() * 0)
    assert not prior.shares(history).any()


def test_ranks_are_those_of_sorted_mixed_scores_and_a_weight_of_0_changes_none(with_prior):
    model, _, test = with_prior
    plain = case_ranks(model, test, same, 16, True)
    batch = test.collate_fn(np.arange(len(test._dataset)))[0]
    with torch.no_grad():
        before = model.full_sort_predict(batch)
        model.transition_prior.mix.copy_(torch.tensor([1.5, 0.5]))
        bonus = 1.5 * torch.log1p(model.transition_prior.shares(batch["item_id_list"]).double() / 0.5)
        scores = model.full_sort_predict(batch)
        torch.testing.assert_close(scores, before + bonus)
        torch.testing.assert_close(model.predict(batch), scores.gather(1, batch["item_id"][:, None])[:, 0])
    ranks, filtered = case_ranks(model, test, same, 16, True)
    assert (ranks != plain[0]).any()
    for row, (target, history) in enumerate(zip(batch["item_id"].tolist(), batch["item_id_list"], strict=True)):
        order = sorted(range(1, model.n_items), key=lambda item: (-scores[row, item].item(), item))
        assert ranks[row] == 1 + order.index(target)
        new = [item for item in order if item == target or item not in history.tolist()]
        assert filtered[row] == 1 + new.index(target)
    model.transition_prior.mix[0] = 0
    np.testing.assert_array_equal(case_ranks(model, test, same, 16, True)[0], plain[0])


def test_the_best_pair_of_the_grid_is_chosen_and_the_prior_left_as_it_was(with_prior):
    model, _, test = with_prior

    def score(ranks, filtered):
        assert filtered is None
        return float(np.mean(1 / ranks))

    grid = [2.0, 0.0, 0.5], [10.0, 0.1]
    best, scores = choose_mix(model, test, same, 16, grid, score, False)
    assert list(scores) == [(0.0, 0.1), (0.5, 0.1), (0.5, 10.0), (2.0, 0.1), (2.0, 10.0)]
    assert scores[best] == max(scores.values()) > 0.9 > 0.5 > scores[0.0, 0.1]  # the next number follows, always
    assert model.transition_prior.mix.tolist() == [0.0, 1.0]
    for pair, value in scores.items():
        model.transition_prior.mix.copy_(torch.tensor(pair))
        assert value == pytest.approx(score(case_ranks(model, test, same, 16, False)[0], None))


def test_of_equal_scores_the_smallest_weight_is_chosen(with_prior):
    model, _, test = with_prior
    best, _ = choose_mix(model, test, same, 64, ([1.0, 0.0], [1.0]), lambda *_: 0.5, True)
    assert best == (0.0, 1.0)


def test_a_recommendation_is_explained_by_items_of_the_history(with_prior):
    model, train, _ = with_prior
    number = {token: n for n, token in enumerate(train.field2id_token["item_id"])}
    history = torch.tensor([number["i20"], number["i3"], number["i4"]])
    assert model.transition_prior.because(history, number["i5"])[:2] == [number["i4"], number["i3"]]


def test_a_run_records_its_choice_and_its_checkpoint_gives_the_same_ranks(here):
    done = run(here, model="SASRec", transition_prior=[0.0, 1.0], transition_floor=[1.0])
    choice = done["transition_prior"]
    assert [tried["weight"] for tried in choice["tried"]] == [0.0, 1.0]
    assert choice["score"] == max(tried["score"] for tried in choice["tried"])
    assert choice["tried"][0]["score"] == pytest.approx(done["valid"]["mrr@10"])
    folder = Path(done["run_folder"])
    assert evaluate(folder)["test"] == done["test"]
    state = torch.load(folder / "best.pth", weights_only=True)["state_dict"]
    assert state["transition_prior.rules.value"].numel() > 0


def test_a_prior_in_use_leaves_training_as_it_is(tiny_model):
    losses = []
    for changes in ({}, {"transition_prior": [1.0]}):
        model, train, _ = tiny_model("SASRec", random_histories(), **changes)
        losses.append(model.calculate_loss(train[np.arange(len(train))]).item())
    assert losses[0] == losses[1]


@pytest.mark.parametrize("name", ["Pop", "NARM"])
def test_models_without_user_vectors_take_no_prior(name):
    with pytest.raises(InputError, match=f"transition_prior is .1.0., but {name} has no user vectors - remove it"):
        build_config("ml-100k", name, {"transition_prior": [1.0]})
