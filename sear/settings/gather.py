"""Settings of one run, gathered from YAML by name: which files count, which keys are known, where each value stands."""

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from sear.errors import InputError
from sear.files import BUNDLED, CHECKOUT, PROJECT_ROOT, from_here, pointed_at, shown
from sear.settings.keys import KEYS, Role, with_role
from sear.settings.known_models import (
    COUNTING_MODELS,
    OWN_MODELS,
    UNFED_MODELS,
    recbole_models,
    recbole_root,
    settings_without,
)
from sear.settings.own_models import is_reference, known_base, new_keys, own_class, recbole_base, yaml_files
from sear.settings.rules import Rule, make_rule, read_rules, read_settings

CONFIG_ROOT = BUNDLED / "config"
DEVICE = re.compile(r"cpu|cuda(?::(\d+))?")
SEAR_KEYS = with_role(Role.SEAR)
FOLDERS = with_role(Role.FOLDER)
BY_MODEL = "by_model"  # key of a data set's file


class Settings:
    """Values of one run, each with the place it came from.

    Attributes:
        values: key -> value, the strongest one.
        places: key -> "config/model/SEAR.yaml, line 5", "command line", …
    """

    def __init__(self, dataset: str, model: str, model_name: str, config_files: Iterable[Path | str] = ()):
        self.dataset, self.model, self.model_name = dataset, model, model_name
        self.family = family_of(model)
        self.values: dict[str, Any] = {}
        self.places: dict[str, str] = {}
        self.rules = rules_of(model, model_name, config_files)
        self.gpu_key: str | None = None  # the key that asks for a GPU, of which nothing else will do

    def put(self, values: Mapping[str, Any], place: str, lines: Mapping[str, int] | None = None) -> None:
        """Lay values over those already here. Raises InputError for an unknown key."""
        for key, value in values.items():
            if key in ("dataset", "model", "model_name"):
                continue  # already decided, by name
            where = f"{place}, line {lines[key]}" if lines and key in lines else place
            if key == "checkpoint_dir":
                raise InputError(f"{where}: checkpoint_dir has no effect, a run's folder holds them - set results_path")
            if key == BY_MODEL:
                raise InputError(
                    f"{where}: {BY_MODEL} stands in a data set's own config/data/NAME.yaml - write it there"
                )
            if key not in self.rules:
                raise InputError(f"{where}: unknown key {key}{nearest(key, self.rules)} - --help lists the keys")
            if key in FOLDERS and isinstance(value, (str, Path)):
                value = os.path.expanduser(value)  # no shell does so after an equals sign
            self.values[key], self.places[key] = plain(value), where
            if key == "device" and value is not None:
                self._put_device(str(value), where)

    def _put_device(self, device: str, where: str) -> None:
        """`device` in RecBole's own words."""
        found = DEVICE.fullmatch(device)
        if not found:
            raise self.fault("device", "not cpu, cuda or cuda:N", "for example device: cuda")
        self.gpu_key = None if device == "cpu" else "device"
        self.put({"use_gpu": device != "cpu"} | ({"gpu_id": found[1]} if found[1] else {}), where)

    def put_asked(self, values: Mapping[str, Any], place: str) -> None:
        """Lay values over those already here that somebody asks for now: a GPU among them must be there."""
        self.put(values, place)
        if self.get("use_gpu") and (asked := {"use_gpu", "gpu_id"} & set(values)):
            self.gpu_key = self.gpu_key or max(asked)

    def put_file(self, path: Path | str, keys_left_out: Iterable[str] = ()) -> None:
        values, lines = read_settings(path)
        self.put({key: value for key, value in values.items() if key not in keys_left_out}, shown(path), lines)

    def put_by_model(self, path: Path, none_of_its: Iterable[str]) -> None:
        """Lay over those already here what a data set's file says of this model alone.

        Raises:
            InputError: it is no mapping of models to their settings, or names an unknown model or key, or one of
                `none_of_its`, which have no effect on it.
        """
        values, lines = read_settings(path)
        by_model = values.get(BY_MODEL) or {}
        place = f"{shown(path)}, line {lines.get(BY_MODEL, 1)}: {BY_MODEL}"
        if not isinstance(by_model, Mapping):
            raise InputError(f"{place} is {by_model!r} - write settings below the name of each model")
        known = {*own_files("model"), *OWN_MODELS, *recbole_models()}
        for name, own in by_model.items():
            if name not in known and not is_reference(str(name)):
                raise InputError(f"{place}: unknown model {name}{nearest(str(name), sorted(known))}")
            if not isinstance(own, Mapping):
                raise InputError(f"{place}: {name} is {own!r} - write its settings below it, as KEY: VALUE")
        own = by_model.get(self.model_name, {})
        if without := sorted(set(own) & set(none_of_its)):
            raise InputError(f"{place}, {self.model_name}: {without[0]} has no effect on this model - remove it")
        self.put(own, f"{place}, {self.model_name}")

    def get(self, key: str) -> Any:
        """The value in force, RecBole's default included."""
        return self.values[key] if key in self.values else self.rules[key].default if key in self.rules else None

    def in_force(self) -> dict[str, Any]:
        """Every key that can be set, with the value in force, after the run's names; a config.yaml by itself.

        Several ways to write one thing are one here. What has no use is left out where it was not given.
        """
        names = {"dataset": self.dataset, "model": self.model, "model_name": self.model_name}
        without_use = with_role(Role.UNUSED)
        if self.family != "SEAR":
            without_use |= {key for key in SEAR_KEYS if self.rules[key].allowed == "anything"}
        left_out = with_role(Role.DERIVED) | (without_use - set(self.values))
        found = {key: plain(self.get(key)) for key in self.rules if key not in left_out}
        for key in ("metrics", "topk"):
            found[key] = found[key] if isinstance(found[key], list) else [found[key]]
        if is_leave_one_out(found["eval_args"]):
            found["eval_args"] = dict(LEAVE_ONE_OUT)
        if (found["train_neg_sample_args"] or {}).get("distribution", "uniform") in ("none", "None", None):
            found["train_neg_sample_args"] = None
        found["data_path"] = shown(PROJECT_ROOT / found["data_path"])
        return names | found

    def fault(self, key: str, why: str, remedy: str) -> InputError:
        """The error that says where the value stands, what is wrong with it and what to do."""
        place = self.places.get(key, "RecBole's default")
        return InputError(f"{place}: {key} is {self.get(key)!r}, {why} - {remedy}")


