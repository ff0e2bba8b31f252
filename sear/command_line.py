"""The command line, RecBole's way: `--key=value`; comma lists of data sets, models and seeds run in turn.

Everything that can be wrong is found before anything heavy is imported. Values are read as YAML, never evaluated.
"""

import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from sear.errors import InputError
from sear.setting_checks import check_settings
from sear.setting_rules import Rule, load_yaml, read_settings
from sear.settings import PROJECT_ROOT, find_data, find_model, gather_settings, nearest, rules_of

PLACE = "command line"
FLAGS = ("help", "debug")
LISTS = ("dataset", "model", "seed", "config")  # names, commas separate
RUNS = ("resume", "evaluate")


@dataclass
class Request:
    """What one command line asks for."""

    datasets: list[str] = field(default_factory=lambda: ["ml-100k"])
    models: list[str] = field(default_factory=lambda: ["SEAR"])
    seeds: list[int] = field(default_factory=list)  # none: the configuration's own
    config_files: list[Path] = field(default_factory=list)
    overrides: dict[str, Any] = field(default_factory=dict)
    resume: Path | None = None
    evaluate: Path | None = None
    help: bool = False
    debug: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line asks. Returns the exit code: 0 done, 2 a user's mistake, 130 stopped by Ctrl-C."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        _obey(parse(argv))
    except (InputError, OSError) as error:
        if "--debug" in argv:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)  # a run that can go on has said how
        return 130
    return 0


def _obey(request: Request) -> None:
    if request.help:
        from sear.help_text import help_text

        print(help_text(request.models))
    elif request.resume or request.evaluate:
        print(f"SEAR: {request.resume or request.evaluate}", flush=True)
        from sear.quick_start import evaluate, resume

        (resume if request.resume else evaluate)(request.resume or request.evaluate)
    else:
        _run_in_turn(request)


def _run_in_turn(request: Request) -> None:
    pairs = list(product(request.datasets, request.models))
    overrides = {model: _overrides_of(request, model) for model in request.models}
    runs = []
    for dataset, model in pairs:
        settings = gather_settings(dataset, model, request.config_files)
        settings.put(overrides[model], PLACE)
        check_settings(settings)
        runs += [(dataset, model, seed) for seed in request.seeds or [settings.get("seed")]]
    print(_sign_of_life(*runs[0]), flush=True)  # what follows imports torch, which takes seconds
    from sear.configuration import build_config
    from sear.quick_start import run_sear

    for dataset, model in pairs:  # now with RecBole's own checks, and the last data set's files before the first run
        build_config(dataset, model, overrides[model], request.config_files, PLACE)
    for number, (dataset, model, seed) in enumerate(runs):
        if number:
            print(_sign_of_life(dataset, model, seed), flush=True)
        run_sear(dataset, model, request.config_files, **overrides[model] | {"seed": seed})


def _sign_of_life(dataset: str, model: str, seed: int) -> str:
    return f"{model}: {dataset}, seed {seed}"


def _overrides_of(request: Request, model: str) -> dict[str, Any]:
    """With several models asked for, each takes the keys it knows."""
    known = rules_of(find_model(model), model)
    return {key: value for key, value in request.overrides.items() if key in known}


def parse(argv: Iterable[str]) -> Request:
    """The request behind `--key=value` words. Raises InputError for what cannot be understood."""
    texts: dict[str, str | None] = {}
    flags: set[str] = set()
    for word in argv:
        key, equals, text = word.removeprefix("--").partition("=")
        if word in ("-h", "--help", "--debug"):
            flags.add("help" if word == "-h" else key)
        elif not word.startswith("--") or not key:
            raise InputError(f"{PLACE}: {word!r} is no setting - write --key=value, without spaces; --help explains")
        elif key in FLAGS:
            raise InputError(f"{PLACE}: --{key} takes no value - write --{key}")
        elif key in texts:
            raise InputError(f"{PLACE}: --{key} stands twice - remove one of them")
        else:
            texts[key] = text if equals else None
    return _request(texts, flags)


def _request(texts: dict[str, str | None], flags: set[str]) -> Request:
    request = Request(help="help" in flags, debug="debug" in flags)
    for key in RUNS:
        if key in texts:
            setattr(request, key, _run_folder(key, texts.pop(key)))
            if texts:
                raise InputError(f"{PLACE}: --{key} takes a run as it is - remove --{next(iter(texts))}")
            return request
    names = {key: _names(key, texts.pop(key)) for key in LISTS if key in texts}
    request.config_files = [_config_file(name) for name in names.get("config", [])]
    told = {}
    for path in request.config_files:
        told |= read_settings(path)[0]
    for key in ("dataset", "model"):
        if isinstance(told.get(key), str):
            names.setdefault(key, [told.get("model_name", told[key]) if key == "model" else told[key]])
    request.datasets, request.models = names.get("dataset", request.datasets), names.get("model", request.models)
    for name in request.datasets:
        find_data(name)
    rules: dict[str, Rule] = {}
    for name in request.models:
        rules |= rules_of(find_model(name), name)
    request.seeds = [_seed(text, rules["seed"]) for text in names.get("seed", [])]
    request.overrides = {key: _value(key, text, rules) for key, text in texts.items()}
    return request


def _names(key: str, text: str | None) -> list[str]:
    names = [name.strip() for name in (text or "").split(",")]
    if not all(names):
        raise InputError(f"{PLACE}: --{key} has no value, or an empty one - write --{key}=VALUE")
    if len(set(names)) < len(names):
        raise InputError(f"{PLACE}: --{key}={text} names one entry twice - remove one of them")
    return names


def _seed(text: str, rule: Rule) -> int:
    if not (text.isascii() and text.isdigit() and rule.accepts(int(text))):
        raise InputError(f"{PLACE}: seed is {text!r}, not {rule.allowed} - for example --seed={rule.default}")
    return int(text)


def _value(key: str, text: str | None, rules: dict[str, Rule]) -> Any:
    """A word's value in the type its key may hold; a key that holds text takes the word as it stands."""
    if key not in rules:
        hint = nearest(key, [*rules, *LISTS, *RUNS, *FLAGS])
        raise InputError(f"{PLACE}: unknown key {key}{hint} - --help lists the keys")
    rule = rules[key]
    if not text:
        if text is None and rule.accepts(True) and rule.allowed != "anything":
            return True
        raise InputError(f"{PLACE}: --{key} has no value - write --{key}=VALUE, without spaces; ~ is none")
    try:
        value = load_yaml(text)
    except yaml.YAMLError:
        return text  # such as [5,inf), or @home
    quoted = text[0] in "\"'" and isinstance(value, str)
    return text if rule.text_only and not quoted and not (value is None and rule.accepts(None)) else value


def _run_folder(key: str, text: str | None) -> Path:
    for path in (Path(text), PROJECT_ROOT / text) if text else ():
        if path.is_dir():
            return path
    raise InputError(f"{PLACE}: {key} is {text!r}, no run folder - name one: results/DATASET/MODEL/RUN_ID")


def _config_file(name: str) -> Path:
    return next((path for path in (Path(name), PROJECT_ROOT / name) if path.is_file()), Path(name))
