"""Settings as YAML, and what each key may hold: read from comments such as `k: 4   # (int >= 1) soft-label length`.

One comment is the source of the check, of the error message and of the text of --help. RecBole's own YAML files are
written the same way, so their keys are checked too.
"""

import copy
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from sear.errors import InputError

COMMENT = re.compile(r"^(?P<key>\w+)\s*:.*?#\s*\((?P<allowed>[^()]*)\)\s*(?P<meaning>.*)$")
ALTERNATIVE = re.compile(
    r"(?P<many>list of )?(?P<kind>int|float|bool|str|dict|list|None|~)"
    r"(?P<bounds>(?:(?: and)? (?:>=|<=|>|<) \S+)*)(?:: (?P<choices>.+))?"
)
MOST_NESTED, MOST_VALUES = 50, 100_000  # of settings in a file
COUNTABLE = 1 << 63  # beyond the numbers that NumPy and torch count with
COMPARISONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
FLOAT = re.compile(r"[-+]?(?:\d+\.\d*(?:[eE][-+]?\d+)?|\.?\d+[eE][-+]?\d+|\.\d+|\.inf)$|\.nan$")


class SettingsLoader(yaml.SafeLoader):
    """YAML in which `1e-3` is a number, and `yes`, `010`, `1:30` or `2020-01-01` are plain text."""

    yaml_implicit_resolvers: dict = {}


class SettingsDumper(yaml.SafeDumper):
    """Quotes whatever either loader, YAML's or ours, would take for something else than text."""


_RESOLVERS = (
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    ("null", re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("int", re.compile(r"[-+]?(?:0|[1-9]\d*)$"), "-+0123456789"),
    ("float", FLOAT, "-+.0123456789"),
    ("merge", re.compile(r"<<$"), "<"),
)
for _tag, _pattern, _first in _RESOLVERS:
    SettingsLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list(_first))
SettingsDumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789"))


@dataclass(frozen=True)
class Rule:
    """What one key may hold."""

    key: str
    allowed: str  # the comment's own words, "anything" where nothing is known
    meaning: str
    default: Any
    accepts: Callable[[Any], bool]

    @property
    def text_only(self) -> bool:
        return all(part.startswith(("str", "None", "~")) for part in self.allowed.split(" or "))


class TwiceError(yaml.MarkedYAMLError):
    """A key that stands twice in one mapping, of which YAML's own reader takes the last one without a word."""


def load_yaml(text: str) -> Any:
    """What YAML text says.

    Raises:
        yaml.YAMLError: it is no YAML, a key stands twice in a mapping, or it has what no settings hold: tags, trees
            without end.
    """
    return _load(text)[0]


def _load(text: str) -> tuple[Any, yaml.Node | None, dict[str, int]]:
    """What YAML text says, its outermost node, and the line of each key in that; a key merged in has none."""
    try:
        loader = SettingsLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None, None, {}
        _refuse_odd(node)
        lines = _key_lines(node) if isinstance(node, yaml.MappingNode) else {}
        return loader.construct_document(node), node, lines
    except RecursionError:
        raise yaml.YAMLError(f"nested deeper than {MOST_NESTED} times") from None
    except (ValueError, TypeError, AttributeError) as error:  # a number of too many digits
        raise yaml.YAMLError(str(error).partition(";")[0]) from None


def _refuse_odd(root: yaml.Node) -> None:
    """Raises yaml.YAMLError for a tag of no settings' kind, for a key that stands twice in a mapping, and for a tree
    too deep or, by its aliases, too large.
    """
    sizes: dict[int, int] = {}  # of the nodes seen, with all below them; aliases are one node in many places
    kinds = {f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}

    def size(node: yaml.Node, depth: int) -> int:
        if node.tag not in kinds:
            told = f"the tag {node.tag.replace('tag:yaml.org,2002:', '!!')} is of no value that settings hold"
            raise yaml.MarkedYAMLError(problem=told, problem_mark=node.start_mark)
        if depth > MOST_NESTED:
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {MOST_NESTED} times", problem_mark=root.start_mark)
        if id(node) not in sizes:
            if isinstance(node, yaml.MappingNode):
                _key_lines(node)
            parts = [] if isinstance(node, yaml.ScalarNode) else node.value
            below = [part for pair in parts for part in pair] if isinstance(node, yaml.MappingNode) else parts
            sizes[id(node)] = 1 + sum(size(part, depth + 1) for part in below)
        if sizes[id(node)] > MOST_VALUES:
            told = f"aliases that unfold to more than {MOST_VALUES:,} values"
            raise yaml.MarkedYAMLError(problem=told, problem_mark=node.start_mark)
        return sizes[id(node)]

    size(root, 0)


def dump_yaml(settings: dict) -> str:
    """YAML text that `load_yaml` reads back as it was."""
    style: dict[str, Any] = {"sort_keys": False, "default_flow_style": None, "allow_unicode": True, "width": 120}
    return yaml.dump(settings, Dumper=SettingsDumper, **style)


def is_unicode(value: Any) -> bool:
    """Whether all texts in a value can be written; of files whose names are no UTF-8 Python makes texts that cannot."""
    if isinstance(value, dict):
        return all(map(is_unicode, (*value, *value.values())))
    if isinstance(value, (list, tuple)):
        return all(map(is_unicode, value))
    return not isinstance(value, str) or value.isascii() or value == value.encode("utf-8", "replace").decode()


