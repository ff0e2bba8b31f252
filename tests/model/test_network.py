"""SEAR's network by itself, cosine scores and whitened texts."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from recbole.data.dataloader import FullSortEvalDataLoader

from sear.errors import InputError
from sear.evaluation.ranks import case_ranks, ranks_from_scores
from sear.files import PROJECT_ROOT
from sear.model.network import SEARNetwork
from sear.model.rating_encoding import LinearRating
from sear.model.sear import SEAR
from tests.model.test_sear import Catalogue, batch, settings

TEXTS = np.random.default_rng(0).standard_normal((80, 60)).astype(np.float32) * np.linspace(0.1, 2, 60)
TEXTS = TEXTS.astype(np.float32)
ITEMS, LENGTHS = torch.tensor([[1, 5, 7], [9, 2, 0]]), torch.tensor([3, 2])
STARS = torch.tensor([[4.0, 1.0, 5.0], [2.0, 3.0, 0.0]])


def test_the_network_needs_no_recbole():
    code = "import sys; from sear.model.network import SEARNetwork; sys.exit('recbole' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT).returncode == 0


@pytest.mark.parametrize("item_table", ["free", "tied"])
def test_the_network_alone_scores_as_the_model_in_recbole_does(item_table):
    config = settings(item_table=item_table, repeat_bias=True, cosine_scale=8.0, text_whitening=20)
    model = SEAR(config, Catalogue(TEXTS)).eval()
    model.repeat_bias.data.fill_(-3.0)
    network = SEARNetwork().build(config, 80, TEXTS, lambda: LinearRating(16)).eval()
    network.load_state_dict(model.state_dict())
    rows = batch(ITEMS, STARS, LENGTHS)
    rows["history_items"], rows["earlier_events"] = ITEMS, torch.zeros(2, dtype=torch.int64)
    with torch.no_grad():
        user_BD = network.scored_users(network(ITEMS, STARS, torch.tensor([2, 4])))
        assert torch.equal(network.all_scores(user_BD, ITEMS), model.full_sort_predict(rows))


def test_cosine_scores_have_a_learned_factor():
    model = SEAR(settings(cosine_scale=8.0), Catalogue(TEXTS)).eval()
    rows = batch(ITEMS, STARS, LENGTHS)
    with torch.no_grad():
        assert model.full_sort_predict(rows).abs().max() <= 8.0001
        torch.testing.assert_close(model.item_table().norm(dim=1)[1:], torch.ones(79))
        torch.testing.assert_close(model.user_vectors(rows).norm(dim=1), torch.full((2,), 8.0))
    rows = batch(ITEMS, STARS, LENGTHS, torch.tensor([[3, 4, 0, 0], [6, 0, 0, 0]]))
    model.calculate_loss(rows).backward()
    assert model.log_scale.grad.abs() > 1e-4


def test_cosine_loss_is_the_cross_entropy_of_the_scores(tiny_model):
    model, train, _ = tiny_model("SASRec", train_rows="prefixes", cosine_scale=5.0)
    rows = train[np.arange(len(train))]
    expected = torch.nn.functional.cross_entropy(model.full_sort_predict(rows), rows["item_id"])
    torch.testing.assert_close(model.calculate_loss(rows), expected, rtol=1e-10, atol=0)


def test_whitened_texts_have_components_of_equal_variance():
    model = SEAR(settings(text_whitening=20), Catalogue(TEXTS))
    assert model.adapter.weight.shape == (16, 20)
    white_VW = (torch.from_numpy(TEXTS) - model.text_mean_E) @ model.text_whitening_WE.T
    torch.testing.assert_close(white_VW[1:].T @ white_VW[1:] / 78, torch.eye(20) / 20, rtol=0, atol=1e-3)
    expected = torch.nn.functional.linear(white_VW, model.adapter.weight, model.adapter.bias)
    torch.testing.assert_close(model.projected_texts(), expected, rtol=1e-4, atol=1e-5)
    assert {"text_whitening_WE", "text_mean_E"} <= model.state_dict().keys()


def test_more_components_than_there_are_is_told():
    with pytest.raises(InputError, match="text_whitening is 61, but 79 items with 60-wide texts .* 60 components"):
        SEAR(settings(text_whitening=61, text_init=False), Catalogue(TEXTS))


def test_ranks_follow_the_scores_that_a_subclass_overrides(tiny_model, tiny_text):
    class Backwards(SEAR):
        def all_scores(self, user_BD, history_BH):
            return -super().all_scores(user_BD, history_BH)

    model, _, test = tiny_model("SEAR")
    assert model.scored_by_vectors
    index = np.arange(len(test))
    model.__class__ = Backwards
    loader = FullSortEvalDataLoader(test.config, test, None)
    ranks, _ = case_ranks(model, loader, lambda batch: batch, 8, False)
    with torch.no_grad():
        scores = model.full_sort_predict(test[index])
    np.testing.assert_array_equal(ranks, ranks_from_scores(scores, test.targets(index))[0])


def test_bert4rec_has_no_cosine(tiny_model, tiny_text):
    model, _, _ = tiny_model("BERT4Rec", cosine_scale=5.0)
    assert model.log_scale is None
