import pytest

pytest.importorskip("fastapi", reason="no FastAPI here: pip install -r requirements-dev.txt")

from sear.serve.answers import Query, UnknownError  # noqa: E402
from sear.serve.limits import Limits  # noqa: E402
from sear.serve.sessions import Sessions  # noqa: E402

WISHES = Query(None, None, 5)


def ids(answer):
    return [item["item_id"] for item in answer.json()["items"]]


def test_a_session_recommends_as_its_history_does(client):
    begun = client.post("/session", json={"history": ["i1"], "k": 5})
    assert begun.status_code == 201 and ids(begun) == ids(client.post("/recommend", json={"history": ["i1"], "k": 5}))
    place = f"/session/{begun.json()['session_id']}"
    added = client.post(f"{place}/add", json={"item_id": "i2", "rating": 4, "k": 5})
    history = ["i1", {"item_id": "i2", "rating": 4}]
    assert ids(added) == ids(client.post("/recommend", json={"history": history, "k": 5}))
    assert added.json()["events"] == 2
    assert ids(client.post(f"{place}/recommend", json={"k": 2})) == ids(added)[:2]
    assert client.get(place).json()["history"] == [
        {"item_id": "i1", "rating": None}, {"item_id": "i2", "rating": 4.0},
    ]  # fmt: skip
    assert client.delete(place).status_code == 204
    assert client.get(place).status_code == client.delete(place).status_code == 404


def test_an_empty_session_begins_with_what_is_popular(client):
    begun = client.post("/session", json={})
    assert begun.json()["source"] == "popularity" and begun.json()["events"] == 0
    added = client.post(f"/session/{begun.json()['session_id']}/add", json={"item_id": "i5"})
    assert added.json()["source"] == "model"


def test_an_unknown_item_changes_no_session(client):
    place = f"/session/{client.post('/session', json={'history': ['i1']}).json()['session_id']}"
    assert client.post(f"{place}/add", json={"item_id": "gone"}).status_code == 404
    assert client.post(f"{place}/add", json={"item_id": "i2", "k": 61}).status_code == 422
    assert client.get(place).json()["history"] == [{"item_id": "i1", "rating": None}]


def test_the_one_unused_for_longest_goes_first(service):
    sessions, model = Sessions(Limits(sessions=2)), service.live.now
    first, second = (sessions.begin(model, [], WISHES).session_id for _ in range(2))
    sessions.recommend(model, first, WISHES)
    third = sessions.begin(model, [], WISHES).session_id
    assert len(sessions) == 2
    with pytest.raises(UnknownError, match="begin a new one"):
        sessions.recommend(model, second, WISHES)
    assert sessions.history(model, first) and sessions.history(model, third)


def test_all_sessions_together_hold_so_many_events_and_no_unknown_ones(service):
    sessions, model = Sessions(Limits(session_events=5, history=4)), service.live.now
    first = sessions.begin(model, [("i1", None), ("gone", None), ("i2", None)], WISHES).session_id
    second = sessions.begin(model, [("i1", None)] * 3, WISHES)
    again = sessions.recommend(model, first, WISHES)
    assert (again.events, again.unknown_items, len(sessions.history(model, first).history)) == (3, 1, 2)
    for _ in range(3):
        sessions.add(model, first, "i3", None, WISHES)
    assert len(sessions) == 1  # the second went
    third = sessions.begin(model, [("i1", None)] * 9, WISHES)
    assert len(sessions) == 1 and sessions.recommend(model, third.session_id, WISHES).events == 9
    with pytest.raises(UnknownError):
        sessions.recommend(model, second.session_id, WISHES)


def test_one_unused_for_too_long_is_gone(service):
    now = [0.0]
    sessions, model = Sessions(Limits(session_seconds=10), clock=lambda: now[0]), service.live.now
    one = sessions.begin(model, [], WISHES).session_id
    now[0] = 9.0
    sessions.recommend(model, one, WISHES)
    now[0] = 18.0
    sessions.recommend(model, one, WISHES)
    now[0] = 29.0
    with pytest.raises(UnknownError):
        sessions.recommend(model, one, WISHES)
    assert len(sessions) == 0


def test_a_long_session_keeps_its_last_events(service):
    sessions, model = Sessions(Limits(history=3)), service.live.now
    one = sessions.begin(model, [("i1", None)], WISHES).session_id
    for number in range(5):
        answer = sessions.add(model, one, f"i{number}", None, WISHES)
    assert answer.events == 6
    assert [event.item_id for event in sessions.history(model, one).history] == ["i2", "i3", "i4"]
