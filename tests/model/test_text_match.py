"""Texts like those of the history: what is added to scores, worked out with loops, and how validation chooses it."""

import json

import pandas as pd
import pytest
import torch

import sear
from sear.errors import InputError
from sear.model.sear import SEAR
from sear.model.text_match import TextMatch
from sear.quick_start import evaluate
from sear.settings.recbole_config import build_config
from tests.conftest import random_histories
from tests.helpers.killed_run import run
from tests.helpers.used_model import toy_run
from tests.model.test_network import ITEMS, LENGTHS, STARS, TEXTS
from tests.model.test_sear import Catalogue, batch, settings


def mean_cosines(items, half_life, texts=TEXTS):
    """(V,), by the definition: of the centred texts' first five components, by another decomposition."""
    text_VE = torch.as_tensor(texts).double()
    centred_VE = text_VE - text_VE[1:].mean(0)
    axis_ER = torch.linalg.svd(centred_VE[1:])[2][:5].T
    part_VR = centred_VE @ axis_ER
    part_VR = part_VR / part_VR.norm(dim=1, keepdim=True)
    part_VR[0] = 0
    counts = [0.5 ** ((len(items) - 1 - at) / half_life) for at in range(len(items))]
    mean_R = sum(count * part_VR[item] for count, item in zip(counts, items, strict=True)) / sum(counts)
    return part_VR @ mean_R


@pytest.mark.parametrize("item_table", ["free", "tied"])
def test_scores_get_a_part_of_the_mean_cosine_with_the_historys_texts(item_table):
    torch.manual_seed(0)
    model = SEAR(settings(item_table=item_table), Catalogue(TEXTS)).eval()
    rows = batch(ITEMS, STARS, LENGTHS)
    with torch.no_grad():
        without_BV = model.full_sort_predict(rows)
        model.text_match = TextMatch.of_texts(model.item_text_VE, 5, half_life=2.0)
        assert torch.equal(model.full_sort_predict(rows), without_BV)  # its weight is 0 at first
        model.text_match.weight.fill_(3.0)
        added_BV = model.full_sort_predict(rows) - without_BV
    expected_BV = torch.stack([mean_cosines([1, 5, 7], 2.0), mean_cosines([9, 2], 2.0)]).float()
    torch.testing.assert_close(added_BV, 3 * expected_BV, rtol=0, atol=1e-5)
    assert not [name for name in model.state_dict() if "text_match" in name]


def test_every_event_of_a_row_has_the_mean_of_its_own_history():
    match = TextMatch.of_texts(torch.from_numpy(TEXTS), 5, half_life=3.0)
    match.weight.fill_(1.0)
    row_BL = torch.tensor([[1, 5, 7, 9], [4, 2, 0, 0]])
    sums = match.no_sums(2)
    for at, real in ((0, [0, 1]), (1, [0, 1]), (2, [0]), (3, [0])):
        sums = match.after(sums, row_BL[:, at])
        found = match.users(row_BL, torch.tensor(real) * 4 + at)
        torch.testing.assert_close(found, match.users_of_sums(sums)[real])
        torch.testing.assert_close(match.sums(row_BL[:1, : at + 1]), sums[:1])


def test_fewer_items_than_components_have_as_many_as_there_are():
    match = TextMatch.of_texts(torch.from_numpy(TEXTS[:9]), 128, half_life=3.0)
    assert match.item_VR.shape == (9, 8)
    torch.testing.assert_close(match.item_VR[1:].norm(dim=1), torch.ones(8))


def test_validation_chooses_the_weight_and_every_way_to_use_the_run_has_it(here):
    run = toy_run(here, text_match=[0, 1.0, 30.0], item_table="tied", transition_prior=[0, 0.5], repeat_bias=True)
    record = json.loads((run / "metrics.json").read_text())
    chosen = record["text_match"]
    scores = {entry["weight"]: entry["score"] for entry in chosen["tried"]}
    assert set(scores) == {0, 1.0, 30.0} and chosen["score"] == max(scores.values()) == scores[chosen["weight"]]
    assert scores[0] == record["transition_prior"]["score"]  # the texts come on top of the transitions
    assert evaluate(run)["test"] == record["test"]
    with_each = {}
    for weight in (0, 30.0):
        other = toy_run(here, text_match=[weight], item_table="tied", transition_prior=[0, 0.5], repeat_bias=True)
        told = json.loads((other / "metrics.json").read_text())
        assert told["valid"] == record["valid"] and told["text_match"]["weight"] == weight  # nothing of it is trained
        with_each[weight] = pd.read_csv(other / "cases.csv.gz")["rank"]
        recommender = sear.load(other)
        assert (recommender._scorer.network.text_match is None) == (weight == 0)
    assert (with_each[0] != with_each[30.0]).mean() > 0.3


