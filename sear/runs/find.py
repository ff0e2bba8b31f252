"""Runs are known by their settings: which run folder, if any, holds the run that these settings ask for."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sear.errors import InputError
from sear.files import PROJECT_ROOT, known_digest, require_file
from sear.runs.record import other_data, other_encoder, read_metrics
from sear.settings.gather import values_of_class
from sear.settings.keys import Role, with_role
from sear.settings.own_models import is_reference
from sear.settings.rules import read_settings

MOVABLE = {"data_path", "item_sem_embedding_model_path"}  # folders that metrics.json knows by their content


def settings_hash(settings: Mapping) -> str:
    """16 hexadecimal digits that name the effective settings, the same before writing config.yaml and after reading it.

    1 and 1.0 are the same, and so are list and tuple.
    """
    return _hash(deciding_settings(settings))


def training_hash(settings: Mapping) -> str:
    """`settings_hash` of those alone that can change what is trained."""
    without = with_role(Role.AFTER | Role.ADDS_METRICS)
    return _hash({key: value for key, value in deciding_settings(_whole(settings)).items() if key not in without})


def _hash(settings: Mapping) -> str:
    plain = json.loads(json.dumps(settings, default=str), parse_int=float)
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def recorded_hash(settings: Mapping) -> str:
    """`settings_hash` as metrics.json keeps it, to show a config.yaml that was changed since.

    The places of data and encoder are left out too, for a folder may be moved: what lies there is compared. A key that
    runs were trained with must never turn from one that decides results into one that does not: they would be refused.
    """
    return _hash({key: value for key, value in deciding_settings(settings).items() if key not in MOVABLE})


def deciding_settings(settings: Mapping) -> dict[str, Any]:
    """Those that can change a run's result: devices, threads, bars and places are left out."""
    without = with_role(Role.PLACE | Role.UNUSED)
    return {str(key): value for key, value in settings.items() if key not in without}


def find_runs(
    settings: Mapping, data: Mapping[str, str] | None = None, tell: Callable[[str], object] = print
) -> tuple[Path | None, Path | None]:
    """(the newest finished run, the newest unfinished one) with these settings in the place that they name.

    A run is known by its config.yaml, and finished when it has metrics.json, which is written last. One whose
    config.yaml cannot be read is nobody's, and a finished one must have been trained with these very settings, on the
    same data and by the same text encoder: `tell` says which folders are left out, and why.

    Args:
        data: hashes of the atomic files as they are now (sear.data.data_files.data_hashes); None takes any run's data
            and by any encoder.
    """
    finished, unfinished = None, None
    for path in _alike(settings, settings_hash(_whole(settings)), _hash_of, tell):
        if not (path.parent / "metrics.json").exists():
            unfinished = path.parent
        elif why := data is not None and _why_not_done(path, settings, data):
            tell(f"{path.parent} {why}: not taken as done")
        else:
            finished = path.parent
    return finished, unfinished


def find_trainings(settings: Mapping, data: Mapping[str, str]) -> list[Path]:
    """Finished runs, the newest first, whose training is the one that these settings ask for; each has its checkpoint.

    Their settings may differ in what is mixed into the scores after training, and in whether seen items are filtered.

    Args:
        data: as for `find_runs`.
    """
    if settings["train_on"] == "all":  # what is mixed in was chosen by the run that validated
        return []
    found: list[Path] = []
    for path in _alike(settings, training_hash(settings), _training_digest, lambda line: None):
        there = all((path.parent / name).exists() for name in ("metrics.json", "best.pth"))
        if there and not _why_not_done(path, settings, data):
            found.insert(0, path.parent)
    return found


def _alike(
    settings: Mapping, wanted: str, digest: Callable[[Path], str], tell: Callable[[str], object]
) -> Iterator[Path]:
    """The config.yaml of each run with the wanted digest, of the data set and in the place that the settings name."""
    place = PROJECT_ROOT / settings["results_path"] / settings["dataset"]
    for path in sorted(_config_files(place), key=lambda path: path.parent.name):
        try:
            found = known_digest(digest, path)  # a grid asks again and again
        except FileNotFoundError:  # taken back by another process just now
            continue
        except InputError as error:
            tell(f"left out: {error}")
            continue
        if found == wanted:
            yield path


def _why_not_done(config: Path, settings: Mapping, data: Mapping[str, str]) -> str:
    """Why a finished run with these settings in its config.yaml is not the one asked for, "" where it is.

    A broken metrics.json is for the reader of the run to tell.
    """
    try:
        record = read_metrics(config.parent)
    except InputError:
        return ""
    if record.settings is not None and record.settings != recorded_hash(read_settings(config)[0]):
        return "was trained with other settings than its config.yaml says by now"
    if record.data is None:
        return "does not say which data it was trained on, as runs of an earlier SEAR"
    if other := other_data(record.data, data):
        return f"was trained on other data (its {' and '.join(f'.{suffix}' for suffix in other)} file was another)"
    if record.text_encoder:
        from sear.data.text_encoder import encoder_checksums  # imports numpy

        path = settings["item_sem_embedding_model_path"]
        with suppress(InputError):  # an encoder that is not whole by now: which one it is, is not known
            if other_encoder(record.text_encoder, encoder_checksums(path)):
                return f"was trained by another text encoder than {path} is by now"
    if record.began_with:
        from sear.runs.warm_start import digest_of_start  # imports torch

        if digest_of_start(settings["warm_start"]) not in (record.began_with, None):
            return f"began with another model than {settings['warm_start']} holds by now"
    return ""


def _config_files(place: Path) -> list[Path]:
    while True:
        with suppress(FileNotFoundError):  # a folder was taken back by another process during the walk: walk again
            return list(place.glob("*/*/config.yaml"))


def _hash_of(path: Path) -> str:
    return settings_hash(_whole(read_settings(require_file(path))[0]))


def _training_digest(path: Path) -> str:
    return training_hash(read_settings(require_file(path))[0])


def _whole(settings: Mapping) -> dict[str, Any]:
    """Also with the keys that it does not have: a run that is older than a key was as if that had its usual value."""
    model = settings.get("model")
    if not isinstance(model, str) or is_reference(model):  # looking for runs must not import a class of the user's
        return dict(settings)
    return {**values_of_class(model), **settings}
