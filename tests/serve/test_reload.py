"""A newer model takes over without a dropped request; whatever is wrong with it, the one in use stays."""

import asyncio
import gc
import shutil
import threading
import weakref
from time import monotonic

import orjson
import pytest

from sear.errors import InputError
from sear.runs.model_folder import _digest
from tests.serve.conftest import client_of, random_vectors, write_small

pytest.importorskip("fastapi", reason="no FastAPI here: pip install -r requirements-dev.txt")

from sear.serve.answers import Query  # noqa: E402
from sear.serve.bodies import NewItemsBody  # noqa: E402
from sear.serve.live_model import LiveModel  # noqa: E402
from sear.serve.service import Service  # noqa: E402


@pytest.fixture(scope="module")
def newer_folder(tmp_path_factory):
    return write_small(tmp_path_factory.mktemp("newer") / "model", seed=1, items=70)


@pytest.fixture
def pointer(tmp_path, model_folder):
    """A link to the model's folder."""
    link = tmp_path / "newest"
    link.symlink_to(model_folder)
    return link


def turn(link, folder):
    """As a retrain does it: a new link, renamed over the old one."""
    aside = link.with_name("aside")
    aside.symlink_to(folder)
    aside.replace(link)


def reload_now(service):
    assert service.live.has_newer()
    asyncio.run(service.reload())


def reloads(service, result):
    return f'sear_reloads_total{{result="{result}"}} 1.0' in service.metrics_text().decode()


def test_a_link_that_turns_is_followed(pointer, newer_folder):
    service = Service(LiveModel(pointer))
    assert not service.live.has_newer()
    turn(pointer, newer_folder)
    reload_now(service)
    assert len(service.live.now.items) == 70 and service.live.now.generation == 2
    assert reloads(service, "taken") and not service.live.has_newer()


def test_after_a_reload_the_newer_model_tells_of_itself(pointer, newer_folder):
    turn(pointer, newer_folder)
    with client_of(Service(LiveModel(pointer))) as client:
        expected = client.get("/model").json()
    turn(pointer, write_small(pointer.parent / "older", num_layers=2))
    service = Service(LiveModel(pointer))
    with client_of(service) as client:
        assert client.get("/model").json()["info"] != expected["info"]
        turn(pointer, newer_folder)
        assert service.live.has_newer()
        client.portal.call(service.reload)
        assert client.get("/model").json() == expected | {"generation": 2}


def test_a_file_that_names_a_folder_is_followed(tmp_path, model_folder, newer_folder):
    shutil.copytree(model_folder, tmp_path / "monday")
    pointer = tmp_path / "newest"
    pointer.write_text("monday\n")
    live = LiveModel(pointer)
    pointer.write_text(f"{newer_folder}\n")
    assert live.has_newer() and len(live.load_newer().items) == 70


def test_a_model_exported_again_to_the_same_folder_is_found(tmp_path):
    service = Service(LiveModel(write_small(tmp_path / "model")))
    write_small(tmp_path / "model", seed=3, items=65)
    reload_now(service)
    assert len(service.live.now.items) == 65


@pytest.mark.parametrize("text", ["", "one\ntwo\n", "\0", "gone\n"])
def test_a_file_that_names_no_folder_is_told(tmp_path, text):
    (tmp_path / "newest").write_text(text)
    with pytest.raises(InputError, match="newest|gone"):
        LiveModel(tmp_path / "newest")


@pytest.mark.parametrize("harm", ["cut", "changed", "missing", "later", "gone"])
def test_a_broken_model_leaves_the_old_one_in_use(tmp_path, pointer, newer_folder, capsys, harm):
    broken = tmp_path / "broken"
    service = Service(LiveModel(pointer))
    shutil.copytree(newer_folder, broken)
    weights, manifest = broken / "weights.safetensors", broken / "model.json"
    if harm == "cut":
        weights.write_bytes(weights.read_bytes()[:-9])
    elif harm == "changed":
        weights.write_bytes(weights.read_bytes()[:-9] + b"123456789")
    elif harm == "missing":
        weights.unlink()
    elif harm == "later":
        manifest.write_text(manifest.read_text().replace("sear-model-1", "sear-model-9"))
    turn(pointer, broken)
    if harm == "gone":
        shutil.rmtree(broken)
        assert not service.live.has_newer()
    else:
        reload_now(service)
        told = capsys.readouterr().err
        assert told.startswith("no reload, the model in use stays: ") and told.count("\n") == 1
        assert reloads(service, "failed") and not service.live.has_newer()  # it is not tried again
    assert service.live.now.generation == 1
    turn(pointer, newer_folder)
    reload_now(service)
    assert service.live.now.generation == 2


