"""Every request that docs/serve.md shows is answered as it says."""

import json
import re

import pytest

from tests.helpers.doc_pages import ROOT, blocks, page_text
from tests.serve.conftest import client_of, write_small

pytest.importorskip("fastapi", reason="no FastAPI here: pip install -r requirements-dev.txt")

from sear.serve.limits import Limits  # noqa: E402
from sear.serve.service import WATCH_SECONDS  # noqa: E402

OURS = {'"196"': '"u19"', "movie_title": "title", "class": "kind"}  # what the small model has in place of ml-100k's


def test_the_requests_shown_are_answered(tmp_path, service_with_texts):
    shown = [block.text for block in blocks("http") if block.text.startswith("POST ")]
    assert len(shown) == 7
    with client_of(service_with_texts(write_small(tmp_path / "model", items=200))) as client:
        session = None
        for text in shown:
            for word, ours in OURS.items():
                text = text.replace(word, ours)
            path, body = re.fullmatch(r"POST (\S+)\n(.*)\n", text).groups()
            body = json.loads(re.sub(r'"(\d+)"', r'"i\1"', body))
            answer = client.post(path.replace("ID", session or "ID"), json=body)
            assert answer.status_code in (200, 201), (text, answer.text)
            session = answer.json().get("session_id", session)
        for request in re.findall(r"\| `GET (\S+)` \|", page_text(ROOT / "docs" / "serve.md")):
            assert client.get(request).status_code in (200, 503)


def test_the_limits_told_are_those_in_force():
    text, limits = " ".join(page_text(ROOT / "docs" / "serve.md").split()), Limits()
    assert f"below 1, above {limits.k:,} or above the catalogue, a history above {limits.history:,} events" in text
    assert f"a body above {limits.body // 2**20} MiB" in text and f"or {limits.waiting:,} requests wait" in text
    assert f"{limits.adding} to add items, or bodies of {limits.bodies // 2**20} MiB" in text
    assert f"with {limits.session_events:,} events together" in text
    assert f"more than {limits.added_items:,} were added" in text and f"at most {limits.sessions:,}, each" in text
    assert limits.session_seconds == 3600 and "for an hour" in text
    assert WATCH_SECONDS == 5 and "Every five seconds" in text
