"""Held-out items leave the data before training, and their cases are events after it, each with its own past."""

import json

import numpy as np
import pytest

from benchmarks import new_items
from tests.conftest import TOY, fake_sentence_vectors

SETTINGS = TOY | {"epochs": 1}
WORDS = [f"--{key}={json.dumps(value)}" for key, value in SETTINGS.items() if key != "seed"]


@pytest.fixture
def no_encoder(monkeypatch):
    monkeypatch.setattr("benchmarks.new_items.sentence_vectors", fake_sentence_vectors)


@pytest.mark.long
def test_it_runs_at_toy_size_and_says_what_it_measured(here, no_encoder, tmp_path):
    out = tmp_path / "found.json"
    assert (
        new_items.main(["--dataset=tiny", "--share=0.2", "--seeds=1,2", "--item_table=tied", f"--out={out}", *WORDS])
        == 0
    )
    found = json.loads(out.read_text())
    assert [split["held out"] for split in found["splits"]] == [6, 6]
    cases = [found[part]["cases"] for part in ("validation", "test")]
    assert min(cases) > 5 and sum(cases) == sum(split["cases"] for split in found["splits"])
    ways = ["ridge", "ridge, items alike", "neighbours", "tied texts alone"]
    methods = [*ways, "random", "popularity", *(f"texts of the last {last}" for last in (1, 5, 20))]
    for method in methods:
        for among in ("all", "all, seen filtered", "new"):
            for value in found["test"][method][among].values():
                assert 0 <= value["low"] <= value["mean"] <= value["high"] <= 1
        assert found["test"][method]["new"]["hit@10"]["mean"] == 1  # of six
    validated = {way: found["validation"][way]["all"]["mrr"]["mean"] for way in ways}
    assert validated[found["chosen"]] == max(validated.values())
    assert found["existing users"]["cases"] >= 76
    for way in ways:
        change = found["existing users"][way]["change"]["mrr@10"]
        assert change["low"] <= change["mean"] <= change["high"] <= 0


@pytest.mark.long
def test_what_is_held_out_is_gone_and_cases_come_after_training(here, no_encoder, monkeypatch):
    monkeypatch.setattr("benchmarks.new_items.held_out", lambda *_: ["i3", "i4"])
    seen = {}

    def catch(whole, recommender, held):
        seen.update(whole=whole, recommender=recommender, cases=cases(whole, recommender, held))
        raise KeyboardInterrupt

    cases = new_items.held_out_cases
    monkeypatch.setattr("benchmarks.new_items.held_out_cases", catch)
    with pytest.raises(KeyboardInterrupt):
        new_items.one_split("tiny", "SEAR", 0.1, 1, {key: SETTINGS[key] for key in SETTINGS if key != "seed"})
    whole, recommender, found = (seen[key] for key in ("whole", "recommender", "cases"))
    assert recommender.item_ids[-2:] == ["i3", "i4"] and recommender.popularity[-2:].tolist() == [0, 0]
    assert len(recommender.item_ids) == whole.item_num - 1
    new = len(recommender.item_ids) - 1
    assert set(found.target) <= {new, new + 1} and found.histories.item.max() < new
    for case in range(len(found)):
        span = slice(found.histories.offsets[case], found.histories.offsets[case + 1])
        users, row = recommender._users, found.row_of_user[case]
        whole_history = users.item[users.offsets[row] : users.offsets[row + 1]]
        length = span.stop - span.start
        assert length >= len(whole_history) - 2  # nothing that trained comes after the case
        assert np.array_equal(found.histories.item[span], whole_history[:length])


def test_intervals_draw_whole_users():
    users = np.repeat([5, 9], [50, 50])
    found = new_items.with_interval(np.where(users == 5, 1, 100), users)
    assert found["hit@10"] == {"mean": 0.5, "low": 0.0, "high": 1.0}  # two users are two cases, not a hundred
