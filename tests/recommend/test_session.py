"""A session gives what its whole history gives, event by event, also out of bytes."""

import numpy as np
import pytest

import sear
from sear.runs.model_folder import read_model
from tests.helpers.used_model import EVERYTHING, toy_run

LENGTH = 10  # MAX_ITEM_LIST_LENGTH of the toy


@pytest.fixture(scope="module")
def recommender(toy_model):
    return sear.load(toy_model)


def events(count, items=30, seed=3):
    random = np.random.default_rng(seed)
    return [(f"i{random.integers(items)}", None if random.random() < 0.2 else float(random.integers(1, 6)))
            for _ in range(count)]  # fmt: skip


def assert_same(session, expected):
    found = session.recommend(k=5)
    assert found.item_id.tolist() == expected.item_id.tolist()
    np.testing.assert_allclose(found.score, expected.score, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in EVERYTHING if name != "plain"])
def test_up_to_the_window_a_session_is_the_history_recommended_for(here, name):
    recommender = sear.load(toy_run(here, **EVERYTHING[name]))
    known = events(LENGTH)
    begun, session = recommender.session(known[:4]), recommender.session()
    for count, event in enumerate(known, 1):
        session.add(*event)
        if count > 4:
            begun.add(*event)
            assert_same(begun, recommender.recommend(history=known[:count], k=5))
        assert_same(session, recommender.recommend(history=known[:count], k=5))


def test_beyond_the_window_it_is_the_network_over_all_events(recommender, toy_model):
    from sear.recommend.recommender import Recommender

    model = read_model(toy_model / "model")
    longer = Recommender(model)
    longer._scorer.length = 1000
    known = events(3 * LENGTH)
    session = recommender.session(known[:LENGTH])
    for event in known[LENGTH:]:
        session.add(*event)
    assert_same(session, longer.recommend(history=known, k=5))
    again = recommender.session(session.history, session.ratings)
    assert_same(again, recommender.recommend(history=known, k=5))  # which reads the last events only


def test_a_long_history_begins_with_its_last_events_and_filters_all(recommender):
    known = events(3 * LENGTH)
    session = recommender.session(known)
    assert_same(session, recommender.recommend(history=known, k=5))
    assert not set(session.recommend(k=3).item_id) & {item for item, _ in known}


def test_before_the_first_event_it_gives_what_is_popular(recommender):
    session = recommender.session(["gone"])
    expected = recommender.recommend(history=[], k=5)
    assert session.recommend(k=5, with_titles=True).columns.tolist() == ["item_id", "score", "rank", "title"]
    assert session.recommend(k=5).item_id.tolist() == expected.item_id.tolist()
    assert session.unknown_items == 1 and session.history == [] and len(session) == 0


def test_bytes_give_the_session_back(recommender):
    session = recommender.session(events(7))
    data = session.to_bytes()
    again = recommender.session_from_bytes(data)
    session.add("i3", 2)
    again.add("i3", 2)
    assert again.recommend(k=5).equals(session.recommend(k=5))
    assert again.history == session.history and again.ratings[-1] == 2
    empty = recommender.session_from_bytes(recommender.session().to_bytes())
    assert len(empty) == 0 and len(empty.recommend(k=3)) == 3


def test_bytes_of_another_model_bring_the_history_along(here, recommender):
    other = sear.load(toy_run(here, seed=2, hidden_size=4))
    session = other.session(events(6))
    moved = recommender.session_from_bytes(session.to_bytes())
    assert moved.history == session.history
    assert_same(moved, recommender.recommend(history=events(6), k=5))


def test_mistakes(recommender):
    session = recommender.session(["i1", "i2"], [3, None])
    for call, message in [
        (lambda: session.add("nothing"), "item_id: no item 'nothing'"),
        (lambda: session.add("i3", "good"), "rating is 'good', no number"),
        (lambda: session.add("i3", float("inf")), "rating is inf, no number"),
        (lambda: recommender.session(["i1"], [1, 2]), "2 ratings for 1 items"),
        (lambda: recommender.session_from_bytes(b""), "cut, changed or no session"),
        (lambda: recommender.session_from_bytes(session.to_bytes()[:-1]), "cut, changed or no session"),
        (lambda: session.recommend(k=0), "k is 0"),
    ]:
        with pytest.raises(sear.InputError, match=message):
            call()
    assert session.history == ["i1", "i2"]
