"""SEAR and its baselines; `from sear.model import SEAR`."""

__all__ = ["SEAR"]


def __getattr__(name: str):
    """SEAR, imported when first asked for: RecBole takes seconds."""
    if name == "SEAR":
        from sear.model.sear import SEAR

        return SEAR
    raise AttributeError(f"module 'sear.model' has no attribute {name!r}")
