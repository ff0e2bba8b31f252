"""README, docs/ and the project's files: links, names, code blocks and facts are right as they stand."""

import os
import re
import subprocess
import sys
from pkgutil import resolve_name

import pytest
import yaml

from sear.settings.published import DATA_SETS
from tests.helpers.doc_pages import PAGES, ROOT, blocks, inline_code, is_shell, page_name, page_text
from tests.test_import_order import ORDER

README = page_text(ROOT / "README.md")
TOY = {
    "hidden_size": 8, "num_layers": 1, "num_heads": 2, "d_state": 4, "MAX_ITEM_LIST_LENGTH": 10,
    "use_gpu": False, "show_progress": False, "epochs": 1,
}  # fmt: skip
MADE_BY_THE_READER = {"mydata", "SEAR-small", "SEAR-other", "my_report"}  # names that stand for files of the reader's
PRIVATE_WORDS = r"\brooms?\b|\bpeers?\b|\btold apart\b|\bhistory left out\b|\bfrozen cells?\b|\bthe cells\b"


def test_the_readme_is_one_page():
    assert len(README.splitlines()) <= 150


def test_no_placeholder_is_left_and_the_words_are_those_of_the_field():
    for path in PAGES:
        text = page_text(path)
        assert not re.search(r"^[A-Z_]{4,}$|TODO|FIXME", text, re.M), path
        assert not re.search(PRIVATE_WORDS, text, re.I), path


def test_every_linked_file_and_heading_is_there():
    others = [ROOT / folder / "README.md" for folder in ("benchmarks", "dataset", "all-mpnet-base-v2")]
    for path in (*PAGES, *others):
        for link in re.findall(r"\]\(([^)]+)\)|src=\"([^\"]+)\"", page_text(path)):
            link = "".join(link)
            file, _, heading = link.partition("#")
            target = (path.parent / file).resolve() if file else path
            assert link.startswith("http") or target.exists(), f"{path}: {link}"
            if heading and not link.startswith("http"):
                heads = re.findall(r"^#+ (.*)$", page_text(target), re.M)
                assert heading in [re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads], link


def test_the_readme_links_every_page():
    for path in PAGES:
        assert path.name == "README.md" or f"]({page_name(path)})" in README, path


def test_the_tree_names_what_lies_at_the_top():
    (tree,) = (block.text for block in blocks("") if block.text.startswith("custom_trainer.py "))
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git checkout")
    folders = {line.partition("/")[0] + "/" for line in listed.stdout.splitlines() if "/" in line}
    hidden = {name for name in folders if name.startswith(".")}
    assert set(re.findall(r"^(\S+)", tree, re.M)) == folders - hidden | {"custom_trainer.py"}


def test_the_architecture_names_every_module_in_its_folder():
    text = page_text(ROOT / "docs" / "architecture.md")
    sections = dict(re.findall(r"^## `(sear/\S*)`\n(.*?)(?=^## |\Z)", text, re.M | re.S))
    folders = {path.parent for path in (ROOT / "sear").rglob("*.py")}
    assert set(sections) == {f"{folder.relative_to(ROOT)}/" for folder in folders}
    for name, section in sections.items():
        modules = {path.name for path in (ROOT / name).glob("*.py") if not path.name.startswith("__")}
        assert set(re.findall(r"^\| `(\w+\.py)` \|", section, re.M)) == modules, name


def test_the_order_of_imports_is_the_one_that_is_tested():
    (shown,) = (block.text for block in blocks("") if block.text.startswith("errors"))
    there = {path.stem for path in (ROOT / "sear").iterdir()}
    made = [[name for name in names if name in there] for names in ORDER]
    assert [line.split(", ") for line in shown.splitlines()] == [names for names in made if names]


def test_every_file_and_object_that_prose_names_is_there():
    for page, code in inline_code():
        path = re.fullmatch(r"(?:sear|tests|config|docs|benchmarks|dataset|\.github|\.ci)/[\w./*-]+", code)
        made_up = re.search(r"NAME|DATASET|MODEL", code) or any(name in code for name in MADE_BY_THE_READER)
        if path and not made_up:
            assert list(ROOT.glob(code.rstrip("/"))), f"{page}: {code}"
        if dotted := re.match(r"(sear(?:\.(?!py$)[A-Za-z_]+)+)(?:\(|$)", code):
            resolve_name(dotted[1])


def test_the_table_of_data_sets_is_what_the_converter_compares_with():
    text = page_text(ROOT / "docs" / "data.md")
    shown = re.findall(r"^\| `([a-z]\S*)` \| (.*?) \| (\S+) \| (\S+) \| (\S+) \| (.*) \|$", text, re.M)
    assert [name for name, *_ in shown] == [data.name for data in DATA_SETS]
    for (name, folder, *counts, texts), data in zip(shown, DATA_SETS, strict=True):
        assert counts == [f"{count:,}" for count in (data.users, data.items, data.interactions)]
        assert folder.startswith(data.folder) or name == "ml-100k"
        settings = yaml.safe_load(page_text(ROOT / "config" / "data" / f"{name}.yaml"))
        assert texts.split(", ") == settings["load_col"]["item"][1:]


def test_bare_blocks_are_commands_trees_or_named_samples():
    trees = ("custom_trainer.py ", "dataset/\n", "all-mpnet-base-v2/\n", "results/summary.csv", "errors")
    for block in blocks(""):
        assert is_shell(block) or block.text.startswith(trees) or block.comment.startswith("sample of: "), block


