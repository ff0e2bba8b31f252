"""The text of --help: what can be asked for, and every key with the words of its YAML comment."""

import shutil
import textwrap
from collections.abc import Iterable, Iterator

from sear.files import COMMAND, shown
from sear.settings.gather import find_model, model_files, own_files, recbole_yaml, rules_of, sear_yaml
from sear.settings.known_models import OWN_MODELS, PARTS, recbole_models
from sear.settings.rules import Rule, dump_value, read_rules

PROGRAM = " ".join(COMMAND)
USAGE = f"""\
SEAR: sequential recommendation from collaborative, semantic and rating information.

{PROGRAM:<48}  trains, tests and reports SEAR on ml-100k
{PROGRAM + " --key=value [...]":<48}  the same with other settings
{PROGRAM + " --resume=RUN_FOLDER":<48}  goes on with a run that was stopped
{PROGRAM + " --evaluate=RUN_FOLDER":<48}  tests a run's best checkpoint again, also by other --topk,
{"":<48}  --metrics, or with --mask_history=True

A run leaves its folder in results/DATASET/MODEL/. Several data sets, models, seeds, ablations or values of a key that
holds one (--learning_rate=0.001,0.003) make a grid: each run in turn, an unfinished one resumed, a finished one left as
it is (delete the folder to run it again), then a report.

Stronger settings come later: RecBole's own, config/model/MODEL.yaml, config/data/NAME.yaml, the files of --config, the
command line. Values are YAML: 1e-3, True, ~ for none, [5, 10]; lists and texts with spaces or brackets want quotes from
the shell."""
OPTIONS = {
    "dataset=NAME[,NAME]": "data sets (ml-100k)",
    "model=NAME[,NAME]": "models (SEAR); MODULE:CLASS is one of your own, docs/recipes.md tells how",
    "seed=N[,N]": "seeds",
    "ablate=NAME[,NAME]": f"parts that SEAR is also run without, one at a time: {', '.join(PARTS)}",
    "config=FILE[,FILE]": "extra YAML files, such as a run's config.yaml",
    "device=cpu|cuda|cuda:N": "where to compute (a GPU, where there is one)",
    "debug": "shows where an error arose",
    "help": "this text; with --model=NAME also that model's keys",
}


def help_text(models: Iterable[str] = ("SEAR",)) -> str:
    """Everything the command line understands, for these models."""
    sections = [USAGE, "Options\n" + "\n".join(_entry(f"--{key}", meaning) for key, meaning in OPTIONS.items())]
    sections.append(_entry("Data sets", ", ".join(own_files("data"))))
    sections.append(_entry("Models", ", ".join(own_files("model"))))
    sections.append(_entry("  of RecBole", ", ".join(name for name in recbole_models() if name not in OWN_MODELS)))
    told: dict[str, Rule] = {}
    for title, rules, stronger in _books(["SEAR", *models]):
        fresh = [
            rule for key, rule in rules.items() if key not in told or stronger and rule.default != told[key].default
        ]
        told = rules | told
        if fresh:
            sections.append("\n".join([title, *(_explained(rule) for rule in fresh)]))
    return "\n\n".join(sections)


def _books(models: Iterable[str]) -> Iterator[tuple[str, dict[str, Rule], bool]]:
    """(title, rules, whether its values hold against those before) of every YAML file that explains keys."""
    for name in dict.fromkeys(models):
        class_name = find_model(name)
        for path in [sear_yaml()] * (name == "SEAR") + model_files(class_name, name):
            rules = read_rules(path)
            rules.pop("model", None)  # the class behind the name, no key
            yield f"Keys of {shown(path)}", rules, True
        if file := recbole_yaml(class_name):
            yield f"Keys of RecBole's {file.stem}", read_rules(file), False
    yield "Keys of RecBole", rules_of("SEAR", "SEAR"), False


def _explained(rule: Rule) -> str:
    return _entry(f"--{rule.key}={dump_value(rule.default)}", f"({rule.allowed}) {rule.meaning}")


def _entry(head: str, text: str, indent: int = 38) -> str:
    """Two columns, the second one wrapped; a long head has a line of its own."""
    width = max(80, min(120, shutil.get_terminal_size().columns))
    lines = textwrap.wrap(text, width - indent, break_on_hyphens=False) or [""]
    head = f"  {head}"
    first = [] if len(head) < indent else [head]
    start = "" if first else head
    return "\n".join([*first, start.ljust(indent) + lines[0], *(" " * indent + line for line in lines[1:])]).rstrip()
