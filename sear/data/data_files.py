"""The atomic files of a data set, known by their content: what a run was trained on, and whether they stay so."""

from collections.abc import Mapping
from pathlib import Path

from sear.errors import InputError
from sear.files import known_sha256, require_unchanged


def data_hashes(config) -> dict[str, str]:
    """SHA-256 of the atomic files that a Config's data set has, by suffix: `inter`, and `item` where there is one.

    Raises:
        InputError: a file cannot be read.
    """
    try:
        return {suffix: known_sha256(path) for suffix, path in _atomic_files(config).items() if path.is_file()}
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read ({error.strerror}) - mend its rights") from None


def require_data_unchanged(config, hashes: Mapping[str, str]) -> None:
    """Raises InputError where the atomic files, which have been read since, have not these hashes any more."""
    for suffix, path in _atomic_files(config).items():
        require_unchanged(path, hashes.get(suffix))


def _atomic_files(config) -> dict[str, Path]:
    return {suffix: Path(config["data_path"]) / f"{config['dataset']}.{suffix}" for suffix in ("inter", "item")}
