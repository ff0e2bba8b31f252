"""SEAR: sequential recommendation from item ids, item texts and ratings, as a RecBole extension.

from sear import run_sear
result = run_sear("ml-100k", epochs=2)
"""

import os

# OpenMP threads that wait keep a core busy, by default for milliseconds: beside other work on the machine an epoch then
# takes several times as long. So many turns of waiting cost an idle machine nothing. Read when torch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

__version__ = "1.0.0"
__all__ = ["InputError", "load", "run_sear"]


def __getattr__(name: str):
    """The names above, imported when first asked for: torch and RecBole take seconds."""
    if name == "run_sear":
        from sear.settings.known_models import recbole_root

        recbole_root()  # where RecBole is missing, one line says how to install it
        from sear.quick_start import run_sear

        return run_sear
    if name == "load":
        from sear.recommend.load import load

        return load
    if name == "InputError":
        from sear.errors import InputError

        return InputError
    raise AttributeError(f"module 'sear' has no attribute {name!r}")
