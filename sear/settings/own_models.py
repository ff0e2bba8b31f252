"""Models of the user's own: `--model=my_package.my_module:MyModel`, or a class handed to run_sear.

Such a reference is the model's name in results and reports; a file config/model/NAME.yaml with `model: REFERENCE` gives
it a shorter one.
"""

import difflib
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from sear.errors import InputError
from sear.settings.known_models import OWN_MODELS, UNFED_MODELS
from sear.settings.rules import Rule, read_rules

EXAMPLE = "my_package.my_module:MyModel"
RECBOLE = "recbole.model.sequential_recommender."
SAME_KEY = 0.8  # two keys at least so alike are one key, misspelt

_given: dict[str, type] = {}  # classes handed over as such, which need not be importable by name


def is_reference(model: str) -> bool:
    """Whether a model's name is MODULE:CLASS."""
    return ":" in model


def reference(model: type) -> str:
    """MODULE:CLASS of a class, by which it is known from now on. Raises InputError where it is no model."""
    if not isinstance(model, type):
        raise InputError(f"model is {model!r}, neither a name nor a class - name one, such as SEAR, or give the class")
    name = f"{model.__module__}:{model.__qualname__}"
    _check(model, name)
    _given[name] = model
    return name


def own_class(name: str) -> type:
    """The class behind MODULE:CLASS, its module imported from the working directory or from where Python looks.

    Raises:
        InputError: there is no such module or class, the module fails, or the class is no sequential model.
    """
    if name in _given:
        return _given[name]
    module_name, _, class_name = name.partition(":")
    module = _import(name, module_name)
    found: Any = module
    for part in class_name.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type):
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        near = difflib.get_close_matches(class_name, classes, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        place = getattr(module, "__file__", None) or "a script that runs no more"
        raise InputError(f"model {name}: {module_name} ({place}) has no class {class_name}{hint} - write {EXAMPLE}")
    _check(found, name)
    return found


def known_base(name: str) -> str | None:
    """The nearest known model that the class behind MODULE:CLASS is derived from; None where there is none."""
    for base in own_class(name).__mro__:
        if OWN_MODELS.get(base.__name__) == base.__module__:
            return base.__name__
        if base.__module__.startswith(RECBOLE) and base.__name__ not in OWN_MODELS:
            return base.__name__
    return None


def recbole_base(name: str) -> str | None:
    """The nearest of RecBole's models that the class behind MODULE:CLASS is derived from; None where there is none."""
    bases = (base.__name__ for base in own_class(name).__mro__ if base.__module__.startswith(RECBOLE))
    return next(bases, None)


def yaml_files(name: str) -> list[Path]:
    """The YAML files beside a class's module, the stronger later: MODULE.yaml, CLASS.yaml, those of its bases first."""
    found: dict[Path, None] = {}
    for kind in reversed(own_class(name).__mro__):
        source = getattr(sys.modules.get(kind.__module__), "__file__", None)
        if source and kind.__module__.partition(".")[0] not in ("torch", "recbole", "sear"):
            beside = Path(source)
            for path in (beside.with_suffix(".yaml"), beside.with_name(f"{kind.__name__}.yaml")):
                if path.is_file():
                    found[path] = None
    return list(found)


def new_keys(path: Path | str, known: Mapping[str, Rule]) -> dict[str, Rule]:
    """The keys that a YAML file of an own model adds to those known.

    Raises:
        InputError: a key is nearly one of the known ones, and has no comment that says what it may hold.
    """
    added = {key: rule for key, rule in read_rules(path).items() if key not in known}
    for key, rule in added.items():
        near = difflib.get_close_matches(key, known, n=1, cutoff=SAME_KEY)
        if near and rule.allowed == "anything":
            comment = f"write behind it what it may hold, such as  {key}: 0.5  # (float > 0) what it is"
            raise InputError(f"{path}: unknown key {key} (did you mean {near[0]}?) - if it is a new one, {comment}")
    return added


def _import(name: str, module_name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last, so that no file there takes the place of a package
    from sear.recbole_compat import anomaly_detection_kept

    try:
        with anomaly_detection_kept():
            return importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a module of the user's own may fail in any way
        lacks = error.name if isinstance(error, ModuleNotFoundError) else "" if not module_name.strip(".") else None
        if lacks is not None and f"{module_name}.".startswith(f"{lacks}."):
            class_name = name.partition(":")[2]
            remedy = f"{module_name.removesuffix('.py')}:{class_name}" if module_name.endswith(".py") else EXAMPLE
            where = f"in {here} or where Python looks for modules"
            raise InputError(f"model {name}: no module {module_name} {where} - write for example {remedy}") from None
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"model {name}: {module_name} cannot be imported ({reason}) - mend it") from error


def _check(model: type, name: str) -> None:
    from recbole.model.abstract_recommender import SequentialRecommender

    import sear.recbole_compat  # noqa: F401

    if not issubclass(model, SequentialRecommender):
        raise InputError(
            f"model {name} is no sequential model of RecBole's - derive it from sear.model.SEAR, or from "
            "recbole.model.abstract_recommender.SequentialRecommender"
        )
    for base in model.__mro__:
        if base.__module__.startswith(RECBOLE) and base.__name__ in UNFED_MODELS:
            raise InputError(
                f"model {name} is a {base.__name__}, which {UNFED_MODELS[base.__name__]} - take another base"
            )
