"""Finds what is wrong with the settings before work starts: each by its YAML comment, then what they say together."""

import re
from importlib.util import find_spec
from pathlib import Path

from sear.errors import InputError
from sear.files import shown
from sear.settings.gather import Settings, has_user_vectors, is_leave_one_out, learns_from_windows, nearest
from sear.settings.keys import Role, with_role
from sear.settings.known_models import TIED_STREAMS
from sear.settings.own_models import is_reference
from sear.settings.rules import dump_value, is_unicode
from sear.settings.sizes import check_memory

MOST_THREADS = 1024  # more, and the threads' own stacks may end the process
MOST_PADDED = 100_000  # events; a batch of histories padded to more takes gigabytes
INTERVAL = re.compile(r"[\[(]\s*(\d+|-inf)\s*,\s*(\d+|inf)\s*[\])]")  # of whole counts, as RecBole writes them
NUMBER = r"([-+]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|inf))"
VALUE_INTERVAL = re.compile(rf"[\[(]\s*{NUMBER}\s*,\s*{NUMBER}\s*[\])]")


def check_settings(settings: Settings) -> None:
    """Raises InputError for the first wrong value: place, key, value, remedy."""
    unused = with_role(Role.UNUSED)
    for key, value in settings.values.items():
        rule = settings.rules[key]
        if not is_unicode(value):
            raise settings.fault(key, "no text in UTF-8, so that no result could name it", "rename the file or folder")
        if not rule.accepts(value):
            raise _wrong_kind(settings, key, value)
        if key in unused and value not in (rule.default, None, []) and (value or rule.default is True):
            raise settings.fault(
                key,
                "but it has no effect here: SEAR reads and batches data itself, and rounds no metric",
                f"remove {key}",
            )
    check_memory(settings)
    _check_lists(settings)
    _check_metrics(settings)
    _check_protocol(settings)
    _check_columns(settings)
    _check_trackers(settings)
    if settings.family == "SEAR":
        _check_sear(settings)
    else:
        _check_baseline(settings)
    _check_texts(settings)


def _wrong_kind(settings: Settings, key: str, value: object) -> InputError:
    rule = settings.rules[key]
    choices = rule.allowed.partition(": ")[2].split(" | ")
    wrong = [str(entry) for entry in (value if isinstance(value, list) else [value]) if entry not in choices]
    known = {choice.lower() for choice in choices}
    wrong.sort(key=lambda entry: entry.lower() in known)  # another case is the least of the faults
    hint = nearest(wrong[0], choices) if wrong else ""
    comma = type(value) is int or "," in str(value)  # 0,001 on the command line is the values 0 and 1
    point = " (with a point, for a comma separates values)" if comma and isinstance(rule.default, float) else ""
    return settings.fault(key, f"not {rule.allowed}{hint}", f"for example {key}: {dump_value(rule.default)}{point}")


def _check_lists(settings: Settings) -> None:
    mixed_in = ("transition_prior", "transition_floor", "text_match")
    for key in (
        "streams",
        "sample_from",
        "metrics",
        "topk",
        "history_length_groups",
        "item_popularity_groups",
        "days_since_last_groups",
        *mixed_in,
    ):
        entries = settings.get(key) if isinstance(settings.get(key), list) else [settings.get(key)]
        if not entries:
            raise settings.fault(key, "an empty list", f"for example {key}: {dump_value(settings.rules[key].default)}")
        if len(set(entries)) < len(entries):
            raise settings.fault(key, "which names one entry twice", "remove one of them")
        if key.endswith("_groups") and (entries[0] != 0 or sorted(entries) != entries):
            raise settings.fault(key, "which does not rise from 0", "start with 0 and sort the ends")


def _check_metrics(settings: Settings) -> None:
    metrics, topk = settings.get("metrics"), settings.get("topk")
    choices = [f"{metric}@{k}" for metric in metrics for k in topk]
    if settings.get("valid_metric").lower() not in [choice.lower() for choice in choices]:
        remedy = f"choose from {', '.join(choices)}, for example --valid_metric={choices[-1]}"
        raise settings.fault("valid_metric", "no metric that metrics and topk ask for", remedy)