def python(script, folder, **variables):
    """Run Python code from the project's root; returns what it printed."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])} | variables
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def toy(script, folder):
    """The script at toy size, its checkpoints in `folder`."""
    words = "".join(f'"{key}": {value!r}, ' for key, value in (TOY | {"checkpoint_dir": str(folder)}).items())
    assert script.count('"epochs": 2') == 1
    return script.replace('"epochs": 2', words)


def plain_script():
    (script,) = (block.text for block in blocks("python") if "SEARTrainer" in block.text and block.text[0] != "#")
    return script


@pytest.mark.long
def test_the_plain_recbole_script_runs(tmp_path):
    script = plain_script()
    printed = [python(toy(script, tmp_path), tmp_path) for _ in range(2)]
    assert "hit@10" in printed[0] and printed[0] == printed[1]  # the seed rules it


@pytest.mark.long
def test_the_snippets_with_run_sear_run(tmp_path):
    shown = {block.text for block in blocks("python") if "run_sear" in block.text}
    shown = {text for text in shown if "my_model" not in text}
    assert {block.page for block in blocks("python") if block.text in shown} == {"README.md", "docs/python.md"}
    words = ", ".join(f"{key}={value!r}" for key, value in (TOY | {"results_path": str(tmp_path)}).items())
    for script in shown:
        assert script.count("epochs=2") == 1
        printed = python(script.replace("epochs=2", words), tmp_path)
        assert re.search(r"^\{'hit@10': .*\} \S+seed2020\S*$", printed, re.M)


RECIPES = """
from my_loss import SampledSEAR
from sear import run_sear
from sear.quick_start import evaluate
ours, own = run_sear(model=SampledSEAR, **{toy!r}), {result}
print("loss", ours["class"], ours["test"])
print("model", own["class"], own["test"] == evaluate(own["run_folder"])["test"])
"""


@pytest.mark.long
def test_the_recipes_run(tmp_path):
    """Own model with its YAML, own loss, own vectors: the files of docs/recipes.md, and its command and script."""
    files = {}
    for block in (*blocks("python"), *blocks("yaml")):
        if head := re.match(r"# ((?:my_\w+|CosineSEAR|train_my_model)\.(?:py|yaml))\n", block.text):
            files[head[1]] = block.text
    assert set(files) == {"my_model.py", "CosineSEAR.yaml", "train_my_model.py", "my_loss.py", "my_vectors.py"}
    for name, text in files.items():
        (tmp_path / name).write_text(text.replace('"my_vectors.npz"', repr(str(tmp_path / "my_vectors.npz"))))
    words = TOY | {"results_path": str(tmp_path / "results")}
    script = files["train_my_model.py"].replace(
        "epochs=2", ", ".join(f"{key}={value!r}" for key, value in words.items())
    )
    call = re.search(r"^result = (.*)$", script, re.M)[1]
    printed = python("from my_model import CosineSEAR" + RECIPES.format(toy=words, result=call), tmp_path)
    assert re.search(r"^loss my_loss:SampledSEAR \{'hit@10'", printed, re.M)
    assert re.search(r"^model my_model:CosineSEAR True$", printed, re.M)
    (folder,) = (tmp_path / "results" / "ml-100k" / "my_model.CosineSEAR").iterdir()
    settings = yaml.safe_load(page_text(folder / "config.yaml"))
    assert (settings["user_norm"], settings["streams"]) == (10.0, ["semantic", "collaborative"])


@pytest.mark.long
def test_the_recipe_of_ready_vectors_runs(tmp_path):
    (vectors,) = (block.text for block in blocks("python") if block.text.startswith("# my_vectors.py"))
    file = str(tmp_path / "my_vectors.npz")
    (tmp_path / "my_vectors.py").write_text(vectors.replace('"my_vectors.npz"', repr(file)))
    ids, numbers = "[str(i) for i in range(1, 1683)]", "np.random.default_rng(0).standard_normal((1682, 32))"
    python(f"import numpy as np; np.savez({file!r}, item_id=np.array({ids}), vector={numbers})", tmp_path)
    script = toy(plain_script(), tmp_path).replace("sear.dataset import", "my_vectors import MyVectors as")
    printed = python(script + 'print("width", model.item_text_VE.shape[1])', tmp_path)
    assert printed.splitlines()[-1] == "width 32"


@pytest.mark.long
def test_the_sample_of_the_output_is_what_the_command_prints(tmp_path):
    (sample,) = (block for block in blocks("") if block.comment.startswith("sample of: "))
    first, *lines = sample.text.splitlines()
    command = sample.comment.removeprefix("sample of: ")
    assert first == f"$ {command}"
    words = [sys.executable, *command.split()[1:], f"--results_path={tmp_path}", "--use_gpu=False"]
    printed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    shape = re.compile(r"\d+\.\d+|\s*\*$|(?:data|results|run) folder: .*")
    number = re.compile(r"\d+\.\d{4}")
    for line in (line for line in lines if line):
        like = [other for other in printed if shape.sub("#", other) == shape.sub("#", line)]
        assert like, f"nothing printed is like: {line}"
        numbers = [[float(value) for value in number.findall(text)] for text in (line, like[0])]
        assert numbers[0] == pytest.approx(numbers[1], abs=0.03), line  # other processors round otherwise
