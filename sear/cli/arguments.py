"""What a command line asks for: `--key=value` words, read as YAML, never evaluated; checked without anything heavy."""

import os
import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from sear.errors import InputError
from sear.files import PROJECT_ROOT, shown
from sear.runs.grid import PlannedRun, Variant
from sear.settings.gather import SEAR_KEYS, family_of, find_data, find_model, has_user_vectors, nearest, rules_of
from sear.settings.keys import MEASURED, Role, with_role
from sear.settings.known_models import PARTS
from sear.settings.rules import Rule, dump_value, is_unicode, load_yaml, read_settings

PLACE = "command line"
FLAGS = ("help", "debug")
LISTS = ("dataset", "model", "seed", "ablate", "config")  # names, commas separate
RUNS = ("resume", "evaluate")
NOT_OF_THE_RESULT = ("threads", "use_gpu", "gpu_id", "device", "show_progress")
# of these, two values make no two runs that a report could compare
ONE_VALUE = with_role(Role.NAME | Role.DATA | Role.ADDS_METRICS | Role.PLACE | Role.UNUSED)
OF_A_RUN = {"resume": NOT_OF_THE_RESULT, "evaluate": (*NOT_OF_THE_RESULT, *MEASURED)}  # what may be asked for with each


@dataclass
class Request:
    """What one command line asks for."""

    datasets: list[str] = field(default_factory=lambda: ["ml-100k"])
    models: list[str] = field(default_factory=lambda: ["SEAR"])
    seeds: list[int] = field(default_factory=list)  # none: the configuration's own
    ablations: list[str] = field(default_factory=list)
    config_files: list[Path] = field(default_factory=list)
    overrides: dict[str, Any] = field(default_factory=dict)
    varied: dict[str, list[Any]] = field(default_factory=dict)  # the values of which each makes runs of its own
    resume: Path | None = None
    evaluate: Path | None = None
    help: bool = False
    debug: bool = False
    words: list[str] = field(default_factory=list)  # as they came

    def models_without_key(self) -> dict[str, list[str]]:
        """key -> the models asked for that do not know it and run without it, for every such key."""
        known = {name: _known_rules(name, self.config_files) for name in self.models}
        asked = [*self.overrides, *self.varied]
        found = {key: [name for name in self.models if key not in known[name]] for key in asked}
        return {key: names for key, names in found.items() if names}

    def overrides_of(self, planned: PlannedRun) -> dict[str, Any]:
        """One run's overrides; with several models asked for, each takes the keys it knows."""
        known = _known_rules(planned.model, self.config_files)
        own = {key: value for key, value in self.overrides.items() if key in known} | dict(planned.variant)
        own |= {"seed": planned.seed} if self.seeds else {}
        return own | ({"ablate": planned.ablate} if planned.ablate else {})

    def variants_of(self, model: str) -> list[Variant]:
        """Every combination of the varied keys that the model knows."""
        known = _known_rules(model, self.config_files)
        varied = [[(key, value) for value in values] for key, values in self.varied.items() if key in known]
        return list(product(*varied))


def parse(argv: Iterable[str]) -> Request:
    """The request behind `--key=value` words. Raises InputError for what cannot be understood."""
    texts: dict[str, str | None] = {}
    flags: set[str] = set()
    words = list(argv)
    if not is_unicode(words):
        odd = next(word for word in words if not is_unicode(word))
        raise InputError(f"{PLACE}: {odd!r} is no text in UTF-8 - rename the file or folder")
    left = deque(words)
    while left:
        word = left.popleft()
        key, equals, text = word.removeprefix("--").partition("=")
        if word.startswith("--") and key and not equals and key not in FLAGS and left and not left[0].startswith("--"):
            equals, text = "=", left.popleft()  # --key value
        if word in ("-h", "--help", "--debug"):
            flags.add("help" if word == "-h" else key)
        elif not word.startswith("--") or not key:
            raise InputError(f"{PLACE}: {word!r} is no setting - write --key=value or --key value; --help explains")
        elif key in FLAGS:
            raise InputError(f"{PLACE}: --{key} takes no value - write --{key}")
        elif key in texts:
            raise InputError(f"{PLACE}: --{key} stands twice - remove one of them")
        else:
            texts[key] = text if equals else None
    request = _request(texts, flags)
    request.words = words
    return request


