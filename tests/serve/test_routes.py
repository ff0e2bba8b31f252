"""What the service answers is what the Recommender says."""

from time import monotonic, sleep

import pytest

import sear


@pytest.fixture(scope="module")
def recommender(model_folder):
    return sear.load(model_folder)


def listed(answer):
    return [(item["item_id"], item["rank"], pytest.approx(item["score"], abs=1e-5)) for item in answer["items"]]


def rows(table):
    return list(zip(table["item_id"], table["rank"], table["score"], strict=True))


def test_a_user_by_id_gets_what_the_recommender_says(client, recommender):
    answer = client.post("/recommend", json={"user_id": "u3", "k": 7}).json()
    assert listed(answer) == rows(recommender.recommend(users=["u3"], k=7))
    assert answer["source"] == "model" and answer["unknown_items"] == 0


def test_a_whole_number_may_be_written_with_a_point_as_json_lets_it(client):
    few = client.post("/recommend", json={"user_id": "u3", "k": 3}).json()
    assert (
        client.post(
            "/recommend", content=b'{"user_id": "u3", "k": 3.0}', headers={"content-type": "application/json"}
        ).json()
        == few
    )
    assert client.post("/recommend", json={"k": 3.5}).status_code == 422


def test_a_history_with_and_without_ratings(client, recommender):
    history = ["i5", {"item_id": "i9", "rating": 2.0}, "gone"]
    answer = client.post("/recommend", json={"history": history, "k": 5}).json()
    assert listed(answer) == rows(recommender.recommend(history=["i5", ("i9", 2.0)], k=5))
    assert answer["unknown_items"] == 1


def test_a_history_takes_the_place_of_the_users_own(client):
    by_history = client.post("/recommend", json={"history": ["i5"]}).json()
    assert client.post("/recommend", json={"history": ["i5"], "user_id": "u3"}).json() == by_history


def test_a_user_of_whom_nothing_is_known_gets_what_is_popular(client):
    popular = client.post("/recommend", json={"k": 3}).json()
    assert client.post("/recommend", json={"user_id": "brand-new", "k": 3}).json() == popular
    assert popular["source"] == "popularity"


@pytest.mark.parametrize("history", [[], ["gone", "lost"]])
def test_without_a_known_item_the_popular_ones_come(client, recommender, history):
    answer = client.post("/recommend", json={"history": history, "k": 3}).json()
    assert answer["source"] == "popularity" and answer["unknown_items"] == len(history)
    best = max(recommender.popularity)
    assert recommender.popularity[recommender.item_ids.index(answer["items"][0]["item_id"])] == best


def test_seen_items_allow_list_and_exclusion(client):
    def ids(**wishes):
        answer = client.post("/recommend", json={"history": ["i1", "i2"], **wishes})
        return [item["item_id"] for item in answer.json()["items"]]

    few = {"items": ["i1", "i4", "i5"]}
    assert set(ids(**few)) == {"i4", "i5"}
    assert set(ids(**few, filter_seen=False)) == {"i1", "i4", "i5"}
    assert ids(**few, exclude=["i4"]) == ["i5"]


def test_similar_items(client, recommender):
    answer = client.post("/similar", json={"item_id": "i7", "k": 4}).json()
    table = recommender.similar_items(["i7"], k=4)
    assert [item["item_id"] for item in answer["items"]] == table["similar_item_id"].tolist()
    assert len(client.post("/similar", json={"item_id": "i7", "k": 60}).json()["items"]) == 59  # all others


def test_an_explanation_tells_place_and_reasons(client, recommender):
    body = {"history": ["i1", "i2", "i3"], "item_id": "i9", "k": 2}
    answer = client.post("/explain", json=body).json()
    ranking = recommender.recommend(history=["i1", "i2", "i3"], k=60)
    assert (answer["rank"], answer["of"]) == (ranking.item_id.tolist().index("i9") + 1, 57)
    assert [reason["item_id"] for reason in answer["because"]] == [
        item for item, _ in recommender.explain(["i1", "i2", "i3"], "i9", k=2)
    ]
    seen = client.post("/explain", json=body | {"item_id": "i2"}).json()
    assert seen["rank"] is None and "i2" not in [reason["item_id"] for reason in seen["because"]]


def test_titles_come_as_they_are(client):
    found = client.get("/search", params={"text": "onerror"}).json()["items"]
    assert found == [{"item_id": "i1", "title": "<img src=x onerror=alert(1)>"}]
    answer = client.post("/recommend", json={"items": ["i2"]}).json()
    assert answer["items"][0]["title"] is None


def test_the_model_tells_what_it_is(client, recommender):
    answer = client.get("/model").json()
    assert (answer["name"], answer["dataset"], answer["items"], answer["users"]) == ("SEAR", "made-up", 60, 20)
    assert answer["info"]["digest"] == recommender.info["digest"] and answer["highest_rating"] == 5.0
    assert answer["text_fields"] == ["title", "kind"] and answer["generation"] == 1


def test_it_is_ready_once_it_is_warm(client, service):
    until = monotonic() + 60
    while not service.is_ready and monotonic() < until:
        assert client.get("/ready").status_code == 503 or service.is_ready
        sleep(0.01)
    assert client.get("/ready").json() == {"status": "ready"}
    assert client.get("/health").json() == {"status": "ok"}


def test_metrics_count_requests_by_route(client):
    client.post("/recommend", json={})
    client.post("/recommend", json={"k": 0})
    client.get("/session/aaa")
    client.get("/made/up")
    text = client.get("/metrics").text
    for line in (
        'sear_requests_total{route="/recommend",status="200"} 1.0',
        'sear_requests_total{route="/recommend",status="422"} 1.0',
        'sear_requests_total{route="/session/{session_id}",status="404"} 1.0',
        'sear_requests_total{route="other",status="404"} 1.0',
        "sear_items 60.0",
        "sear_batch_size_count 1.0",
    ):
        assert line in text
