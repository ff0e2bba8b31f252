"""A small model with random weights, the service of it, and clients."""

import socket
import threading
import time
from contextlib import contextmanager

import pytest

TITLES = ["Crème brûlée", "<img src=x onerror=alert(1)>", None, "Käsespätzle", "Straße nach Süden", "Tom & Jerry's"]
SMALL = {"hidden_size": 8, "num_layers": 1, "num_heads": 2, "d_state": 4, "MAX_ITEM_LIST_LENGTH": 20}


def write_small(folder, seed=0, items=60, **changes):
    from benchmarks.untrained_model import write_untrained

    return write_untrained(folder, items, 20, seed=seed, titles=TITLES, **(SMALL | changes))


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """60 items, 20 users; tests leave it as it is."""
    return write_small(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture
def service(model_folder):
    pytest.importorskip("fastapi", reason="no FastAPI here: pip install -r requirements-dev.txt")
    pytest.importorskip("prometheus_client", reason="no prometheus-client here: pip install -r requirements-dev.txt")
    from sear.serve.live_model import LiveModel
    from sear.serve.service import Service

    return Service(LiveModel(model_folder))


def random_vectors(placement, new):
    """In place of Placement.encoded: every sentence's own random numbers."""
    import numpy as np

    width = placement._text_VE.shape[1]
    seeds = [sum(map(ord, sentence)) for sentence in new.sentences]
    return np.stack([np.random.default_rng(seed).standard_normal(width) for seed in seeds]).astype(np.float32)


@pytest.fixture
def service_with_texts(service, monkeypatch):
    """A function (folder) -> service that can read new texts, without an encoder."""
    from sear.serve.live_model import LiveModel
    from sear.serve.service import Service

    monkeypatch.setattr("sear.recommend.new_items.Placement.encoded", random_vectors)
    return lambda folder: Service(LiveModel(folder))


@pytest.fixture
def client(service):
    """A client of the service, without a socket."""
    with client_of(service) as client:
        yield client


def client_of(service, **options):
    pytest.importorskip("httpx", reason="no httpx here: pip install -r requirements-dev.txt")
    from starlette.testclient import TestClient

    from sear.serve.app import create_app

    return TestClient(create_app(service, **options), base_url="http://localhost", raise_server_exceptions=False)


@contextmanager
def served(service, **options):
    """The address of a server of this process, on a free port of this machine."""
    uvicorn = pytest.importorskip("uvicorn", reason="no uvicorn here: pip install -r requirements-dev.txt")
    from sear.serve.app import create_app

    app = create_app(service, **options)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=5))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        until = time.monotonic() + 120
        while not service.is_ready:
            assert time.monotonic() < until and thread.is_alive()
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(30)
