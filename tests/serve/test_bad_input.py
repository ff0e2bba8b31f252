"""Whatever is sent: one clear line, and the service goes on."""

import json

import pytest

CASES = {
    "k of 0": ("/recommend", {"k": 0}, 422, "k: input should be greater than or equal to 1"),
    "k above the catalogue": ("/recommend", {"k": 61}, 422, "k: 61 is more than the model's 60 items"),
    "k above the limit": ("/recommend", {"k": 1001}, 422, "k: input should be less than or equal to 1000"),
    "k as digits in quotes": ("/recommend", {"k": "5"}, 422, "k: input should be a valid integer"),
    "yes or no as k": ("/recommend", {"k": True}, 422, "k: input should be a valid integer"),
    "yes or no as a rating": (
        "/session", {"history": [{"item_id": "i1", "rating": True}]}, 422,
        "history.0.rating: input should be a valid number",
    ),
    "text as yes or no": ("/recommend", {"filter_seen": "off"}, 422, "filter_seen: input should be a valid boolean"),
    "k as text": ("/recommend", {"k": "many"}, 422, "k: input should be a valid integer"),
    "huge history": ("/recommend", {"history": ["i1"] * 10_001}, 422, "history: list should have at most 10000 items"),
    "misspelt key": ("/recommend", {"histroy": ["i1"]}, 422, "histroy: extra inputs are not permitted"),
    "number as id": ("/recommend", {"history": [5]}, 422, "history.0: input should be a valid string"),
    "rating as text": (
        "/recommend", {"history": [{"item_id": "i1", "rating": "good"}]}, 422,
        "history.0.rating: input should be a valid number",
    ),
    "empty id": ("/recommend", {"history": [""]}, 422, "history.0: string should have at least 1 character"),
    "unknown allowed item": ("/recommend", {"items": ["gone"]}, 404, "items: the model knows no item 'gone'"),
    "unknown excluded item": ("/recommend", {"exclude": ["gone"]}, 404, "exclude: the model knows no item 'gone'"),
    "empty allow-list": ("/recommend", {"items": []}, 422, "items: list should have at least 1 item"),
    "half a pair of surrogates": ("/recommend", b'{"user_id": "\\ud800"}', 422, "user_id: input should be a valid"),
    "no JSON": ("/recommend", b'{"k": ', 422, "body: no JSON: "),
    "wrong JSON": ("/recommend", [1], 422, "body: input should be a valid dictionary"),
    "NaN": (
        "/session", b'{"history": [{"item_id": "i1", "rating": NaN}]}', 422,
        "history.0.rating: input should be a finite number",
    ),
    "nothing": ("/recommend", b"", 422, "body: field required"),
    "deep JSON": ("/recommend", b"[" * 100_000, 422, "body: "),
    "unknown item": ("/similar", {"item_id": "gone"}, 404, "item_id: the model knows no item 'gone'"),
    "unknown way": ("/similar", {"item_id": "i1", "by": "magic"}, 422, "by: "),
    "unknown session": ("/session/none/add", {"item_id": "i1"}, 404, "session: 'none' is not there"),
    "new item that is there": (
        "/items", {"items": [{"item_id": "i1", "texts": {"title": "New"}}]}, 409, "items: the model has an item 'i1'",
    ),
    "new item twice": (
        "/items", {"items": [{"item_id": "n", "texts": {"title": "New"}}] * 2}, 409, "items: 'n' stands twice",
    ),
    "unknown text": (
        "/items", {"items": [{"item_id": "n", "texts": {"colour": "red"}}]}, 422,
        "texts: this model has no text column 'colour'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_one_clear_line(client, name):
    path, body, status, words = CASES[name]
    content = body if isinstance(body, bytes) else json.dumps(body)
    answer = client.post(path, content=content, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"] and answer.json()["error"].startswith(words), answer.text
    assert "\n" not in answer.json()["error"]
    assert client.post("/recommend", json={"user_id": "u1"}).status_code == 200


def test_a_mistake_is_told_shortly_and_in_its_own_letters(client):
    told = client.post("/recommend", json={"räting" + "x" * 10_000: 1}).json()["error"]
    assert told.startswith("rätingxxx") and len(told) < 200
    told = client.post("/recommend", json={"history": [5] * 10_000}).json()["error"]
    assert told == "history.0: input should be a valid string"


def test_other_paths_and_methods(client):
    assert client.get("/nothing").status_code == 404
    refused = client.get("/recommend")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST") and refused.json()["error"]
    assert client.get("/page/../app.py").status_code == 404 and client.get("/page/app.py").status_code == 404


def test_an_allow_list_twice_the_same_is_one(client):
    answer = client.post("/recommend", json={"items": ["i1", "i1", "i2"], "history": ["i3", "i3", "i3"]}).json()
    assert sorted(item["item_id"] for item in answer["items"]) == ["i1", "i2"]


def test_a_mistake_of_the_service_is_one_line_too(client, service, monkeypatch):
    monkeypatch.setattr(service.live.now.recommender, "similar_items", lambda *_, **__: 1 / 0)
    answer = client.post("/similar", json={"item_id": "i1"})
    assert (answer.status_code, answer.json()) == (500, {"error": "the service made a mistake; its log tells more"})
    assert client.post("/recommend", json={}).status_code == 200
