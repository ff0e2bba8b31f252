"""What a SEARDataset promises, and the settings and objects of RecBole's that would break it."""

from collections.abc import Mapping
from typing import Any

from sear.errors import InputError

HELD_OUT = "but the last two events of each user are held out, and all items ranked"
WRITE_EVAL_ARGS = "write eval_args: {split: {LS: valid_and_test}, order: TO, mode: full, group_by: user}"
LAST_EVENT_ONLY = "learns from the last event of a row alone"


def is_leave_one_out(eval_args: Mapping[str, Any]) -> bool:
    """Whether RecBole's eval_args ask for what is done: leave-one-out by time, full ranking."""
    given = {"mode": "full", "group_by": "user"} | dict(eval_args)
    if isinstance(given["mode"], Mapping) and set(given["mode"]) <= {"valid", "test"}:
        given["mode"] = "full" if all(mode == "full" for mode in given["mode"].values()) else None
    return given == {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full", "group_by": "user"}


def train_rows(config) -> str:
    """ "windows" or "prefixes": what the config asks for, or else what its model learns from.

    Raises:
        InputError: windows for a model that would learn from one position in a hundred.
    """
    everywhere = any(kind.__module__.startswith("sear.") for kind in config.model_class.__mro__)
    asked = config["train_rows"] or ("windows" if everywhere else "prefixes")
    if asked not in ("windows", "prefixes"):
        raise InputError(f"train_rows is {asked!r} - write windows or prefixes")
    if asked == "windows" and not everywhere:
        raise InputError(f"train_rows is windows, but {config['model']} {LAST_EVENT_ONLY} - write prefixes")
    return asked


def require_sear_dataset(dataset, who: str) -> None:
    """Raises InputError where `who` is handed a dataset of another class."""
    if not hasattr(dataset, "item_text_embedding"):
        raise InputError(
            f"{who} needs a sear.dataset.SEARDataset, not a {type(dataset).__name__} - "
            "build it with: from sear.dataset import SEARDataset; dataset = SEARDataset(config)"
        )