def _request(texts: dict[str, str | None], flags: set[str]) -> Request:
    request = Request(help="help" in flags, debug="debug" in flags)
    for key in RUNS:
        if key in texts:
            setattr(request, key, _run_folder(key, texts.pop(key)))
            for other in texts:
                if other not in OF_A_RUN[key]:
                    known = ", ".join(f"--{name}" for name in OF_A_RUN[key])
                    raise InputError(f"{PLACE}: --{key} takes a run as it is, with {known} - remove --{other}")
            known_keys = rules_of("SEAR", "SEAR")
            request.overrides = {other: _value(other, text, known_keys) for other, text in texts.items()}
            return request
    names = {key: _names(key, texts.pop(key)) for key in LISTS if key in texts}
    request.config_files = [_config_file(name) for name in names.get("config", [])]
    place_of_seed = PLACE if "seed" in names else "--config"
    names = _named_in(request.config_files) | names
    request.datasets, request.models = names.get("dataset", request.datasets), names.get("model", request.models)
    for name in request.datasets:
        find_data(name)
    rules: dict[str, Rule] = {}
    for name in request.models:
        rules |= _known_rules(name, request.config_files)
    request.ablations = names.get("ablate", [])
    for part in request.ablations:
        if part not in PARTS:
            raise InputError(f"{PLACE}: unknown part {part}{nearest(part, PARTS)} - choose from {', '.join(PARTS)}")
    if request.ablations and not any(map(is_sear, request.models)):
        raise InputError(f"{PLACE}: --ablate takes parts out of SEAR - add SEAR to --model, or remove --ablate")
    request.seeds = [_seed(text, rules["seed"], place_of_seed) for text in names.get("seed", [])]
    if len(set(request.seeds)) < len(request.seeds):
        raise InputError(f"{PLACE}: --seed={','.join(names['seed'])} names one seed twice - remove one of them")
    for key, text in texts.items():
        values = [_value(key, part, rules) for part in _parts(key, text, rules)]
        if len(values) > 1:
            if any(isinstance(value, dict | list) for value in values):
                raise InputError(f"{PLACE}: --{key}={text} is a list of lists or mappings - write one run for each")
            request.varied[key] = values
        else:
            request.overrides[key] = values[0]
    return request


def _named_in(config_files: Iterable[Path]) -> dict[str, list[str]]:
    """What the files say of data set, model and seed, the last one that does: one of them, or a list of several.

    A single seed is left to the settings, as every other value is.

    Raises:
        InputError: something else stands there.
    """
    found: dict[str, list[str]] = {}
    for path in config_files:
        values, lines = read_settings(path)
        if isinstance(values.get("model"), str) and "model_name" in values:  # the config.yaml of a run
            values["model"] = values["model_name"]
        for key, kind, what in (("dataset", str, "name"), ("model", str, "name"), ("seed", int, "whole number")):
            if values.get(key) is None:
                continue
            entries = values[key] if isinstance(values[key], list) else [values[key]]
            place = f"{shown(path)}, line {lines[key]}" if key in lines else shown(path)
            if not entries or not all(type(entry) is kind and str(entry).strip() for entry in entries):
                remedy = f"write {key}: ONE or {key}: [ONE, ANOTHER]"
                raise InputError(f"{place}: {key} is {values[key]!r}, no {what} and no list of such - {remedy}")
            if len(set(entries)) < len(entries):
                raise InputError(f"{place}: {key} is {values[key]!r} and names one entry twice - remove one of them")
            found[key] = list(map(str, entries)) if key != "seed" or isinstance(values[key], list) else []
    return found