@pytest.mark.parametrize("name", ["SASRec", "GRU4Rec", "BSARec"])
def test_a_baseline_matches_texts_beside_its_vectors(name, tiny_model, tiny_text):
    model, _, test = tiny_model(name, random_histories(), text_match=[2.0], repeat_bias=name != "BSARec")
    model.eval()
    rows = test[:5]
    with torch.no_grad():
        assert model.scored_by_vectors and not model.matches_apart  # in training, and where validation wants none
        before_BV, before_B = model.full_sort_predict(rows), model.predict(rows)
        model.text_match = TextMatch.of_texts(model.item_text_VE, 5, half_life=2.0).double()
        model.text_match.weight.fill_(2.0)
        histories = zip(rows[model.ITEM_SEQ].tolist(), rows[model.ITEM_SEQ_LEN].tolist(), strict=True)
        cosine_BV = torch.stack([mean_cosines(items[:length], 2.0, model.item_text_VE) for items, length in histories])
        torch.testing.assert_close(model.full_sort_predict(rows), before_BV + 2 * cosine_BV, rtol=0, atol=1e-5)
        own_B = cosine_BV.gather(1, rows[model.ITEM_ID][:, None])[:, 0]
        torch.testing.assert_close(model.predict(rows), before_B + 2 * own_B, rtol=0, atol=1e-5)
    assert not model.scored_by_vectors and "item_text_VE" not in model.state_dict()


def test_a_baselines_run_has_the_weight_that_validated_best(here):
    run = toy_run(here, model="GRU4Rec", text_match=[0, 1.0, 30.0], transition_prior=[0, 0.5], repeat_bias=True)
    record = json.loads((run / "metrics.json").read_text())
    scores = {entry["weight"]: entry["score"] for entry in record["text_match"]["tried"]}
    assert scores[record["text_match"]["weight"]] == max(scores.values()) and len(set(scores.values())) > 1
    assert scores[0] == record["transition_prior"]["score"] and record["text_encoder"]
    assert evaluate(run)["test"] == record["test"]


@pytest.mark.long
def test_a_run_on_all_events_has_the_weight_that_was_validated(here):
    done = run(here, train_on="all", text_match=[30.0], epochs=1)
    assert sear.load(done["run_folder"])._scorer.network.text_match.weight == 30.0


def test_similar_items_are_those_of_the_learned_vectors_alone(here):
    told = [sear.load(toy_run(here, text_match=[w])).similar_items(["i3", "i5"], k=4) for w in (0, 30.0)]
    pd.testing.assert_frame_equal(*told)


def test_a_warm_start_takes_over_what_is_learned_and_matches_its_own_texts(here):
    old = toy_run(here, text_match=[30.0])
    new = toy_run(here, text_match=[2.0], learning_rate=1e-12, warm_start=str(old))
    before, after = (sear.load(each)._scorer.network for each in (old, new))
    torch.testing.assert_close(after.collaborative_emb.weight, before.collaborative_emb.weight)
    assert (before.text_match.weight, after.text_match.weight) == (30.0, 2.0)
    torch.testing.assert_close(after.text_match.item_VR, before.text_match.item_VR)


@pytest.mark.parametrize(
    "name, changes, told",
    [
        ("EASE", {}, "but EASE has no user vectors - remove it"),
        ("NARM", {}, "but NARM has no user vectors - remove it"),
        ("GRU4Rec", {"load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id"]}},
         "whose item names no text field for the sentences - add one, or do without text: text_match: ~"),
    ],
)  # fmt: skip
def test_a_baseline_that_cannot_match_texts_says_why(name, changes, told):
    with pytest.raises(InputError, match=told):
        build_config("ml-100k", name, {"text_match": [2], **changes})


def test_texts_are_matched_beside_the_semantic_stream_and_plain_products_alone():
    config = build_config("ml-100k", "SEAR", {"text_match": [0, 2], "ablate": "semantic"})
    assert (config["text_match"], config["streams"]) == (None, ["collaborative", "rating"])
    with pytest.raises(InputError, match=r"text_match is \[2\], but streams is without semantic - write text_match: ~"):
        build_config("ml-100k", "SEAR", {"text_match": [2], "streams": ["collaborative"]})
    with pytest.raises(InputError, match=r"text_match is \[2\], but scores are cosines"):
        build_config("ml-100k", "SEAR", {"text_match": [2], "cosine_scale": 8.0})
