"""The service keeps to its own description, whatever is sent (schemathesis)."""

import pytest

pytest.importorskip("fastapi", reason="no FastAPI here: pip install -r requirements-dev.txt")
schemathesis = pytest.importorskip("schemathesis", reason="no schemathesis here (it needs Python 3.11)")

from hypothesis import HealthCheck, settings  # noqa: E402

from sear.serve.app import create_app  # noqa: E402
from sear.serve.live_model import LiveModel  # noqa: E402
from sear.serve.service import Service  # noqa: E402


@pytest.fixture
def api(model_folder):
    app = create_app(Service(LiveModel(model_folder)))
    return schemathesis.openapi.from_asgi("/openapi.json", app, headers={"host": "localhost"})


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_described(case):
    case.call_and_validate(headers={"host": "localhost"})
