"""Ablations: each takes one part out of SEAR, by the settings of a model that never had it."""

from collections.abc import Sequence
from typing import Any

STREAMS = ("semantic", "collaborative", "rating")
SETTINGS = {  # part -> the settings without it
    "aggregation": {"aggregation": False},
    "text_init": {"text_init": False},
    "soft_labels": {"soft_label_length": 1},
}
PARTS = (*STREAMS, *SETTINGS)


def settings_without(part: str, streams: Sequence[str]) -> dict[str, Any]:
    """The settings that take `part` out of a SEAR with these streams; those of an unknown part are empty."""
    if part in STREAMS:
        return {"streams": [name for name in streams if name != part]}
    return SETTINGS.get(part, {})
