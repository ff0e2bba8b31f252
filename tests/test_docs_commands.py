"""Every command that README and docs/ show is understood: programs, options, names, values."""

import importlib
import re
import shlex
import sys
from importlib.metadata import version
from types import SimpleNamespace

import pytest
import yaml
from torch.distributed.run import get_args_parser as torchrun_parser

from sear.atomic_files.__main__ import parser as converter_parser
from sear.cli.arguments import FLAGS, LISTS, PLACE, RUNS, is_sear, parse
from sear.cli.serve import parser as serve_parser
from sear.cli.tune import parser as search_parser
from sear.errors import InputError
from sear.report import __main__ as report
from sear.runs.grid import plan_runs
from sear.settings.checks import check_settings
from sear.settings.gather import find_data, find_model, gather_settings, own_files, rules_of
from tests.helpers.config_folder import copy_config
from tests.helpers.doc_pages import PAGES, ROOT, blocks, inline_code, page_text, shell_commands

README = page_text(ROOT / "README.md")
BENCHMARKS = "run|profile|gpu|tied_events|warm_start|new_items|recommend|serve_load|rectools|shop_walk|large_data"
CAMPAIGNS = "kills|ranks|mutated_inputs"
SETUP = r"python3 -m venv \.venv"
SERVE_PACKAGES = {"fastapi", "uvicorn", "prometheus-client"}
PACKAGES = SERVE_PACKAGES | {
    "recbole==1.2.1",
    "wandb",
    "pyarrow",
    "optuna",
    "psycopg",
}  # that a page may install by name


