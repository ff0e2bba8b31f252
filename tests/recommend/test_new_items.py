"""Items that were never sold: where they land, that everything works with them, and what is refused."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch

import sear
from sear.cli.commands import main
from sear.model.text_map import TextMap
from tests.helpers.tiny_encoder import make_tiny_encoder
from tests.helpers.used_model import EVERYTHING, toy_run

TABLE = pd.DataFrame({"item_id": ["n1", "n2"], "title": ["Fennel", None], "kind": ["spice 2", "spice 9"]})
VECTORS = np.random.default_rng(9).standard_normal((2, 24)).astype(np.float32)


def test_the_map_finds_a_linear_relation_again():
    random = np.random.default_rng(0)
    text, weight = random.standard_normal((400, 20)) * 0.05, random.standard_normal((20, 6))
    learned = text @ weight + 3 + 1e-4 * random.standard_normal((400, 6))
    new = random.standard_normal((5, 20)) * 0.05
    np.testing.assert_allclose(TextMap(text, learned)(new), new @ weight + 3, atol=0.05)


def test_of_noise_the_map_makes_the_mean():
    random = np.random.default_rng(0)
    text, learned = random.standard_normal((400, 20)), random.standard_normal((400, 6))
    found = TextMap(text, learned)(random.standard_normal((5, 20)))
    assert np.abs(found - learned.mean(0)).max() < 0.2  # the noise itself is five times as large


@pytest.fixture
def recommender(toy_model):
    recommender = sear.load(toy_model)
    recommender.add_items(TABLE, VECTORS)
    return recommender


def test_a_new_item_is_an_item(toy_model, recommender):
    before, items = sear.load(toy_model), len(sear.load(toy_model).item_ids)
    assert recommender.item_ids[items:] == ["n1", "n2"] and recommender.titles[items:] == ["Fennel", None]
    assert recommender.popularity[items:].tolist() == [0, 0]
    whole = recommender.recommend(["u1"], k=items + 2, filter_seen=False, with_titles=True)
    assert {"n1", "n2"} <= set(whole.item_id)
    known = whole[~whole.item_id.isin(["n1", "n2"])].item_id.tolist()
    assert known == before.recommend(["u1"], k=items, filter_seen=False).item_id.tolist()
    alone = recommender.recommend(["u1"], k=5, items=["n2", "n1"])
    assert alone.item_id.tolist() == [item for item in whole.item_id if item in ("n1", "n2")]
    assert not len(recommender.recommend(history=["n1", "n2"], k=5, items=["n2", "n1"]))  # both are seen
    assert recommender.similar_items(["n1"], 3).item_id.tolist() == ["n1"] * 3
    assert recommender.explain(["n1", "i3"], "n2", k=2)[0][0] in ("n1", "i3")


def test_its_rows_are_the_ridge_of_the_others(recommender):
    network, text_VE = recommender._scorer.network, recommender._model.text_VE
    for table in (network.item_decoder.weight, network.collaborative_emb.weight):
        learned = table.numpy()
        expected = TextMap(text_VE[1:-2], learned[1:-2], recommender.popularity[:-2])(VECTORS)
        np.testing.assert_allclose(learned[-2:], expected, atol=1e-6)
        assert np.abs(expected).max() > 1e-3
    torch.testing.assert_close(network._text_Vd[-2:], network.adapter(torch.from_numpy(VECTORS)))


def test_an_item_told_of_like_another_is_most_like_it(toy_model):
    recommender = sear.load(toy_model)
    again = recommender._model.text_VE[[6]]
    recommender.add_items(TABLE[:1], again)
    assert recommender.similar_items(["n1"], 1, by="texts").similar_item_id[0] == recommender.item_ids[5]


@pytest.mark.parametrize("name", ["tied", "prior", "cosine"])
def test_it_may_stand_in_a_history_and_a_session(here, name):
    changes = EVERYTHING[name] | ({"text_init": True} if name == "prior" else {})
    recommender = sear.load(toy_run(here, **changes))
    recommender.add_items(TABLE, VECTORS)
    history = ["i3", "n1", ("i5", 4.0), "n2", "i8"]
    table = recommender.recommend(history=history, k=5)
    assert np.isfinite(table.score).all() and table.attrs["unknown_items"] == 0
    session = recommender.session(history[:3])
    for item in history[3:]:
        session.add(item)
    assert session.recommend(k=5).item_id.tolist() == table.item_id.tolist()
    if name == "tied":
        network = recommender._scorer.network
        width = network.hidden_size
        expected = network._adapted(torch.from_numpy(VECTORS))
        torch.testing.assert_close(network.item_vectors()[-2:, :width], expected)
        matched = network.text_match.of_items(torch.from_numpy(VECTORS))
        torch.testing.assert_close(network.item_vectors()[-2:, -matched.shape[1] :], matched)


def test_more_items_later(recommender):
    recommender.add_items(pd.DataFrame({"item_id": ["n3"], "title": ["Mint"]}), VECTORS[:1])
    assert recommender.item_ids[-3:] == ["n1", "n2", "n3"]
    scores = recommender.recommend(["u1"], k=3, items=["n1", "n3"]).score
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)  # told of alike


@pytest.mark.parametrize(
    ("table", "vectors", "message"),
    [
        (TABLE.rename(columns={"item_id": "sku"}), VECTORS, "no column item_id"),
        (TABLE[["item_id"]], VECTORS, "none of the text columns title, kind"),
        (TABLE.assign(item_id=["i3", "n2"]), VECTORS, "'i3' is an item that the model knows already"),
        (TABLE.assign(item_id="n1"), VECTORS, "'n1' comes twice"),
        (TABLE.assign(item_id=["n1", None]), VECTORS, "row 2: item_id is empty"),
        (TABLE, VECTORS[:, :5], "\\(2, 5\\), not \\(2, 24\\)"),
        (TABLE, VECTORS * np.nan, "not finite"),
    ],
)
def test_mistakes_change_nothing(toy_model, table, vectors, message):
    recommender = sear.load(toy_model)
    before = recommender.item_ids
    with pytest.raises(sear.InputError, match=message):
        recommender.add_items(table, vectors)
    assert recommender.item_ids == before and len(recommender._scorer.table_VD) == len(before) + 1


def test_without_texts_or_encoder(here, toy_model, monkeypatch):
    bare = sear.load(toy_run(here, streams=["collaborative", "rating"], text_init=False))
    with pytest.raises(sear.InputError, match="the model was trained without texts"):
        bare.add_items(TABLE, VECTORS)
    monkeypatch.setattr("sear.data.text_encoder.PROJECT_ROOT", here)
    with pytest.raises(sear.InputError, match="has no encoder, which new texts need"):
        sear.load(toy_model).add_items(TABLE)


@pytest.mark.long
def test_texts_are_encoded_as_training_encoded_them(here, monkeypatch, capsys):
    monkeypatch.undo()  # the vectors without an encoder
    folder = make_tiny_encoder(here / "encoders" / "mine")
    monkeypatch.setattr("sear.settings.gather.CONFIG_ROOT", here / "config")
    monkeypatch.setattr("sear.data.text_encoder.PROJECT_ROOT", here)
    run = toy_run(here, item_sem_embedding_model_path="encoders/mine", hidden_size=4)
    with pytest.raises(sear.InputError, match="has no encoder.*say where it is"):  # the model knows no path
        sear.load(run).add_items(TABLE)
    recommender = sear.load(run, encoder=folder)
    texts = pd.read_csv(here / "tiny" / "tiny.item", sep="\t", names=["item_id", "title", "kind"], skiprows=1)
    number = recommender.item_ids.index("i3") + 1
    recommender.add_items(texts[texts.item_id == "i3"].assign(item_id="new"))
    np.testing.assert_allclose(recommender._model.text_VE[-1], recommender._model.text_VE[number], atol=1e-5)
    texts[texts.item_id == "i4"].assign(item_id="newer").to_csv(here / "new.csv", index=False)
    words = [str(run), f"--new_items={here / 'new.csv'}", f"--encoder={folder}", "--by=texts"]
    assert main(["similar", *words, "--items=newer", "--k=1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("newer,i4,")
    assert main(["recommend", *words[:3], "--items=newer", "--users=u1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("u1,newer,")
    shutil.rmtree(folder)
    make_tiny_encoder(folder, seed=4)
    with pytest.raises(sear.InputError, match="is not the encoder that the model was trained with"):
        sear.load(run, encoder=folder).add_items(TABLE)
