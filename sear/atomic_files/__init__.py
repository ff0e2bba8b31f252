"""Raw dumps -> RecBole atomic files (`.inter`, `.item`): `python -m sear.atomic_files NAME RAW_DIR`."""

__all__ = ["Options", "Report", "convert"]


def __getattr__(name: str):
    """The names above, imported when first asked for: the program must take Ctrl-C before they are there."""
    if name not in __all__:
        raise AttributeError(f"module 'sear.atomic_files' has no attribute {name!r}")
    from sear.atomic_files import convert as module

    return getattr(module, name)