def is_sear(model: str) -> bool:
    """Whether the model is SEAR or a variant of it, so that parts can be left out."""
    return family_of(find_model(model)) == "SEAR"


def _known_rules(model: str, config_files: Iterable[Path]) -> dict[str, Rule]:
    """What the model can be told; files may hold SEAR's keys for every model, a command line may not."""
    class_name = find_model(model)
    rules = rules_of(class_name, model, config_files)
    without = {key for key in SEAR_KEYS if rules[key].allowed == "anything"}
    without |= set() if has_user_vectors(class_name) else with_role(Role.AFTER)
    return {key: rule for key, rule in rules.items() if key not in without}


def _names(key: str, text: str | None) -> list[str]:
    names = [name.strip() for name in (text or "").split(",")]
    if not all(names):
        raise InputError(f"{PLACE}: --{key} has no value, or an empty one - write --{key}=VALUE")
    if len(set(names)) < len(names):
        raise InputError(f"{PLACE}: --{key}={text} names one entry twice - remove one of them")
    return names


def _seed(text: str, rule: Rule, place: str) -> int:
    whole = text.isascii() and text.isdigit() and len(text) < 20  # int() refuses thousands of digits
    if not (whole and rule.accepts(int(text))):
        raise InputError(f"{place}: seed is {text!r}, not {rule.allowed} - for example --seed={rule.default}")
    return int(text)


def _parts(key: str, text: str | None, rules: dict[str, Rule]) -> list[str | None]:
    """The texts between the commas of a key that holds one value; one text for all other keys.

    Commas inside brackets, or inside the quotation marks around a whole text, separate nothing.
    """
    rule = rules.get(key)
    several = rule is None or isinstance(rule.default, (list, dict)) or re.search(r"\b(list|dict)\b", rule.allowed)
    if not text or several or key in ONE_VALUE:
        return [text]
    parts = _split(text)
    if len(parts) == 1:
        return [text]
    if not all(parts):
        raise InputError(f"{PLACE}: --{key}={text} has an empty value - write --{key}=VALUE,VALUE")
    told = [dump_value(_value(key, part, rules)) for part in parts]
    if len(set(told)) < len(told):
        raise InputError(f"{PLACE}: --{key}={text} names one value twice - remove one of them")
    return list(parts)


def _split(text: str) -> list[str]:
    parts, start, depth, quote = [], 0, 0, ""
    for at, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"" and not text[start:at].strip():
            quote = sign
        elif sign in "[({":
            depth += 1
        elif sign in "])}":
            depth = max(0, depth - 1)
        elif sign == "," and not depth:
            parts.append(text[start:at])
            start = at + 1
    return [part.strip() for part in (*parts, text[start:])]


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
    if rule.allowed.startswith("list") and value is not None and not isinstance(value, list):
        return [_entry(part) for part in text.split(",")] if "," in text else [value]
    quoted = text[0] in "\"'" and isinstance(value, str)
    return text if rule.text_only and not quoted and not (value is None and rule.accepts(None)) else value


def _entry(text: str) -> Any:
    """One entry of a list that is written with commas alone."""
    try:
        return load_yaml(text.strip())
    except yaml.YAMLError:
        return text.strip()


def _run_folder(key: str, text: str | None) -> Path:
    text = os.path.expanduser(text) if text else text
    for path in (Path(text), PROJECT_ROOT / text) if text else ():
        if path.is_dir():
            return Path(os.path.abspath(path))  # . has no name
    raise InputError(f"{PLACE}: {key} is {text!r}, no run folder - name one: results/DATASET/MODEL/RUN_ID")


def _config_file(name: str) -> Path:
    name = os.path.expanduser(name)
    return next((path for path in (Path(name), PROJECT_ROOT / name) if path.is_file()), Path(name))
