"""What the README shows works as it stands there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sear.cli.arguments import parse
from sear.report import figures, make_report

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_plain_recbole_script_runs(tmp_path):
    script = next(code for code in re.findall(r"```python\n(.*?)```", README, re.S) if "SEARTrainer" in code)
    toy = (
        '"hidden_size": 8, "num_layers": 1, "num_heads": 2, "d_state": 4, "MAX_ITEM_LIST_LENGTH": 10, '
        f'"use_gpu": False, "show_progress": False, "checkpoint_dir": "{tmp_path}", "epochs": 1'
    )
    assert '"epochs": 2' in script
    command = [sys.executable, "-c", script.replace('"epochs": 2', toy)]
    runs = [subprocess.run(command, cwd=ROOT, capture_output=True, text=True) for _ in range(2)]
    assert [done.returncode for done in runs] == [0, 0], runs[0].stderr
    assert "hit@10" in runs[0].stdout and runs[0].stdout == runs[1].stdout  # the seed rules it


def test_no_placeholder_is_left_and_every_linked_file_is_there():
    assert not re.search(r"^[A-Z_]{4,}$", README, re.M)
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert link.startswith("http") or (ROOT / link).exists(), link


def test_the_tree_names_every_room():
    tree = README.partition("## The house")[2].partition("## Cite")[0]
    rooms = [path.name for path in (ROOT / "sear").glob("*.py") if path.name != "__init__.py"]
    assert set(re.findall(r"\b\w+\.py\b", tree)) == {*rooms, "custom_trainer.py"}


def test_every_command_line_that_it_shows_is_understood(tmp_path):
    shown = re.findall(r"^python custom_trainer\.py(.*?)(?:  #.*)?$", README, re.M)
    assert len(shown) > 8
    for words in shown:
        for place, value in {"=N": "=1", "RUN_DIR": str(tmp_path), "any_key=value": "epochs=1"}.items():
            words = words.replace(place, value)
        if not re.search("my.yaml|mydata", words):  # files of the reader's own
            parse(shlex.split(words))


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    """The folder of the reports on docs/results, with the one figure that is shown."""
    folder = tmp_path_factory.mktemp("frozen")
    with pytest.MonkeyPatch.context() as patch:
        for other in ("group_bars", "learning_curves", "quality_by_cost"):
            patch.setattr(figures, other, lambda *_: None)
        for cells in (ROOT / "docs" / "results").iterdir():
            if cells.is_dir():
                make_report([cells], folder / cells.name)
    return folder


def test_its_tables_of_results_are_made_of_the_frozen_cells(frozen):
    shown = dict(re.findall(r"^<!-- (\S+) -->\n((?:\|.*\n)+)", README, re.M))
    assert len(shown) == len(re.findall(r"^\| model ", README, re.M)) > 4
    for name, table in shown.items():
        made = re.findall(r"^\|.*\n", (frozen / f"{name}.md").read_text(encoding="utf-8"), re.M)
        if name.endswith("significance"):  # the tests on the main metric stand for all
            made = [line for place, line in enumerate(made) if place < 2 or "NDCG@10" in line]
        assert table == "".join(made), name


def test_its_figure_of_results_is_made_of_the_frozen_cells(frozen):
    name = "ml-100k-effects.svg"
    shown, made = (
        (folder / name).read_text(encoding="utf-8") for folder in (ROOT / "docs" / "results", frozen / "models")
    )
    words, marks = r"<text[^>]*>([^<]*)", r'<use [^>]*x="([\d.]+)" y="([\d.]+)"'
    assert re.findall(words, shown) == re.findall(words, made)
    assert len(re.findall(marks, shown)) > 10
    assert re.findall(r"<use [^>]*(--c\d)", shown) == re.findall(r"<use [^>]*(--c\d)", made)
    assert np.array(re.findall(marks, shown), float) == pytest.approx(np.array(re.findall(marks, made), float), abs=0.2)
