"""The service keeps to its own description, whatever is sent (schemathesis)."""

import pytest

pytest.importorskip("fastapi", reason="no FastAPI here: pip install -r requirements-dev.txt")
schemathesis = pytest.importorskip("schemathesis", reason="no schemathesis here (it needs Python 3.11)")

from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from hypothesis.errors import Unsatisfiable  # noqa: E402

from sear.serve.live_model import LiveModel  # noqa: E402
from sear.serve.service import Service  # noqa: E402
from tests.serve.conftest import random_vectors, served  # noqa: E402

SETTINGS = {
    "max_examples": 10, "deadline": None, "derandomize": True, "database": None,
    "phases": [Phase.explicit, Phase.generate], "suppress_health_check": list(HealthCheck),
}  # fmt: skip


@pytest.fixture
def described(model_folder):  # for each test anew: items that one adds are more than the description of another knows
    with pytest.MonkeyPatch.context() as patch, served(Service(LiveModel(model_folder))) as address:
        patch.setattr("sear.recommend.new_items.Placement.encoded", random_vectors)
        yield schemathesis.openapi.from_url(f"{address}/openapi.json")


def test_every_route_is_described(described):
    paths = {operation.ok().path for operation in described.get_all_operations()}
    assert {"/recommend", "/similar", "/explain", "/items", "/search", "/session", "/model", "/metrics"} < paths


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_every_answer_is_as_described(described, mode):
    asked = []
    for found in described.get_all_operations():

        @settings(**SETTINGS)
        @given(case=found.ok().as_strategy(generation_mode=mode))
        def answers(case):
            asked.append(case.call_and_validate(timeout=60).status_code)

        try:
            answers()
        except Unsatisfiable:  # a route that nothing wrong can be sent to
            pass
    assert len(asked) > 50 and (200 in asked if mode.value == "positive" else 422 in asked)
