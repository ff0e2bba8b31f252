"""What a hyper-parameter search may try: a YAML file of ranges and choices, or one of RecBole's own hyper.test files.

learning_rate: {low: 0.0003, high: 0.01, log: True}    # any number between, on a logarithmic scale
dropout_prob: {low: 0.1, high: 0.6, step: 0.1}         # 0.1, 0.2, … 0.6
num_layers: [1, 2, 3]                                  # one of these
"""

import ast
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sear.errors import InputError
from sear.settings.checks import check_settings
from sear.settings.gather import gather_settings
from sear.settings.keys import Role, with_role
from sear.settings.rules import Rule, dump_value, load_yaml, read_settings

if TYPE_CHECKING:
    from optuna.trial import Trial

NOT_TRIED = with_role(
    Role.NAME | Role.DATA | Role.ADDS_METRICS | Role.MEASURE | Role.PLACE | Role.DERIVED | Role.UNUSED
)
NAMES = {"low", "high", "step", "log"}
HALF = Decimal("0.5")
LONGEST_LINE = 10_000  # characters of a line of hyper.test


@dataclass(frozen=True)
class Parameter:
    """One key and the values it may take: `choices`, or the numbers from `low` to `high`, both included."""

    key: str
    choices: tuple = ()
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether its numbers are whole ones."""
        return all(isinstance(number, int) for number in (self.low, self.high, self.step or 1))

    def suggest(self, trial: "Trial") -> Any:
        """The value that a trial is to take."""
        if self.choices:  # by their text, for the storage knows no lists
            by_text = {dump_value(choice): choice for choice in self.choices}
            return by_text[trial.suggest_categorical(self.key, list(by_text))]
        if self.whole:
            low, high, step = int(self.low), int(self.high), int(self.step or 1)
            return trial.suggest_int(self.key, low, high, step=step, log=self.log)
        return trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log)

    def told(self, kept: Any) -> Any:
        """The value behind what the storage keeps of it."""
        return load_yaml(kept) if self.choices else kept

    def text(self) -> str:
        """What it may take, on one line."""
        if self.choices:
            return dump_value(list(self.choices))
        step = {} if self.step is None else {"step": self.step}
        return dump_value({"low": self.low, "high": self.high, **step, **({"log": True} if self.log else {})})

    def ends(self) -> tuple:
        """The values that must be allowed for all of them to be."""
        return self.choices or (self.low, self.high)


def read_space(path: Path) -> list[Parameter]:
    """The parameters of a search.

    Args:
        path: a YAML file, or a file with lines such as `learning_rate loguniform -8,0` as RecBole's HyperTuning reads
            them: choice, uniform, quniform, and loguniform, whose ends are natural logarithms.

    Raises:
        InputError: names file and line, what is wrong, and the remedy.
    """
    if path.suffix in (".yaml", ".yml"):
        values, lines = read_settings(path)
        found = [_parameter(key, value, f"{path}, line {lines.get(key, 1)}") for key, value in values.items()]
    else:
        found = list(_recbole_lines(path))
    if not found:
        raise InputError(f"{path} names nothing to search for - write a key and its values, such as  d_state: [16, 32]")
    return found


def check_space(
    space: Iterable[Parameter], dataset: str, model: str, config_files: Iterable[Path], overrides: Mapping[str, Any]
) -> list[Parameter]:
    """The parameters, where the key holds a float with every number between their ends.

    Each end and each choice is checked by itself, as the command line would. Raises InputError.
    """
    files, checked = list(config_files), []
    for parameter in space:
        if parameter.key in NOT_TRIED:
            raise InputError(
                f"search space: {parameter.key} is no hyper-parameter - remove it, or give it to all trials"
            )
        if parameter.key in with_role(Role.AFTER):
            raise InputError(
                f"search space: {parameter.key} has no effect before an epoch's validation, which a search goes by"
                " - remove it, or give it to all trials"
            )
        for value in parameter.ends():
            settings = gather_settings(dataset, model, files, {**overrides, parameter.key: value}, "search space")
            check_settings(settings)
        checked.append(_of_its_kind(parameter, settings.rules[parameter.key]))
    return checked


def _of_its_kind(parameter: Parameter, rule: Rule) -> Parameter:
    """`{low: 0, high: 1}` of a key that holds a float means all that lies between."""
    holds_float = rule.allowed != "anything" and rule.accepts(float(parameter.low))
    if parameter.choices or parameter.step is not None or not holds_float:
        return parameter
    return replace(parameter, low=float(parameter.low), high=float(parameter.high))


def _parameter(key: str, value: Any, place: str) -> Parameter:
    if isinstance(value, list):
        if len(value) < 2 or len({dump_value(choice) for choice in value}) < len(value):
            raise InputError(f"{place}: {key} needs two or more different values - for example {key}: [1, 2]")
        return Parameter(key, choices=tuple(value))
    if not isinstance(value, dict) or not {"low", "high"} <= set(value) <= NAMES:
        remedy = f"write {key}: [VALUE, VALUE], or {key}: {{low: NUMBER, high: NUMBER}} with step or log: True"
        raise InputError(f"{place}: {key} is neither a list nor a range - {remedy}")
    step, log = value.get("step"), value.get("log", False)
    numbers = [value["low"], value["high"], *([] if step is None else [step])]
    if not all(type(number) in (int, float) and math.isfinite(number) for number in numbers) or type(log) is not bool:
        raise InputError(f"{place}: low, high and step of {key} must be numbers, and log True or False - mend it")
    return _range(key, value["low"], value["high"], step, log, place)


def _range(key: str, low: float, high: float, step: float | None, log: bool, place: str) -> Parameter:
    if low >= high:
        raise InputError(f"{place}: {key} goes from {low} to {high} - the first must be the lower")
    if step is not None and (step <= 0 or log):
        raise InputError(f"{place}: {key} has a step of {step} - give one above 0, and none with log: True")
    if log and low <= 0:
        raise InputError(f"{place}: {key} is logarithmic from {low} - begin above 0")
    return Parameter(key, low=low, high=high, step=step, log=log)


def _recbole_lines(path: Path) -> Iterable[Parameter]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path} is missing - check the name") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}) - name a file of text") from None
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        key, _, rest = line.strip().partition(" ")
        kind, _, values = rest.strip().partition(" ")
        if key and not key.startswith("#") and values.strip():
            if key in seen:
                raise InputError(f"{path}, line {number}: {key} stands on line {seen[key]} too - remove one of them")
            seen[key] = number
            yield _recbole_line(key, kind, values[:LONGEST_LINE].replace(" ", ""), f"{path}, line {number}")


def _recbole_line(key: str, kind: str, values: str, place: str) -> Parameter:
    if kind == "choice":
        try:
            choices = ast.literal_eval(values)  # a list as Python writes it; nothing is run
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            choices = None
        if not isinstance(choices, (list, tuple)):
            raise InputError(f"{place}: {values[:80]} is no list - write {key} choice [VALUE,VALUE]")
        try:
            texts = [load_yaml(choice) if isinstance(choice, str) else choice for choice in choices]
        except yaml.YAMLError as error:
            raise InputError(f"{place}: a choice cannot be read ({' '.join(str(error).split())}) - mend it") from None
        return _parameter(key, texts, place)
    count = {"uniform": 2, "loguniform": 2, "quniform": 3}.get(kind)
    if not count:
        known = "choose from choice, uniform, quniform, loguniform"
        raise InputError(f"{place}: {kind} is no kind of range - {known}")
    try:
        numbers = [float(number) for number in values.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise InputError(f"{place}: {kind} takes {count} numbers with commas between, not {values[:80]}")
    low, high, step = *numbers[:2], numbers[2] if count == 3 else None
    if kind == "loguniform":
        return _range(key, math.exp(low), math.exp(high), None, True, place)
    found = _range(key, low, high, step, False, place)
    return found if step is None else _multiples(found, [Decimal(number) for number in values.split(",")], place)


def _multiples(parameter: Parameter, numbers: Sequence[Decimal], place: str) -> Parameter:
    """What hyperopt rounds to: multiples of the step, also beyond the ends. In decimals, as they are written."""
    low, high, step = numbers
    first = (low / step + HALF).to_integral_value(ROUND_FLOOR) * step
    last = (high / step - HALF).to_integral_value(ROUND_CEILING) * step
    if first >= last:
        raise InputError(f"{place}: {parameter.key} from {low} to {high} holds no two multiples of {step} - mend them")
    kind = int if step == step.to_integral_value() else float
    return replace(parameter, low=kind(first), high=kind(last), step=kind(step))