def test_sessions_and_added_items_outlive_a_reload(pointer, newer_folder, service_with_texts):
    service = service_with_texts(pointer)
    with client_of(service) as client:
        begun = client.post("/session", json={"history": ["i1", "i2"]}).json()["session_id"]
        body = {"items": [{"item_id": "new", "texts": {"title": "Grüne Soße"}}]}
        assert client.post("/items", json=body).json() == {"added": 1, "items": 61}
        turn(pointer, newer_folder)
        assert service.live.has_newer()
        older = weakref.ref(service.live.now.recommender)
        client.portal.call(service.reload)
        gc.collect()
        assert older() is None  # nothing keeps it in memory
        answer = client.post(f"/session/{begun}/add", json={"item_id": "i65"}).json()  # an item of the newer model only
        assert answer["events"] == 3
        assert client.post("/recommend", json={"items": ["new"]}).json()["items"][0]["title"] == "Grüne Soße"
        assert client.get("/model").json()["items"] == 71


def test_an_item_that_does_not_fit_the_newer_model_is_left_out_and_told(tmp_path, pointer, service_with_texts, capsys):
    service = service_with_texts(pointer)
    other = write_small(tmp_path / "other", seed=1, items=70)
    manifest = other / "model.json"
    about = orjson.loads(manifest.read_bytes())
    about["texts"] |= {"fields": ["name"], "title": "name"}
    del about["digest"]
    manifest.write_bytes(orjson.dumps(about | {"digest": _digest(about)}))
    with client_of(service) as client:
        assert client.post("/items", json={"items": [{"item_id": "new", "texts": {"title": "x"}}]}).status_code == 201
        turn(pointer, other)
        assert service.live.has_newer()
        client.portal.call(service.reload)
        assert client.get("/model").json()["items"] == 70
    assert "1 items that were added here are not in the newer model: none of the text columns name" in (
        capsys.readouterr().err
    )


def test_new_texts_are_never_encoded_in_the_models_thread(pointer, newer_folder, service_with_texts, monkeypatch):
    threads, begun, go_on = [], threading.Event(), threading.Event()

    def slow_vectors(placement, new):
        threads.append(threading.current_thread().name)
        begun.set()
        go_on.wait(20)
        return random_vectors(placement, new)

    monkeypatch.setattr("sear.recommend.new_items.Placement.encoded", slow_vectors)
    service = service_with_texts(pointer)

    async def everything():
        adding = asyncio.create_task(service.add_items(NewItemsBody.model_validate(body)))
        await asyncio.to_thread(begun.wait, 20)
        turn(pointer, newer_folder)
        assert service.live.has_newer()
        reloading = asyncio.create_task(service.reload())
        await asyncio.sleep(0.2)
        go_on.set()
        await asyncio.gather(adding, reloading)

    body = {"items": [{"item_id": "new", "texts": {"title": "x"}}]}
    asyncio.run(everything())
    assert len(service.live.now.items) == 71 and not any("model" in name for name in threads)


def test_without_an_encoder_a_new_item_is_refused_in_one_line(service):
    with client_of(service) as client:
        answer = client.post("/items", json={"items": [{"item_id": "new", "texts": {"title": "Grüne Soße"}}]})
        assert answer.status_code == 409 and "has no encoder, which new texts need" in answer.json()["error"]
        assert client.get("/model").json()["items"] == 60


def test_no_request_is_dropped_while_models_change(pointer, model_folder, newer_folder):
    service = Service(LiveModel(pointer), watch_seconds=0.05)

    async def ask(answers, until):
        while monotonic() < until or service.live.now.generation < 3:
            answers.append(await service.thread.recommend(Query(None, (("i1", None),), 60)))
            assert monotonic() < until + 60

    async def everything():
        answers = []
        service.start()
        asking = [asyncio.create_task(ask(answers, monotonic() + 0.5)) for _ in range(8)]
        for number, folder in enumerate((newer_folder, model_folder), 2):
            turn(pointer, folder)
            while service.live.now.generation < number:
                await asyncio.sleep(0.01)
        await asyncio.gather(*asking)
        await service.stop()
        return answers

    answers = asyncio.run(everything())
    assert {len(answer.items) for answer in answers} == {59, 60}  # 59 of 60 unseen; of 70 the 60 asked for
