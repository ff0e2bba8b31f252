import pytest

from tests.serve.conftest import client_of

TOKEN = "a-secret-of-this-test"


@pytest.fixture
def guarded(service):
    with client_of(service, token=TOKEN) as client:
        yield client


def test_without_the_token_only_health_and_pages_are_answered(guarded):
    for path in ("/", "/docs", "/page/page.js", "/openapi.json", "/health"):
        assert guarded.get(path).status_code == 200
    for path in ("/model", "/metrics", "/search", "/session/x", "/made-up"):
        answer = guarded.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), path
        assert answer.json()["error"].startswith("token: missing or wrong")


@pytest.mark.parametrize("header", [f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer", f"Bearer {TOKEN[:-1]}", "Bearer ü"])
def test_a_wrong_token_is_refused(guarded, header):
    assert guarded.get("/model", headers={"authorization": header.encode()}).status_code == 401


def test_the_token_opens(guarded):
    assert guarded.get("/model", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    other = guarded.get("/model", headers={"authorization": f"bearer {TOKEN}", "host": "shop.example"})
    assert other.status_code == 200


def test_the_description_tells_that_a_token_is_needed_and_of_the_model_only_with_it(guarded):
    def told(**headers):
        found = guarded.get("/openapi.json", headers=headers).json()["components"]
        assert "securitySchemes" in found
        return found["schemas"]["RecommendBody"]["properties"]["k"]["maximum"]

    assert told() == 1000 and told(authorization=f"Bearer {TOKEN}") == 60
    assert "kind" not in guarded.get("/openapi.json").text


def test_the_description_tells_of_no_token_where_there_is_none(client):
    assert "securitySchemes" not in client.get("/openapi.json").json()["components"]


@pytest.mark.parametrize("host", ["shop.example", "127.0.0.1.shop.example:8000", ""])
def test_without_a_token_only_names_of_this_machine_are_answered(client, host):
    answer = client.get("/model", headers={"host": host})
    assert answer.status_code == 400 and answer.json()["error"].startswith("host: ")
    for name in ("localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000"):
        assert client.get("/health", headers={"host": name}).status_code == 200


def test_without_a_token_no_page_of_another_site_can_send(client):
    for origin in ("https://evil.example", "http://localhost:9000", "null"):
        answer = client.post("/recommend", json={}, headers={"origin": origin})
        assert answer.status_code == 403 and answer.json()["error"].startswith("origin: ")
    assert client.post("/recommend", json={}, headers={"origin": "http://localhost"}).status_code == 200


def test_a_large_body_is_refused_before_it_is_read(client):
    read = []

    def body():
        for _ in range(1000):
            read.append(1)
            yield b"x" * 100_000

    announced = client.post("/recommend", content=b"x", headers={"content-length": str(100_000_000)})
    assert announced.status_code == 413 and "2,097,152 bytes" in announced.json()["error"]
    unannounced = client.post("/recommend", content=body(), headers={"content-type": "application/json"})
    assert unannounced.status_code == 413


def test_pages_run_no_foreign_script(client):
    headers = client.get("/").headers
    assert headers["content-security-policy"].startswith("default-src 'self'")
    assert headers["x-content-type-options"] == "nosniff"


def test_bodies_of_all_requests_together_are_limited(model_folder):
    from sear.serve.limits import Limits
    from sear.serve.live_model import LiveModel
    from sear.serve.service import Service

    with client_of(Service(LiveModel(model_folder), Limits(bodies=100))) as client:
        answer = client.post("/recommend", json={"history": ["i1"] * 50})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        for _ in range(5):  # nothing of earlier ones counts
            assert client.post("/recommend", json={"history": ["i1"] * 4}).status_code == 200


def test_a_service_answers_to_the_name_it_was_given(service):
    from sear.serve.app import LOCAL_HOSTS
    from sear.serve.server import names_of

    with client_of(service, hosts=LOCAL_HOSTS | names_of("127.0.0.2")) as client:
        assert client.get("/health", headers={"host": "127.0.0.2:8000"}).status_code == 200
        assert client.get("/health", headers={"host": "127.0.0.3:8000"}).status_code == 400
