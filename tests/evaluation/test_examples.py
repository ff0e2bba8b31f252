"""examples.json as a run leaves it: real events in titles, and the model's first five."""

import json
from pathlib import Path

import pandas as pd
import pytest

from sear.data.dataset import SEARDataset
from tests.conftest import TOY, random_histories, write_atomic_files
from tests.helpers.killed_run import run


def read_examples(done):
    folder = Path(done["run_folder"])
    return json.loads((folder / "examples.json").read_text()), pd.read_csv(folder / "cases.csv.gz", dtype={"user": str})


def title(item):
    names = ("Salt", "Pepper", "Thyme", "Rosemary", "Saffron", "Basil", "Cumin", "Dill")
    return f"{names[int(item[1:]) % 8]} no. {item[1:]}"


@pytest.mark.parametrize("model", ["SEAR", "Pop", "NARM"])
def test_examples_show_the_last_events_and_agree_with_the_ranks(here, model):
    histories = random_histories()
    write_atomic_files(here, "tiny", histories)
    found, cases = read_examples(run(here, model=model, epochs=1, num_layers=1))
    assert len(found) == 12 and len({example["user"] for example in found}) == 12
    for example in found:
        *earlier, last = histories[example["user"]]
        assert example["history"] == [{"title": title(item), "rating": float(stars)} for item, stars, _ in earlier[-8:]]
        assert example["target"] == title(last[0])
        (case,) = cases[cases["user"] == example["user"]].itertuples()
        assert example["rank"] == case.rank
        assert len(set(example["top"])) == 5 and (example["target"] in example["top"]) == (case.rank <= 5)
        assert case.rank > 5 or example["top"][case.rank - 1] == example["target"]


def test_every_model_shows_the_same_cases(here):
    write_atomic_files(here, "tiny", random_histories())
    shown = [read_examples(run(here, model=model, epochs=1))[0] for model in ("Pop", "SASRec")]
    keys = ("user", "history", "target")
    assert [[e[key] for key in keys] for e in shown[0]] == [[e[key] for key in keys] for e in shown[1]]


def test_without_texts_items_go_by_their_ids_and_without_ratings_by_none(here):
    write_atomic_files(here, "tiny", random_histories(), ratings=False)
    (here / "tiny" / "tiny.item").unlink()
    columns = {"load_col": {"inter": TOY["load_col"]["inter"][:2] + ["timestamp"]}}
    found, _ = read_examples(run(here, model="Pop", **columns))
    assert all(event["title"].startswith("i") and event["rating"] is None for e in found for event in e["history"])


@pytest.mark.parametrize(
    ("listed", "expected"),
    [(["item_id", "kind"], "spice"), (["item_id", "title", "kind"], "Salt"), (["item_id"], "i"), (None, "Salt")],
)
def test_the_title_is_the_first_text_field_that_is_asked_for(here, tiny_config, listed, expected):
    write_atomic_files(here, "tiny", {f"u{u}": [(f"i{8 * k}", 3, k) for k in range(5)] for u in range(5)}, items=40)
    config = tiny_config(here, "Pop", load_col=listed and {"inter": TOY["load_col"]["inter"], "item": listed})
    titles = SEARDataset(config).texts.titles
    assert len(titles) == 6 and all(text.startswith(expected) for text in titles[1:])


def test_an_item_without_a_title_goes_by_its_id(here, tiny_config):
    write_atomic_files(here, "tiny", {f"u{u}": [(f"i{k}", 3, k) for k in range(5)] for u in range(5)}, items=5)
    item = here / "tiny" / "tiny.item"
    item.write_text(item.read_text().replace("Pepper no. 1", "").replace("i2\t", "other\t"))
    titles = SEARDataset(tiny_config(here, "Pop")).texts.titles
    assert titles[1:4] == ["Salt no. 0", "i1", "i2"]
