"""YAML files and overrides -> a checked RecBole Config.

RecBole's internals < config/model/MODEL.yaml < config/data/NAME.yaml < extra files < overrides. Everything is checked
before RecBole sees it, and RecBole neither reads `sys.argv` nor evaluates strings.
"""

import copy
import importlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole.config import Config
from recbole.utils import InputType, ModelType, get_model

import sear.recbole_compat  # noqa: F401
from sear.errors import InputError
from sear.files import PROJECT_ROOT
from sear.recbole_compat import anomaly_detection_kept
from sear.settings.checks import check_settings, require_data_files
from sear.settings.gather import (
    Settings,
    gather_settings,
    values_of_class,
    without_effect,
)
from sear.settings.keys import Role, with_role
from sear.settings.known_models import OWN_MODELS
from sear.settings.own_models import is_reference, own_class, reference
from sear.settings.rules import make_rule, read_settings


class SEARConfig(Config):
    """RecBole's Config, deaf to `sys.argv`: values arrive typed, and a string stays a string."""

    in_force: dict[str, Any]  # what effective_settings gives
    older_than: Sequence[str] = ()  # the keys that the run it was read from did not know

    def _load_cmd_line(self):
        return {}

    def _update_internal_config_dict(self, file):
        values = read_settings(file)[0]  # read already, for the checks
        self.internal_config_dict.update(values)
        return values

    def _convert_config_dict(self, config_dict):
        return config_dict

    def _init_device(self):
        """The user's own CUDA_VISIBLE_DEVICES wins over `gpu_id` and stays as it is; `use_gpu: False` is obeyed."""
        settings, found = self.final_config_dict, os.environ.get("CUDA_VISIBLE_DEVICES")
        asked = settings["gpu_id"]
        settings["gpu_id"] = "" if not settings["use_gpu"] else asked if found is None else found
        try:
            super()._init_device()
        finally:
            if found is not None:
                os.environ["CUDA_VISIBLE_DEVICES"] = found
            elif not settings["gpu_id"]:
                del os.environ["CUDA_VISIBLE_DEVICES"]  # hiding every card would also hide them from a later run
            settings["gpu_id"] = str(asked)


def build_config(
    dataset: str,
    model: str | type = "SEAR",
    overrides: Mapping[str, Any] | None = None,
    config_files: Iterable[Path | str] = (),
    overrides_from: str = "arguments",
) -> SEARConfig:
    """The checked Config of one run.

    Args:
        dataset: name of a config/data/*.yaml, or the RecBole folder that such a file names.
        model: "SEAR", a config/model/*.yaml, any RecBole sequential model, "my_package.my_module:MyModel", or a class.
        overrides: typed values, strongest of all.
        config_files: extra YAML files, later ones stronger.
        overrides_from: how an error names the place of an override.

    Raises:
        InputError: an unknown name, key or value, or a missing data file; names place and remedy.
    """
    name = model if isinstance(model, str) else reference(model)
    return _checked_config(gather_settings(dataset, name, config_files, overrides, overrides_from))


def config_from_settings(
    settings: Mapping[str, Any], place: str = "config.yaml", changes: Mapping[str, Any] | None = None
) -> SEARConfig:
    """The Config that `effective_settings` described, whatever the YAML files say by now, with changes to it."""
    for key in ("dataset", "model", "model_name"):
        if not isinstance(settings.get(key), str):
            raise InputError(f"{place}: has no {key}, so it is no whole config.yaml of a run - start that run anew")
    found = Settings(settings["dataset"], settings["model"], settings["model_name"])
    if is_reference(settings["model"]):  # its new keys may be those of a --config file
        new = set(settings) - set(found.rules) - {"dataset", "model", "model_name"}
        found.rules |= {key: make_rule(key, "anything") for key in new}
    usual = values_of_class(settings["model"])
    if (last := max(set(usual) - with_role(Role.PLACE))) not in settings:  # the file is sorted
        raise InputError(f"{place}: has no {last}, so it is cut short - restore it, or train anew")
    older_than = {key: value for key, value in usual.items() if key not in settings}
    found.put(older_than, "config/model")
    nothing = without_effect(settings["model"], found) if not is_reference(settings["model"]) else set()
    found.put({key: value for key, value in settings.items() if key not in nothing}, place)
    found.put_asked(changes or {}, "command line")
    config = _checked_config(found)
    config.older_than = sorted(set(older_than) - with_role(Role.PLACE))
    return config


def effective_settings(config: SEARConfig) -> dict[str, Any]:
    """Every key that can be set, with the value in force, as plain YAML types; a valid --config file by itself."""
    return copy.deepcopy(config.in_force)


def overrides_of(config: SEARConfig) -> dict[str, Any] | None:
    """The settings that are not those of the YAML files named after the run's data set and model.

    Its names, its seed and what cannot change its result are left out; None where the YAML files no longer describe
    the data set or the model.
    """
    ours = config.in_force
    ablation = {"ablate": ours["ablate"]} if ours.get("ablate") else {}
    try:
        usual = gather_settings(ours["dataset"], ours["model_name"], (), ablation)
    except InputError:
        return None
    _without_needless_negatives(config.model_class, usual)
    told = set(ours) - with_role(Role.NAME | Role.PLACE | Role.UNUSED)
    values = usual.in_force()
    return {key: copy.deepcopy(ours[key]) for key in sorted(told) if ours[key] != values.get(key)}


def model_class(name: str) -> type:
    """The class behind a model name or MODULE:CLASS. Raises InputError for one that is not sequential."""
    if is_reference(name):
        return own_class(name)
    own = name in OWN_MODELS
    with anomaly_detection_kept():
        found = getattr(importlib.import_module(OWN_MODELS[name]), name) if own else get_model(name)
    if not own and found.type != ModelType.SEQUENTIAL:
        raise InputError(f"model {name} is no sequential model - choose one of those that --help lists")
    return found


def _checked_config(settings: Settings) -> SEARConfig:
    check_settings(settings)
    config = _config(settings)
    require_data_files(settings, config["data_path"])
    if settings.gpu_key and config["device"].type == "cpu":
        remedy = "write device: cpu, or mend the driver, torch or the number"
        raise settings.fault(settings.gpu_key, "but torch finds no such GPU here", remedy)
    return config


def _config(settings: Settings) -> SEARConfig:
    found = model_class(settings.model)
    _without_needless_negatives(found, settings)
    values = copy.deepcopy(settings.values)
    values.pop("device", None)  # said by use_gpu and gpu_id; RecBole's own is a torch.device
    values["data_path"] = str(PROJECT_ROOT / settings.get("data_path"))
    try:
        config = SEARConfig(model=found, dataset=settings.dataset, config_dict=values)
    except ValueError as error:  # what only RecBole knows about its own models
        raise InputError(f"{settings.model_name} on {settings.dataset}: {error} - change that setting") from error
    copy_of_ours = Path(values["data_path"]) / settings.dataset
    if (copy_of_ours / f"{settings.dataset}.inter").is_file():
        config["data_path"] = str(copy_of_ours)  # for ml-100k RecBole would read its own copy all the same
    config["model"], config["model_name"] = settings.model, settings.model_name
    config.in_force = settings.in_force()
    return config


def _without_needless_negatives(found: type, settings: Settings) -> None:
    """A model that learns from no negative samples draws none, whatever RecBole's default says."""
    needs = getattr(found, "input_type", None) == InputType.PAIRWISE or settings.get("loss_type") == "BPR"
    if not needs and "train_neg_sample_args" not in settings.values:
        settings.put({"train_neg_sample_args": None}, "models without negative samples")