def dump_value(value: Any) -> str:
    """One value as it would stand in a YAML file, on one line.

    >>> dump_value([1, 0.5, "1e-3"])
    "[1, 0.5, '1e-3']"
    """
    text = yaml.dump(value, Dumper=SettingsDumper, sort_keys=False, default_flow_style=True, width=10_000)
    return "~" if value is None else text.removesuffix("...\n").strip()


def read_settings(path: Path | str) -> tuple[dict[str, Any], dict[str, int]]:
    """The keys of a YAML file, and the line each stands on. Raises InputError naming file and line."""
    path = Path(path)
    settings, lines, _ = _read(path, _stamp(path))
    return copy.deepcopy(settings), dict(lines)


LARGEST = 1 << 20  # bytes of a YAML file; others are of something else, or endless


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Another one as soon as the file is written anew; None where it cannot be asked for."""
    try:
        found = path.stat()
    except OSError:
        return None  # reading it will say why
    return found.st_mtime_ns, found.st_size, found.st_ino


@lru_cache(maxsize=256)  # what a run asks of one file again and again is read and parsed once
def _read(path: Path, stamp: tuple[int, int, int] | None) -> tuple[dict[str, Any], dict[str, int], list[str]]:
    """The keys of a YAML file, the line each stands on, and all lines."""
    text = _read_text(path)
    return *_parse(path, text), text.splitlines()


def _parse(path: Path, text: str) -> tuple[dict[str, Any], dict[str, int]]:
    try:
        settings, node, lines = _load(text)
    except TwiceError as error:
        assert error.problem_mark, "given where it is raised"
        raise InputError(f"{path}, line {error.problem_mark.line + 1}: {error.problem} - remove one of them") from None
    except yaml.YAMLError as error:
        open_bracket = str(getattr(error, "context", "")).startswith("while parsing a flow")
        mark = getattr(error, "context_mark" if open_bracket else "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise InputError(
            f"{path}{line}: not YAML ({problem}) - mend it; text with [ ] {{ }} : # needs quotes"
        ) from None
    if node is not None and not isinstance(node, yaml.MappingNode):
        raise InputError(f"{path}, line {node.start_mark.line + 1}: no settings - write each one as  key: value")
    return {str(key): value for key, value in (settings or {}).items()}, lines


def _key_lines(node: yaml.MappingNode) -> dict[str, int]:
    """The line of each key that a mapping has itself: `<<: *x` lays others below them. Raises TwiceError."""
    lines: dict[str, int] = {}
    for key_node, _ in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if key in lines:
            place = f"on line {lines[key]} too" if lines[key] != line else "twice on that line"
            raise TwiceError(problem=f"{key} stands {place}", problem_mark=key_node.start_mark)
        lines[key] = line
    return lines


def _read_text(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise InputError(f"{path} is larger than {LARGEST >> 20} MiB: no file of settings - name another file")
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path} is missing - check the name") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}) - convert the file") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}) - mend its rights, or name another file") from None


def read_rules(path: Path | str) -> dict[str, Rule]:
    """One rule per key of a YAML file; a key without a readable comment may hold anything."""
    path = Path(path)
    settings, lines, text = copy.deepcopy(_read(path, _stamp(path)))
    rules = {}
    for key, default in settings.items():
        comment = COMMENT.match(text[lines[key] - 1]) if key in lines else None  # a key merged in has no line
        allowed, meaning = (comment["allowed"], comment["meaning"].strip()) if comment else ("anything", "")
        rules[key] = make_rule(key, allowed, meaning, default)
    return rules


def make_rule(key: str, allowed: str, meaning: str = "", default: Any = None) -> Rule:
    """A rule from its words, for example `int >= 1 or ~`, `list of str: a | b`.

    A default of None is always allowed; words that cannot be read, or that forbid the default, allow anything.
    """
    if default is None and not allowed.endswith(("None", "~")):
        allowed += " or ~"
    words = allowed.split(" or ")
    parts = [part for part in map(ALTERNATIVE.fullmatch, words) if part]
    if len(parts) == len(words) and any(_fits(default, part) for part in parts):
        return Rule(key, allowed, meaning, default, lambda value: any(_fits(value, part) for part in parts))
    return Rule(key, "anything", meaning, default, lambda value: True)


def _fits(value: Any, part: re.Match) -> bool:
    if part["many"]:
        return isinstance(value, list) and all(_fits_one(entry, part) for entry in value)
    return _fits_one(value, part)


def _fits_one(value: Any, part: re.Match) -> bool:
    if part["kind"] in ("None", "~"):
        return value is None
    if part["kind"] == "float":
        kind_fits = type(value) in (int, float) and math.isfinite(value)
    else:
        kind_fits = type(value) is {"int": int, "bool": bool, "str": str, "dict": dict, "list": list}[part["kind"]]
    if not kind_fits or (isinstance(value, int) and abs(value) >= COUNTABLE):
        return False
    bounds = part["bounds"].replace(" and", "").split()
    within = all(COMPARISONS[sign](value, float(bound)) for sign, bound in zip(bounds[::2], bounds[1::2], strict=True))
    return within and (part["choices"] is None or value in part["choices"].split(" | "))