def gather_settings(
    dataset: str,
    model: str,
    config_files: Iterable[Path | str] = (),
    overrides: Mapping[str, Any] | None = None,
    overrides_from: str = "arguments",
) -> Settings:
    """Every file that counts for this data set and model, the later ones stronger, then the overrides and `ablate`."""
    data_file, folder = find_data(dataset)
    class_name, config_files = find_model(model), list(config_files)
    settings = Settings(folder, class_name, model, config_files)
    file_of_base = recbole_yaml(class_name)
    if is_reference(class_name) and file_of_base:  # RecBole itself looks for a file of the class's own name only
        settings.put_file(file_of_base)
    settings.put_file(sear_yaml(), keys_of_others(class_name))
    if not learns_from_windows(class_name):
        settings.put({"train_rows": "prefixes"}, "RecBole's models")
    for path in model_files(class_name, model):
        settings.put_file(path)
    none_of_its = without_effect(class_name, settings)
    settings.put_file(data_file, {BY_MODEL, *none_of_its})
    settings.put_by_model(data_file, none_of_its)
    for file in config_files:
        settings.put_file(file, none_of_its)
    overrides = {key: value for key, value in (overrides or {}).items() if key not in none_of_its}
    for key in ("results_path", "warm_start"):
        if isinstance(overrides.get(key), (str, Path)):
            overrides[key] = from_here(overrides[key])
    settings.put_asked(overrides, overrides_from)
    earlier = settings.get("warm_start")
    if isinstance(earlier, str) and earlier:  # not the file that names another folder tomorrow
        settings.values["warm_start"] = shown(pointed_at(PROJECT_ROOT / earlier))
    part = settings.get("ablate")
    if settings.family == "SEAR" and isinstance(part, str):
        settings.put(settings_without(part, settings.get("streams")), f"ablate: {part}")
    return settings


def without_effect(model: str, settings: Settings) -> set[str]:
    """SEAR's keys that a class knows nothing of: files and arguments for several models may give them to it, too.

    `ablate` is not among them: a part that is not there cannot be taken out.
    """
    asked_for = set(settings.values) | {"ablate"}
    return {key for key in keys_of_others(model) - asked_for if settings.rules[key].allowed == "anything"}


