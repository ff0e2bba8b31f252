"""The notebook runs from top to bottom."""

import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parent.parent / "examples" / "ml-100k.ipynb"


@pytest.mark.long
def test_the_notebook_runs(tmp_path):
    names: dict = {}
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert code.count("epochs=3") == 1
    small = f"epochs=1, hidden_size=16, num_layers=1, d_state=4, use_gpu=False, results_path={str(tmp_path)!r}"
    exec(code.replace("epochs=3", small), names)  # noqa: S102
    sequel = names["fans"][names["fans"]["item_id"] == "tt0120363"]
    assert len(sequel) == 1 and sequel["rank"].item() < 1000  # among 1,350 films
    assert names["found"].attrs["unknown_items"] == 1
