"""The Python of docs/recommend.md runs as it stands, on a toy model and its ids."""

import numpy as np

from tests.helpers.doc_pages import blocks


def test_the_snippets_run_one_after_the_other(toy_model, capsys):
    shown = [block.text for block in blocks("python") if block.page == "docs/recommend.md"]
    assert len(shown) == 3
    names = {"vectors": np.random.default_rng(0).standard_normal((1, 24))}
    for text in shown:
        exec(text.replace("RUN_DIR", str(toy_model)), names)
    assert "Fennel" not in capsys.readouterr().out  # titles were not asked for
    assert names["again"].history == ["i12", "i7", "i3"] and "n1" in names["recommender"].item_ids
