"""A finished run in use: the ranks of its own test, users new and old, and what may be recommended."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

import sear
from sear.files import PROJECT_ROOT
from tests.helpers import used_model
from tests.helpers.used_model import EVERYTHING, toy_run


def ranks_of(recommender, cases, history):
    """Each case's rank with seen items kept and filtered, worked out from whole lists of recommendations."""
    everything = {"history": history, "k": len(recommender.item_ids)}
    kept = recommender.recommend(**everything, filter_seen=False)
    unseen = recommender.recommend(**everything)
    seen = history.groupby("user_id").item_id.agg(set)
    ranks = {}
    for user, target in zip(cases.user, cases.target, strict=True):
        order = kept[kept.user_id == user].item_id.tolist()
        rank = order.index(target) + 1
        others = [item for item in order[: rank - 1] if item not in seen[user]]
        ranks[user] = rank, len(others) + 1
        if target not in seen[user]:
            assert unseen[unseen.user_id == user].item_id.tolist().index(target) == len(others)
    return np.array([ranks[user] for user in cases.user])


@pytest.mark.parametrize("name", EVERYTHING)
def test_scores_and_ranks_of_a_runs_own_test_come_out_again(here, monkeypatch, name):
    from sear.runs.training_run import TrainingRun

    kept, report = [], TrainingRun._report
    monkeypatch.setattr(TrainingRun, "_report", lambda *told: kept.append(told[1]) or report(*told))
    run = toy_run(here, **EVERYTHING[name])
    recommender = sear.load(run)
    cases, history = used_model.test_cases(recommender, run)
    for batch, *_ in kept[0].loaders[2]:
        users = kept[0].dataset.events.user_tokens[batch["user_id"].numpy()]
        known, _ = recommender._histories(users.tolist(), history)
        scores = recommender._scorer.scores(recommender._scorer.user_vectors(known), known)
        with torch.no_grad():
            expected = kept[0].trainer.model.full_sort_predict(batch)
        torch.testing.assert_close(scores[:, 1:], expected[:, 1:], rtol=0, atol=1e-5)
    ranks = ranks_of(recommender, cases, history)
    assert np.array_equal(ranks[:, 0], cases["rank"])
    assert np.array_equal(ranks[:, 1], cases["rank_history_masked"])
    assert len(set(ranks[:, 0])) > 5


@pytest.fixture(scope="module")
def plain(toy_model):
    """A Recommender of a toy run, and the run's folder."""
    return sear.load(toy_model), toy_model