@pytest.fixture
def readers_files(tmp_path, monkeypatch):
    """A config folder that also has what the pages tell the reader to write, and a run folder; {word: path}."""
    config = copy_config(tmp_path, monkeypatch)
    (config / "data" / "mydata.yaml").write_text(
        "load_col: {inter: [user_id, item_id, timestamp], item: [item_id, title]}"
    )
    (small,) = (block.text for block in blocks("yaml") if "model: SEAR\n" in block.text)
    (config / "model" / "SEAR-small.yaml").write_text(small)
    for block in (*blocks("python"), *blocks("yaml")):
        if head := re.match(r"# (my_model\.py|CosineSEAR\.yaml)\n", block.text):
            (tmp_path / head[1]).write_text(block.text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_model", raising=False)
    (tmp_path / "my.yaml").write_text("learning_rate: 0.002\n")
    return {"my.yaml": str(tmp_path / "my.yaml"), "RUN_DIR": str(tmp_path), "=N": "=1", "any_key=value": "epochs=1"}


def check_trainer(words, readers_files):
    """What custom_trainer.py checks before it works: words, names, keys and values of every run."""
    for place, value in readers_files.items():
        words = words.replace(place, value)
    request = parse(shlex.split(words))
    if request.help or request.resume or request.evaluate:
        return
    for run in plan_runs(request.datasets, request.models, request.seeds or [1], request.ablations, is_sear):
        overrides = request.overrides_of(run)
        check_settings(gather_settings(run.dataset, run.model, request.config_files, overrides, PLACE))


def check_search(words, readers_files):
    """What sear tune checks before it works: its options, the settings of all trials."""
    asked, others = search_parser("sear tune").parse_known_args(shlex.split(words))
    names = {"dataset": asked.dataset, "model": asked.model, "seed": asked.seed}
    told = [f"--{key}={name}" for key, name in names.items() if name is not None]
    check_trainer(shlex.join([*told, *others]), readers_files)


def check_torchrun(words, readers_files):
    """What torchrun takes, and what it starts."""
    asked = torchrun_parser().parse_args(shlex.split(words))
    assert asked.training_script == "custom_trainer.py"
    check_trainer(shlex.join(asked.training_script_args), readers_files)


def check_pip(words):
    for word in shlex.split(words):
        if word.endswith(".txt"):
            assert (ROOT / word).is_file(), word
        elif word not in ("-q", "-r", "-e", ".", "--no-deps", "--no-build-isolation"):
            assert word in PACKAGES, word


def check_pytest(words):
    options = shlex.split(words)
    markers = " ".join(page_text(ROOT / "pyproject.toml").partition("markers = [")[2].partition("]")[0].split())
    for before, word in zip(["", *options], options, strict=False):
        if before == "-m":
            assert f'"{word}:' in markers, word
        else:
            assert word in ("-q", "-m", "-n", "auto") or (ROOT / word).is_file(), word


def check_report(words, monkeypatch):
    monkeypatch.setattr(report, "_done", lambda options, _: " ".join(options.paths))
    assert report.main(shlex.split(words)) == 0
    for path in shlex.split(words):
        assert path.startswith(("--", "results/")) or path == "RESULTS" or (ROOT / path).is_dir(), path


def check_use(name, words):
    module = importlib.import_module(f"sear.cli.{name}")
    module.parser().parse_args(shlex.split(words))


def check_by_hand(folder, name, words):
    source = page_text(ROOT / folder / f"{name}.py")
    own = [option for option in re.findall(r"--\w+", words) if f'add_argument("{option}"' in source]
    others = [word for word in shlex.split(words) if word[:2] == "--" and word.partition("=")[0] not in own]
    assert not others or "parse_known_args" in source, others
    parse(others)  # settings of the training


def check(command, readers_files, monkeypatch):
    """Raises where the command would be refused; returns whether its program is known."""
    kinds = {
        r"(?:python|\.venv/bin/python) custom_trainer\.py ?(.*)": lambda words: check_trainer(words, readers_files),
        r"python -m sear\.atomic_files (.*)": lambda words: converter_parser().parse_args(shlex.split(words)),
        r"python -m sear\.statistics (\S+)": find_data,
        r"python -m sear (export|recommend|similar) (.*)": check_use,
        r"python -m sear serve (.*)": lambda words: serve_parser().parse_args(shlex.split(words)),
        r"python -m sear tune (.*)": lambda words: check_search(words, readers_files),
        r"torchrun (.*)": lambda words: check_torchrun(words, readers_files),
        r"python -m sear\.report (.*)": lambda words: check_report(words, monkeypatch),
        rf"python -m benchmarks\.({BENCHMARKS}) ?(.*)": lambda name, words: check_by_hand("benchmarks", name, words),
        rf"\.venv/bin/python -m tests\.campaigns\.({CAMPAIGNS}) ?(.*)": lambda name, words: check_by_hand(
            "tests/campaigns", name, words
        ),
        r"(?:\.venv/bin/)?pip install (.*)": check_pip,
        r"\.venv/bin/python -m pytest ?(.*)": check_pytest,
        r"\.venv/bin/ruff (?:check|format) \.": lambda: None,
        r"\.venv/bin/python -m mypy": lambda: None,
        SETUP: lambda: None,
        r"docker (?:build -t sear \.|run --rm -v \S+ sear ?(.*))": lambda words: check_trainer(
            words or "", readers_files
        ),
        r"bash (\S+)": lambda path: (ROOT / path).read_bytes(),
    }
    for pattern, action in kinds.items():
        if found := re.fullmatch(pattern, command):
            action(*found.groups())
            return True
    return False


def test_every_command_is_understood(readers_files, monkeypatch):
    monkeypatch.setattr("sear.settings.checks.find_spec", lambda name: SimpleNamespace(origin=name))  # installed above
    commands = shell_commands()
    assert len(commands) > 60
    for page, command in commands:
        try:
            assert check(command, readers_files, monkeypatch), f"{page}: what is {command}?"
        except (InputError, SystemExit) as error:
            pytest.fail(f"{page}: {command}: {error}")


@pytest.mark.parametrize(
    "command",
    [
        "python custom_trainer.py --epoch=2",
        "python custom_trainer.py --model=SASRec --learning_rate=fast",
        "python custom_trainer.py --dataset=ml-2m",
        "python -m sear.statistics ml-2m",
        "python -m sear.atomic_files ml-1m RAW_DIR --text_of=title",
        "python -m sear.report docs/results/models --baseline=SEAR",
        "python -m sear.report docs/outcomes",
        "python -m benchmarks.run --one scan",
        "pip install -r requirement.txt",
        "torchrun --processes=2 custom_trainer.py",
        "torchrun --nproc_per_node=2 custom_trainer.py --epoch=2",
        ".venv/bin/python -m pytest -q -m fast",
    ],
)
def test_a_wrong_command_would_show(command, readers_files, monkeypatch):
    with pytest.raises((InputError, SystemExit, AssertionError)):
        check(command, readers_files, monkeypatch)


def test_commands_in_prose_are_understood(readers_files, monkeypatch):
    found = [(page, code) for page, code in inline_code() if re.match(r"(python|pip|bash) [^`]*[./]", code)]
    assert len(found) > 5
    for page, code in found:
        words = re.sub(r"\bNAME RAW_DIR\b", "ml-1m RAW_DIR", code).replace("=NAME", "=SEAR")
        if not words.endswith(("sear.report", "sear.statistics", "sear.atomic_files")):  # programs, named as such
            assert check(words, readers_files, monkeypatch), f"{page}: {code}"


def options_of(text):
    return set(re.findall(r"--([\w-]+)", text))


def test_every_option_in_prose_exists(readers_files):
    known = {*LISTS, *RUNS, *FLAGS, "no-deps", "logdir"}
    known |= {option[2:] for option in torchrun_parser()._option_string_actions}
    for model in own_files("model"):
        known |= set(rules_of(find_model(model), model))
    for path in (
        "sear/report/__main__.py",
        "sear/atomic_files/command_line.py",
        "sear/cli/tune.py",
        "sear/cli/export.py",
        "sear/cli/recommend.py",
        "sear/cli/similar.py",
        "sear/cli/serve.py",
        "benchmarks/run.py",
        "benchmarks/large_data.py",
    ):
        known |= options_of(page_text(ROOT / path))
    for page, code in inline_code():
        assert options_of(code) <= known, f"{page}: {code}"
        if key := re.fullmatch(r"(\w+): \S.*", code):
            assert key[1] in known | {"key", "model"}, f"{page}: {code}"


def test_settings_in_prose_can_be_made(readers_files):
    """`key: value` and `--key=value` with values of their own, as SEAR or as the model that has the key."""
    for page, code in inline_code():
        found = re.fullmatch(r"(\w+): (\S.*)", code) or re.fullmatch(r"--(\w+)=(\S+)", code)
        if not found or found[1] in ("model", *LISTS, *RUNS) or re.fullmatch("[A-Z,]+", found[2]):
            continue
        rules = {key: rule for model in own_files("model") for key, rule in rules_of("SEAR", model).items()}
        if found[1] in rules:
            asked = None if ": " in code else parse([code])
            values = (
                asked.varied.get(found[1], [asked.overrides.get(found[1])]) if asked else [yaml.safe_load(found[2])]
            )
            assert all(map(rules[found[1]].accepts, values)), f"{page}: {code}"


def test_the_two_commands_stand_where_scripts_look_for_them():
    commands = {block.comment: block.text.strip() for block in blocks("") if block.comment.endswith(" command")}
    assert set(commands) == {"run command", "test command"}
    for kind, requirements in (("run", "requirements.txt"), ("test", "requirements-dev.txt")):
        first, packages, recbole, last = commands[f"{kind} command"].split(" && ")
        assert re.fullmatch(SETUP, first) and packages.endswith(f"-r {requirements}")
        assert recbole.endswith(f"--no-deps recbole=={version('recbole')}")
        assert last.startswith(".venv/bin/python ")
    script = "awk '/<!-- test command -->/ {found = 1}"
    assert script in page_text(ROOT / ".ci" / "run")


def test_the_container_installs_and_starts_what_the_readme_does():
    lines = re.sub(r"\\\n\s*", "", page_text(ROOT / "Dockerfile"))
    steps = [SimpleNamespace(word=line.split()[0], rest=line.partition(" ")[2]) for line in lines.splitlines() if line]
    assert f"pip install --no-deps recbole=={version('recbole')}" in lines
    users = [step.rest for step in steps if step.word == "USER"]
    assert users == ["1000"] and lines.index("USER 1000") < lines.index("ENTRYPOINT")
    assert steps[-1].word == "ENTRYPOINT" and yaml.safe_load(steps[-1].rest) == ["python", "custom_trainer.py"]
    ignored = [line for line in page_text(ROOT / ".dockerignore").splitlines()]
    assert not {"sear", "config", "dataset", "custom_trainer.py", "requirements.txt"} & set(ignored)


def test_the_workflow_runs_the_projects_script_on_every_python_named():
    workflow = yaml.safe_load(page_text(ROOT / ".github" / "workflows" / "ci.yml"))
    (job,) = workflow["jobs"].values()
    assert job["steps"][-1] == {"run": "bash .ci/run"}
    pythons = job["strategy"]["matrix"]["python"]
    lowest, highest = re.search(r"Python (3\.\d+) to (3\.\d+)", README).groups()
    assert (pythons[0], pythons[-1]) == (lowest, highest) and len(pythons) == 5
    assert all(isinstance(name, str) for name in pythons)  # 3.10 as a number would be 3.1
    image = re.search(r"^FROM python:(3\.\d+)", page_text(ROOT / "Dockerfile"), re.M)[1]
    assert image in pythons


def test_the_citation_is_the_papers():
    cited = yaml.safe_load(page_text(ROOT / "CITATION.cff"))["preferred-citation"]
    bibtex = next(block.text for block in blocks("bibtex"))
    assert cited["doi"] in bibtex and cited["doi"] in README
    assert cited["title"] == re.search(r"title += \{(.*)\},", bibtex)[1].replace("{", "").replace("}", "")
    assert str(cited["year"]) in bibtex and cited["collection-title"] in bibtex


def test_pages_are_all_read():
    assert {path.name for path in PAGES} >= {"README.md", "results.md", "recipes.md", "CONTRIBUTING.md"}