def find_data(name: str) -> tuple[Path, str]:
    """(config/data file, RecBole's folder name) of a data set, asked for by either name."""
    files = own_files("data")
    if name in files:
        return files[name], _name_inside(files[name], "dataset")
    folders = {stem: _name_inside(path, "dataset") for stem, path in files.items()}
    for stem, folder in folders.items():
        if name == folder:
            return files[stem], folder
    if any(path.parent.name == name for path in (PROJECT_ROOT / "dataset").glob("*/*.inter") if path.stem == name):
        raise InputError(
            f"data set {name} has data in dataset/{name}, but config/data/{name}.yaml is missing"
            " - convert again with --write_config, or write that file by hand"
        )
    choices = sorted({*folders, *folders.values()})
    raise InputError(
        f"unknown data set {name}{nearest(name, choices)} - choose from {', '.join(choices)}, "
        f"or describe your own in config/data/{name}.yaml"
    )


def find_model(name: str) -> str:
    """The class behind a model name, as a name or MODULE:CLASS: itself, or what config/model/NAME.yaml says.

    Raises:
        InputError: there is no such class, or it cannot be used here.
    """
    classes = list(dict.fromkeys([*OWN_MODELS, *recbole_models()]))
    files = own_files("model")
    class_name = _name_inside(files[name], "model") if name in files else name
    if is_reference(class_name):
        own_class(class_name)
        return class_name
    if class_name in classes:
        return class_name
    if class_name in UNFED_MODELS:
        raise InputError(f"model {class_name} {UNFED_MODELS[class_name]} - choose from {', '.join(classes)}")
    choices = classes if name in files else list(dict.fromkeys([*OWN_MODELS, *files, *recbole_models()]))
    place = f"{shown(files[name])}: " if name in files else ""
    hint = nearest(class_name, choices)
    raise InputError(
        f"{place}unknown model {class_name}{hint} - choose from {', '.join(choices)}, or write MODULE:CLASS of your own"
    )


def family_of(model: str) -> str | None:
    """The known model whose keys a class has: itself, or what a class of the user's own is derived from."""
    return known_base(model) if is_reference(model) else model


def keys_of_others(model: str) -> set[str]:
    """The keys of SEAR.yaml that say nothing to a class; one that learns by SEAR's loss has those of the loss."""
    if family_of(model) == "SEAR":
        return set()
    by_our_loss = is_reference(model) and hasattr(own_class(model), "users_and_items")
    return set(SEAR_KEYS) - (with_role(Role.LOSS) if by_our_loss else set())


def has_user_vectors(model: str) -> bool:
    """Whether more can be mixed into a class's scores after training, as into those of sear.model.next_item."""
    if is_reference(model):
        return hasattr(own_class(model), "has_prior")
    return model in OWN_MODELS and model not in COUNTING_MODELS


def learns_from_windows(model: str) -> bool:
    """Whether a class may be trained at every position of a row, and not only at the last."""
    return getattr(own_class(model), "train_rows", None) == "windows" if is_reference(model) else model in OWN_MODELS


def model_files(model: str, model_name: str) -> list[Path]:
    """The YAML files of a class and of the name it is asked for by, the stronger later, after SEAR.yaml."""
    files, family = own_files("model"), family_of(model)
    of_class = [files[family]] if family in files else []
    beside = yaml_files(model) if is_reference(model) else []
    of_name = [files[model_name]] if model_name in files else []
    return [path for path in dict.fromkeys([*of_class, *beside, *of_name]) if path != sear_yaml()]


def values_of_class(model: str) -> dict[str, Any]:
    """What SEAR.yaml and a class's own YAML say: this holds for a run that is older than a key, which was as if so."""
    values = {key: value for key, value in read_settings(sear_yaml())[0].items() if key not in keys_of_others(model)}
    for path in model_files(model, model):
        values |= read_settings(path)[0]
    if not learns_from_windows(model):
        values["train_rows"] = "prefixes"
    return {key: value for key, value in values.items() if key != "model"}


def recbole_yaml(model: str) -> Path | None:
    """RecBole's file on the one of its models that a class is or is derived from."""
    name = recbole_base(model) if is_reference(model) else model if model in recbole_models() else None
    return recbole_root() / "properties" / "model" / f"{name}.yaml" if name else None


def _name_inside(path: Path, key: str) -> str:
    """What a file is about: its `dataset:` or `model:` key, or else its own name."""
    name = read_settings(path)[0].get(key, path.stem)
    if not isinstance(name, str):
        raise InputError(f"{shown(path)}: {key} is {name!r}, no name - write {key}: NAME")
    return name