def test_no_recbole_is_imported(plain):
    code = (
        "import sys, sear; recommender = sear.load(sys.argv[1]); recommender.recommend(k=3);"
        "recommender.similar_items(recommender.item_ids[:1], k=2);"
        "sys.exit(bool({'recbole', 'sentence_transformers', 'scipy.stats', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(plain[1])], cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_everybody_gets_k_items_they_have_not_met_best_first(plain):
    recommender, _ = plain
    table = recommender.recommend(k=4, with_titles=True)
    assert list(table.columns) == ["user_id", "item_id", "score", "rank", "source", "title"]
    assert (table.groupby("user_id")["rank"].agg(list).map(lambda ranks: ranks == [1, 2, 3, 4])).all()
    assert table.user_id.nunique() == len(recommender.user_ids) == 40
    assert set(table.source) == {"model"} and table.title.str.contains(" no. ").all()
    assert (table.groupby("user_id").score.diff().dropna() <= 0).all()
    users = recommender._users
    for row, user in enumerate(users.user_ids):
        seen = {recommender.item_ids[item - 1] for item in users.item[users.offsets[row] : users.offsets[row + 1]]}
        assert not seen & set(table[table.user_id == user].item_id)


def test_a_history_as_list_and_as_table_is_the_known_one_again(plain):
    recommender, _ = plain
    users = recommender._users
    events = slice(users.offsets[7], users.offsets[8])
    ids = [recommender.item_ids[item - 1] for item in users.item[events]]
    stars = users.rating[events].tolist()
    known = recommender.recommend([users.user_ids[7]], k=5)
    listed = recommender.recommend(history=list(zip(ids, stars, strict=True)), k=5)
    rows = pd.DataFrame({"user_id": "new", "item_id": ids, "rating": stars, "timestamp": range(len(ids))})
    tabled = recommender.recommend(history=rows.sample(frac=1, random_state=0), k=5)
    for other in (listed, tabled):
        assert other.item_id.tolist() == known.item_id.tolist()
        np.testing.assert_allclose(other.score, known.score, rtol=1e-5)
    assert set(tabled.user_id) == {"new"} and listed.user_id.isna().all()
    assert recommender.recommend(history=ids, k=5).item_id.tolist() != known.item_id.tolist()  # without stars


def test_a_history_takes_the_place_of_the_known_one(plain):
    recommender, _ = plain
    first, second = recommender.user_ids[:2]
    given = pd.DataFrame({"user_id": [first], "item_id": recommender.item_ids[4]})
    both = recommender.recommend([second, first], history=given, k=3)
    assert both.user_id.tolist() == [second] * 3 + [first] * 3
    alone = recommender.recommend(history=[recommender.item_ids[4]], k=3)
    assert both.item_id[3:].tolist() == alone.item_id.tolist()
    assert both.item_id[:3].tolist() == recommender.recommend([second], k=3).item_id.tolist()


def test_a_user_without_a_known_event_gets_what_is_popular(plain):
    recommender, _ = plain
    most = np.argsort(-recommender.popularity, kind="stable")[:3]
    popular = [recommender.item_ids[item] for item in most]
    rows = pd.DataFrame({"user_id": ["a", "b", "a"], "item_id": ["gone", recommender.item_ids[0], "old"]})
    table = recommender.recommend(history=rows, k=3)
    assert table.source.tolist() == ["popularity"] * 3 + ["model"] * 3
    assert table.item_id[:3].tolist() == popular and table.score[:3].tolist() == recommender.popularity[most].tolist()
    assert table.attrs["unknown_items"] == 2
    nobody = recommender.recommend(history=[], k=2, exclude=popular[:1], items=popular)
    assert nobody.item_id.tolist() == popular[1:]
    new = recommender.recommend(["u1", "new", "u0"], k=1)
    assert new.user_id.tolist() == ["u1", "new", "u0"] and new.source.tolist() == ["model", "popularity", "model"]
    assert recommender.recommend(["new"], k=3).item_id.tolist() == popular


def test_allowed_and_excluded_items(plain):
    recommender, _ = plain
    user = recommender.user_ids[:3]
    whole = recommender.recommend(user, k=len(recommender.item_ids), filter_seen=False)
    allowed = [recommender.item_ids[number] for number in (20, 3, 11, 8)]
    some = recommender.recommend(user, k=10, filter_seen=False, items=allowed, exclude=allowed[:1])
    for name in user:
        order = [item for item in whole[whole.user_id == name].item_id if item in allowed[1:]]
        assert some[some.user_id == name].item_id.tolist() == order
    unseen = recommender.recommend(user, k=len(recommender.item_ids), exclude=allowed)
    assert not set(allowed) & set(unseen.item_id)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            {"history": pd.DataFrame({"user_id": ["a"], "item_id": ["i3"], "timestamp": [pd.NaT]})},
            "row 1: timestamp is empty",
        ),
        (
            {"history": pd.DataFrame({"user_id": ["a"], "item_id": ["i3"], "timestamp": ["soon"]})},
            "row 1: timestamp is 'soon', no number and no date .* - write dates as 2026-01-31 12:00$",
        ),
        ({"users": 5}, "users is 5 - write a list of ids"),
        ({"history": 5}, "history is 5 - write a table, or a list of item ids"),
        ({"history": [("i3", {})]}, "is no pair of an item id and a rating"),
        ({"history": [("i3", 1e300)]}, "is no pair of an item id and a rating"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"k": 0}, "k is 0 - write a whole number from 1 to"),
        ({"k": 31}, "k is 31"),
        ({"items": ["i3", "ii3"]}, "items: no item 'ii3' \\(did you mean"),
        ({"items": []}, "items is empty"),
        ({"exclude": "nothing"}, "exclude: no item 'nothing'"),
        ({"history": "i3"}, "write a list of item ids, such as \\['i3'\\]"),
        ({"history": [("i3", 1, 2)]}, "is no pair of an item id and a rating"),
        ({"history": [("i3", "good")]}, "is no pair of an item id and a rating"),
        ({"history": ["i3"], "users": ["u0"]}, "leave out users"),
        ({"history": pd.DataFrame({"user": ["a"], "item_id": ["i3"]})}, "has no column user_id .*--user=COLUMN"),
        ({"history": pd.DataFrame({"user_id": ["a"], "item_id": [None]})}, "row 1: item_id is empty"),
        (
            {"history": pd.DataFrame({"user_id": ["a"], "item_id": ["i3"], "rating": ["5 stars"]})},
            "row 1: rating is '5 stars', no number",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(plain, words, message):
    with pytest.raises(sear.InputError, match=message) as error:
        plain[0].recommend(**words)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("by", ["table", "texts", "both"])
def test_similar_items_are_those_of_the_highest_cosine(plain, by):
    recommender, _ = plain
    table_VD, text_VE = recommender._scorer.table_VD.numpy()[1:], recommender._model.text_VE[1:]
    cosines = []
    for vectors in {"table": [table_VD], "texts": [text_VE], "both": [table_VD, text_VE]}[by]:
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        cosines.append(unit @ unit.T)
    score_VV = np.mean(cosines, axis=0) - 9 * np.eye(len(table_VD))
    wanted = [recommender.item_ids[5], recommender.item_ids[2]]
    found = recommender.similar_items(wanted, k=3, by=by, with_titles=True)
    assert found.item_id.tolist() == [wanted[0]] * 3 + [wanted[1]] * 3 and found["rank"].tolist() == [1, 2, 3] * 2
    best = np.argsort(-score_VV[[5, 2]], axis=1)[:, :3].ravel()
    assert found.similar_item_id.tolist() == [recommender.item_ids[item] for item in best]
    np.testing.assert_allclose(found.score, np.sort(score_VV[[5, 2]])[:, :-4:-1].ravel(), atol=1e-6)
    assert found.title.tolist() == [recommender.titles[item] for item in best]


def test_a_recommendation_is_explained_by_the_most_similar_items_of_the_history(plain):
    recommender, _ = plain
    ids = recommender.item_ids
    found = recommender.explain([ids[3], (ids[9], 5.0), ids[3], ids[1], "gone"], ids[7], k=2)
    near = recommender.similar_items([ids[7]], k=len(ids) - 1).set_index("similar_item_id").score
    order = near[[ids[3], ids[9], ids[1]]].sort_values(ascending=False)
    assert [item for item, _ in found] == list(order.index[:2])
    assert [value for _, value in found] == pytest.approx(order.tolist()[:2], abs=1e-6)


@pytest.mark.parametrize(("words", "message"), [({"by": "name"}, "by is 'name' - write table"), ({"k": 99}, "k is 99")])
def test_mistakes_about_similar_items(plain, words, message):
    with pytest.raises(sear.InputError, match=message):
        plain[0].similar_items(["i3"], **words)


@pytest.mark.long
def test_after_warming_up_no_kernel_is_still_to_come(toy_model):
    code = (
        "import sys, sear; recommender = sear.load(sys.argv[1]); recommender.warm_up(); before = set(sys.modules);"
        "recommender.recommend(history=['i3']); recommender.recommend(); recommender.session(['i3']).add('i4');"
        "recommender.similar_items(['i3']); recommender.session().recommend();"
        "late = [name for name in set(sys.modules) - before if name.startswith(('sear', 'numba'))];"
        "assert not late, late"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(toy_model)], cwd=PROJECT_ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