def _check_protocol(settings: Settings) -> None:
    if not is_leave_one_out(settings.get("eval_args")):
        raise settings.fault("eval_args", HELD_OUT, WRITE_EVAL_ARGS)
    if settings.get("repeatable") is not True:
        raise settings.fault(
            "repeatable", "but a sequential model may repeat items", "set it True; mask_history filters seen items"
        )
    stride, length = settings.get("window_stride"), settings.get("MAX_ITEM_LIST_LENGTH")
    if stride is not None and stride > length:
        raise settings.fault(
            "window_stride", f"more than MAX_ITEM_LIST_LENGTH {length}", f"choose 1 to {length}, or ~ for the half"
        )
    threads = settings.get("threads")
    if threads is not None and threads > MOST_THREADS:
        raise settings.fault("threads", "more than a machine has", f"choose {MOST_THREADS} at most, or ~ for all cores")
    if not settings.get("trim_padding") and length > MOST_PADDED:
        raise settings.fault("trim_padding", f"but every history would be padded to {length:,} events", "set it True")


def _check_columns(settings: Settings) -> None:
    for key in ("user_inter_num_interval", "item_inter_num_interval"):
        interval = settings.get(key)
        if interval is not None and not INTERVAL.fullmatch(interval):
            raise settings.fault(key, "no interval", f'write one such as {key}: "[5,inf)"')
    columns = settings.get("load_col") or {}
    for suffix, names in columns.items():
        if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
            raise settings.fault(
                "load_col", f"whose {suffix} is no list of column names", "for example inter: [user_id, item_id]"
            )
    asked = [settings.get(f"{name}_FIELD") for name in ("USER_ID", "ITEM_ID", "TIME")]
    missing = [name for name in asked if columns and name not in columns.get("inter", [])]
    if missing:
        raise settings.fault("load_col", f"whose inter lacks {missing[0]}", f"write inter: [{', '.join(asked)}]")

    fields = [settings.get(f"{name}_FIELD") for name in ("USER_ID", "ITEM_ID", "RATING", "TIME")]
    if len(set(fields)) < len(fields):
        raise settings.fault("RATING_FIELD", f"but the four fields are {', '.join(map(str, fields))}", "name four")
    if not settings.get("LIST_SUFFIX"):
        raise settings.fault("LIST_SUFFIX", "empty", "write one such as _list")
    _check_filters(settings, fields)


def _check_filters(settings: Settings, fields: list[str]) -> None:
    """RecBole's filters, of which it would only log or raise what is wrong."""
    if settings.get("rm_dup_inter") not in (None, "first", "last"):
        raise settings.fault("rm_dup_inter", "not first, last or ~", "choose one of them")
    for field, interval in (settings.get("val_interval") or {}).items():
        if field not in fields:
            raise settings.fault("val_interval", f"which names {field}", f"choose from {', '.join(fields)}")
        numeric = field in fields[2:]
        if numeric and not ((ends := VALUE_INTERVAL.fullmatch(str(interval))) and float(ends[1]) <= float(ends[2])):
            raise settings.fault("val_interval", f"whose {field} is no interval", 'write one such as "[3,inf)"')
        if not numeric and not (isinstance(interval, list) and all(isinstance(token, str) for token in interval)):
            remedy = "write the ids to keep as a list, those of digits in quotation marks"
            raise settings.fault("val_interval", f"whose {field} is no list of ids", remedy)
    clip = settings.get("clip_grad_norm")
    if clip and not (set(clip) <= {"max_norm", "norm_type"} and isinstance(clip.get("max_norm"), (int, float))):
        raise settings.fault("clip_grad_norm", "without a number max_norm", "write for example {max_norm: 5}")


def _check_trackers(settings: Settings) -> None:
    """What a run is to be written to must be there before it begins."""
    for key, package in (("log_wandb", "wandb"), ("log_tensorboard", "tensorboard")):
        found = find_spec(package) if settings.get(key) else None
        if settings.get(key) and (found is None or found.origin is None):  # W&B leaves a folder ./wandb: no package
            raise settings.fault(key, f"but {package} is not installed", f"pip install {package}, or remove {key}")


