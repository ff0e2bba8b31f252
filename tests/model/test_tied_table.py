"""SEAR without an output table of its own: what it scores with, its gradients, and what ratings do to it."""

import numpy as np
import pytest
import torch

from sear.errors import InputError
from sear.evaluation.ranks import case_ranks
from sear.model.loss import loss_targets, soft_label_loss_reference
from sear.model.sear import SEAR
from sear.settings.recbole_config import build_config
from tests.model.test_sear import Catalogue, settings

TEXTS = np.random.default_rng(0).standard_normal((80, 60)).astype(np.float32)
BOTH = ["semantic", "collaborative"]


def test_every_gradient_equals_that_of_the_plain_definition(tiny_model, tiny_text):
    def gradients(loss_of):
        model, train, _ = tiny_model("SEAR", streams=BOTH, item_table="tied")
        loss = loss_of(model, train[np.arange(len(train))])
        loss.backward()
        return loss, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    def plain(model, batch):
        position_P, target_PK = loss_targets(batch["target_id_list"])
        text_BLd = model.adapter(model.item_text_VE[batch["item_id_list"]])
        streams = text_BLd, model.collaborative_emb(batch["item_id_list"])
        normed = [norm(x_BLd) for norm, x_BLd in zip(model.item_emb_LayerNorms, streams, strict=True)]
        user_PD = torch.cat(model.encode(normed, position_P), dim=1)
        item_VD = torch.cat([model.adapter(model.item_text_VE), model.collaborative_emb.weight], dim=1)
        return soft_label_loss_reference(user_PD, item_VD, target_PK, 2.0)

    ours, theirs = gradients(lambda model, batch: model.calculate_loss(batch)), gradients(plain)
    assert {"adapter.weight", "collaborative_emb.weight"} <= ours[1].keys()
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def test_a_step_projects_the_texts_once(tiny_model, tiny_text):
    model, train, _ = tiny_model("SEAR", streams=BOTH, item_table="tied")
    projected = []
    model.adapter.register_forward_hook(lambda *_: projected.append(1))
    model.calculate_loss(train[np.arange(4)])
    assert len(projected) == 1


def test_an_evaluation_makes_the_table_once(tiny_model, tiny_text, monkeypatch):
    model, _, test = tiny_model("SEAR", streams=BOTH, item_table="tied")
    made, make = [], SEAR.item_table
    monkeypatch.setattr(SEAR, "item_table", lambda *arguments: made.append(1) or make(*arguments))

    class Loader:
        _dataset, collate_fn = test, staticmethod(lambda index: (test[index], None, None, None))

    case_ranks(model, Loader, lambda batch: batch, 8, False)
    assert len(test) > 16 and len(made) == 1


@pytest.mark.parametrize("streams, width", [(BOTH, 32), (["semantic"], 16), (["collaborative"], 16)])
def test_the_table_is_made_of_the_items_input_vectors(streams, width):
    free, tied = (SEAR(settings(streams=streams, item_table=kind), Catalogue(TEXTS)) for kind in ("free", "tied"))
    parts = {
        "semantic": lambda: tied.adapter(tied.item_text_VE),
        "collaborative": lambda: tied.collaborative_emb.weight,
    }
    assert torch.equal(tied.item_table(), torch.cat([parts[name]() for name in streams], dim=1))
    saved = [sum(p.numel() for p in model.parameters()) for model in (free, tied)]
    assert saved[0] - saved[1] == 80 * width and "item_decoder.weight" not in tied.state_dict()


def test_the_input_table_starts_where_it_did():
    free, tied = (SEAR(settings(item_table=kind), Catalogue(TEXTS)) for kind in ("free", "tied"))
    torch.testing.assert_close(tied.collaborative_emb.weight, free.collaborative_emb.weight, rtol=0, atol=1e-6)


def test_ratings_reach_the_scores_through_a_map_that_starts_as_the_items_own_parts():
    model = SEAR(settings(item_table="tied", aggregation=False), Catalogue(TEXTS)).eval()
    items, positions = torch.randint(1, 80, (3, 5)), torch.arange(15)
    ratings = torch.full((3, 5), 2.0)
    with torch.no_grad():
        user = model(items, ratings, positions)
        encoded = model.encode(model.streams(items, ratings), positions)
        assert user.shape == (15, 32)
        torch.testing.assert_close(user, torch.cat(encoded[:2], dim=1))
        model.user_map.weight[:, 32:] = 0.1
        assert not torch.equal(model(items, ratings, positions), model(items, 5 - ratings, positions))


def test_a_small_catalogue_may_be_tied_where_a_free_table_has_no_start():
    few = np.random.default_rng(0).standard_normal((21, 60)).astype(np.float32)
    with pytest.raises(InputError, match="3 streams need 48 PCA components, but 20 items"):
        SEAR(settings(), Catalogue(few))
    assert SEAR(settings(item_table="tied"), Catalogue(few)).item_table().shape == (21, 32)


def test_ratings_alone_cannot_be_tied():
    with pytest.raises(InputError, match="item_table is 'tied', but no stream has a vector per item - add semantic or"):
        build_config("ml-100k", "SEAR", {"item_table": "tied", "streams": ["rating"], "text_init": False})
    with pytest.raises(InputError, match="item_table is tied, but the rating stream has no items"):
        SEAR(settings(item_table="tied", streams=["rating"], text_init=False), Catalogue(TEXTS))


def test_a_subclass_with_a_forward_of_its_own_can_be_tied(tiny_model, tiny_text):
    model, train, _ = tiny_model("SEAR", streams=BOTH, item_table="tied")

    class Doubled(SEAR):
        def forward(self, item_BL, rating_BL, wanted_P):
            return 2 * super().forward(item_BL, rating_BL, wanted_P)

    rows = train[np.arange(8)]
    before = model.user_vectors(rows)
    model.__class__ = Doubled
    torch.testing.assert_close(model.user_vectors(rows), 2 * before)
    assert model.calculate_loss(rows).isfinite() and model._text_Vd is None