def sear_yaml() -> Path:
    """The file that explains and sets every key; a SEAR.yaml of the user's own is laid over it."""
    return CONFIG_ROOT / "model" / "SEAR.yaml"


def own_files(kind: str) -> dict[str, Path]:
    """Name -> YAML file in config/model or config/data; of an installed package, the user's own files come first."""
    files = {path.stem: path for path in sorted((CONFIG_ROOT / kind).glob("*.yaml"))}
    if CHECKOUT is None:
        files |= {path.stem: path for path in sorted((PROJECT_ROOT / "config" / kind).glob("*.yaml"))}
    return files


def rules_of(model: str, model_name: str, config_files: Iterable[Path | str] = ()) -> dict[str, Rule]:
    """Every known key. RecBole's own comments < SEAR.yaml's < the model's own.

    Args:
        config_files: files that may name new keys for a class of the user's own.
    """
    properties = recbole_root() / "properties"
    rules = read_rules(properties / "overall.yaml") | read_rules(properties / "dataset" / "sample.yaml")
    for key in (key for key in rules if key in KEYS and KEYS[key].allowed):
        rules[key] = make_rule(key, KEYS[key].allowed, rules[key].meaning, rules[key].default)
    published = read_rules(sear_yaml())
    for key in keys_of_others(model):  # known to every model, so that one command line serves several
        published[key] = rules.get(key) or make_rule(key, "anything", published[key].meaning)
    rules |= published
    rules["device"] = make_rule("device", "str or ~", "cpu, cuda or cuda:N; ~: a GPU where there is one")
    if file_of_base := recbole_yaml(model):
        rules |= read_rules(file_of_base)
    for path in model_files(model, model_name):
        fresh = new_keys(path, rules) if is_reference(model) else {}
        own = read_rules(path) | fresh
        rules |= {key: rule for key, rule in own.items() if rule.allowed != "anything" or key not in rules}
    for file in config_files if is_reference(model) else ():
        rules |= new_keys(file, rules)
    return {key: rule for key, rule in rules.items() if key not in ("dataset", "model", "model_name", "checkpoint_dir")}


ELSEWHERE = {  # what other programs call a key -> its name here
    "lr": "learning_rate",
    "batch_size": "train_batch_size",
    "wd": "weight_decay",
    "optimizer": "learner",
    "patience": "stopping_step",
    "early_stopping_patience": "stopping_step",
    "num_epochs": "epochs",
    "max_epochs": "epochs",
    "dropout": "dropout_prob",
    "max_len": "MAX_ITEM_LIST_LENGTH",
    "maxlen": "MAX_ITEM_LIST_LENGTH",
    "max_seq_length": "MAX_ITEM_LIST_LENGTH",
    "k": "topk",
    "gpu": "device",
    "cuda": "device",
    "output_dir": "results_path",
    "out": "results_path",
    "data_dir": "data_path",
    "num_threads": "threads",
    "wandb": "log_wandb",
    "tensorboard": "log_tensorboard",
}


def nearest(name: str, choices: Iterable[str]) -> str:
    """` (did you mean X?)`, or nothing where no known name is near.

    >>> nearest("epoch", ["epochs", "seed"])
    ' (did you mean epochs?)'
    >>> nearest("lr", ["epochs", "learning_rate"])
    ' (did you mean learning_rate?)'
    """
    by_lower = {str(choice).lower(): str(choice) for choice in choices}
    elsewhere = ELSEWHERE.get(name.lower().replace("-", "_"), "").lower()
    if elsewhere and elsewhere in by_lower:
        return f" (did you mean {by_lower[elsewhere]}?)"
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f" (did you mean {by_lower[found[0]]}?)" if found else ""


LEAVE_ONE_OUT = {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full", "group_by": "user"}


def is_leave_one_out(eval_args: Mapping[str, Any]) -> bool:
    """Whether RecBole's eval_args ask for what is done: leave-one-out by time, full ranking."""
    given = {"mode": "full", "group_by": "user"} | dict(eval_args)
    if isinstance(given["mode"], Mapping) and set(given["mode"]) <= {"valid", "test"}:
        given["mode"] = "full" if all(mode == "full" for mode in given["mode"].values()) else None
    return given == LEAVE_ONE_OUT


def plain(value: Any) -> Any:
    """The same value in YAML's own types: tuples become lists, paths text, enums their name, NumPy numbers numbers."""
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, Path):
        return str(value)
    return value.item() if type(value).__module__ == "numpy" and value.ndim == 0 else value