def _check_sear(settings: Settings) -> None:
    hidden, heads = settings.get("hidden_size"), settings.get("num_heads")
    if hidden % heads:
        remedy = f"choose from {_divisors(hidden)}"
        raise settings.fault("num_heads", f"which does not divide hidden_size {hidden}", remedy)
    if settings.get("item_table") == "tied" and not set(settings.get("streams")) & set(TIED_STREAMS):
        remedy = f"add {' or '.join(TIED_STREAMS)} to streams"
        raise settings.fault("item_table", "but no stream has a vector per item", remedy)
    if settings.get("text_match") and "semantic" not in settings.get("streams"):
        raise settings.fault("text_match", "but streams is without semantic", "write text_match: ~, or add that stream")
    if settings.get("text_match") and settings.get("cosine_scale"):
        raise settings.fault("text_match", "but scores are cosines", "write text_match: ~ or cosine_scale: 0")
    negatives = settings.get("train_neg_sample_args")
    if negatives is not None and negatives.get("distribution", "uniform") not in ("none", "None", None):
        raise settings.fault(
            "train_neg_sample_args", "but SEAR learns from all items, without samples", "write train_neg_sample_args: ~"
        )


def _check_baseline(settings: Settings) -> None:
    hidden, heads = settings.get("hidden_size"), settings.get("n_heads")
    if hidden and heads and hidden % heads:
        remedy = f"choose from {_divisors(hidden)}"
        raise settings.fault("n_heads", f"which does not divide hidden_size {hidden}", remedy)
    if settings.get("ablate") is not None:
        raise settings.fault("ablate", f"but {settings.model_name} has no such part", "remove it; it is for SEAR alone")
    for key in ("transition_prior", "text_match"):
        if settings.get(key) and not has_user_vectors(settings.model):
            raise settings.fault(key, f"but {settings.model_name} has no user vectors", "remove it")
    if not learns_from_windows(settings.model) and settings.get("train_rows") != "prefixes":
        raise settings.fault("train_rows", f"but {settings.model_name} {LAST_EVENT_ONLY}", "write prefixes")


def _check_texts(settings: Settings) -> None:
    if settings.get("text_match") and is_reference(settings.model):
        raise settings.fault("text_match", "but a class of one's own may score otherwise", "write text_match: ~")
    item_fields = (settings.get("load_col") or {}).get("item")
    if item_fields and set(item_fields) == {settings.get("ITEM_ID_FIELD")} and needs_text(settings):
        without = ["text_match: ~"] if settings.get("text_match") else []
        without += ["streams: [collaborative, rating]", "text_init: False"] if settings.family == "SEAR" else []
        raise settings.fault(
            "load_col",
            "whose item names no text field for the sentences",
            f"add one, or do without text: {' and '.join(without)}",
        )


def _divisors(number: int) -> str:
    return ", ".join(str(divisor) for divisor in range(1, number + 1) if number % divisor == 0)


def needs_text(settings: Settings) -> bool:
    """Whether the run reads text embeddings: for the semantic stream, to start the item tables, or to match texts."""
    of_sear = settings.family == "SEAR" and ("semantic" in settings.get("streams") or settings.get("text_init"))
    return bool(of_sear or settings.get("text_match"))


def require_data_files(settings: Settings, data_path: Path | str) -> None:
    """Raises InputError for the first missing atomic file, before RecBole tries to download anything."""
    suffixes = dict.fromkeys(["inter", *(settings.get("load_col") or {})])
    for suffix in suffixes:
        path = Path(data_path) / f"{settings.dataset}.{suffix}"
        if not path.is_file():
            from sear.settings.published import published

            known = published(settings.dataset)
            remedy = (
                f"make it with: python -m sear.atomic_files {known.name} RAW_DIR"
                if known
                else "put it there (dataset/README.md shows the format), or mend data_path"
            )
            raise InputError(f"{shown(path)} is missing - {remedy}")


HELD_OUT = "but the last two events of each user are held out, and all items ranked"
WRITE_EVAL_ARGS = "write eval_args: {split: {LS: valid_and_test}, order: TO, mode: full, group_by: user}"
LAST_EVENT_ONLY = "learns from the last event of a row alone"
