"""Raw dumps -> RecBole atomic files (`.inter`, `.item`): `python -m sear.atomic_files NAME RAW_DIR`."""

from sear.atomic_files.convert import Options, Report, convert

__all__ = ["Options", "Report", "convert"]
