"""metrics.json of a run: one schema, for those who write it and for those who read it."""

import re
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from sear.errors import InputError
from sear.files import read_json

GROUPED = ("test_by_history_length", "test_by_item_popularity", "test_by_days_since_last")
CLASS_KEY = "class"  # in the file; no field can be called so


@dataclass
class RunRecord:
    """What metrics.json holds, in its order; metrics go by RecBole's names, such as hit@10.

    Fields after `environment` may be missing in a file: an earlier SEAR did not keep them.

    Attributes:
        model, class_name: as asked for, and the class behind that name.
        statistics: of the data set after filtering, see SEARDataset.statistics.
        best_epoch, valid: the epoch that was tested, from 0, and its validation metrics; None without validation.
        test: empty where every event trained.
        test_history_masked: with seen items filtered; None where not asked for.
        test_by_history_length, test_by_item_popularity, test_by_days_since_last: {group, cases, METRIC, …} of each,
            metrics as in `test`.
        seconds: {data, text, train, test}.
        environment: see sear.runs.machine.environment, and `earlier_commits` of a resumed run.
        ablate: the part of SEAR taken out.
        peak_memory_since: "run" or, where the system cannot forget an earlier peak, "process".
        overrides: the settings that are not those of the YAML files (sear.settings.recbole_config.overrides_of).
        data: SHA-256 of the atomic files by suffix (sear.data.data_files.data_hashes).
        command: makes the run again; for readers only.
        transition_prior, text_match: what validation chose to mix in, see sear.trainer.mixing.Choice.
        text_encoder: {path, weights, files} of the encoder of the items' texts, see encoder_checksums in sear.data.
        validated_by: RUN_ID of the run that says how good this one is, where every event trained.
        training_of: RUN_ID of the run that did the training, where only what is mixed in after it was another.
        settings: names the settings in config.yaml, see sear.runs.find.recorded_hash.
        began_with: digest of the model that `warm_start` named, see sear.runs.model_folder.
        weights: of best.pth, see sear.trainer.checkpoint.weights_digest.
        variant, cases_sha256: of a frozen run, see sear.report.freeze.
    """

    dataset: str
    model: str
    seed: int
    statistics: dict[str, Any] | None
    epochs: int
    best_epoch: int | None
    valid: dict[str, float | None] | None
    test: dict[str, float]
    test_history_masked: dict[str, float] | None
    test_by_history_length: list[dict[str, Any]] | None
    test_by_item_popularity: list[dict[str, Any]] | None
    seconds: dict[str, float] | None
    environment: dict[str, Any] | None
    class_name: str | None = None
    ablate: str | list[str] | None = None
    valid_metric: str | None = None
    peak_memory_mb: float | None = None
    peak_memory_since: str | None = None
    parameters: int | None = None
    overrides: dict[str, Any] | None = None
    data: dict[str, str] | None = None
    command: str | None = None
    peak_gpu_memory_mb: float | None = None
    test_by_days_since_last: list[dict[str, Any]] | None = None
    transition_prior: dict[str, Any] | None = None
    text_match: dict[str, Any] | None = None
    text_encoder: dict[str, str | None] | None = None
    validated_by: str | None = None
    training_of: str | None = None
    settings: str | None = None
    began_with: str | None = None
    weights: str | None = None
    variant: str | None = None
    cases_sha256: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The file's content, without the fields that only some runs have where this one has none."""
        rare = {field.name for field in fields(self)[_RARE:]}
        found = {name: value for name, value in vars(self).items() if name not in rare or value is not None}
        return {CLASS_KEY if name == "class_name" else name: value for name, value in found.items()}

    @classmethod
    def from_dict(cls, content: object, place: Path | str, remedy: str = "restore it, or run again") -> "RunRecord":
        """The record in a file's content; what it holds besides, as another SEAR may write it, is passed over.

        Raises:
            InputError: a field is missing or of the wrong type; names `place` and `remedy`.
        """
        if not isinstance(content, Mapping):
            raise InputError(f"{place} holds no fields - {remedy}")
        known = dict(content)
        if CLASS_KEY in known:
            known["class_name"] = known.pop(CLASS_KEY)
        if "given" in known:  # as a run that was frozen by an earlier SEAR calls them
            known.setdefault("overrides", known["given"])
        missing = [field.name for field in fields(cls)[:_REQUIRED] if field.name not in known]
        if missing:
            raise InputError(f"{place} lacks {', '.join(missing)} - it is not a run's metrics.json; {remedy}")
        found = {field.name: known[field.name] for field in fields(cls) if field.name in known}
        for name, value in found.items():
            if not fits(value, _KINDS[name]):
                raise InputError(f"{place}: {name} is {value!r}, no {_word(_KINDS[name])} - {remedy}")
            odd = [one for one in value or [] if not _is_group(one, found["test"])] if name in GROUPED else []
            if odd:
                raise InputError(f"{place}: {name} holds {odd[0]!r}, no group of test cases - {remedy}")
            if name in ("dataset", "model") and not _NAME.fullmatch(value):  # folders and files are called so
                raise InputError(f"{place}: {name} is {value!r}, no name - {remedy}")
        return cls(**found)


def read_metrics(run_folder: Path, remedy: str = "restore it, or run again") -> RunRecord:
    """metrics.json of a run. Raises InputError where it is broken, or not one of a run."""
    path = run_folder / "metrics.json"
    return RunRecord.from_dict(read_json(path, remedy), path, remedy)


def other_data(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The suffixes of the atomic files that are not the same by their hashes, such as inter and item."""
    return [suffix for suffix in sorted({*one, *other}) if one.get(suffix) != other.get(suffix)]


def other_encoder(one: Mapping[str, str | None], other: Mapping[str, str | None]) -> bool:
    """Whether two text encoders differ in content; what is not known of one of them does not count."""
    return any(one.get(part) and other.get(part) and one[part] != other[part] for part in ("weights", "files"))


def _is_group(group: Mapping[str, Any], metrics: Mapping[str, Any]) -> bool:
    whole = {"group", "cases", *metrics} <= set(group) and isinstance(group["group"], str) and fits(group["cases"], int)
    return whole and all(fits(group[name], float | None) for name in metrics)


_NAME = re.compile(r"(?!\.{1,2}$)[^/\\\x00-\x1f]+")
_REQUIRED = [field.name for field in fields(RunRecord)].index("class_name")
_RARE = [field.name for field in fields(RunRecord)].index("peak_gpu_memory_mb")
_KINDS = get_type_hints(RunRecord)


def fits(value: object, kind: Any) -> bool:
    """Whether a value from a JSON file is of a type as annotations write it, such as `dict[str, float | None]`."""
    if get_origin(kind) in (types.UnionType, Union):
        return any(fits(value, part) for part in get_args(kind))
    if get_origin(kind) is list:
        return isinstance(value, list) and all(fits(entry, get_args(kind)[0]) for entry in value)
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(fits(entry, get_args(kind)[1]) for entry in value.values())
    if kind is Any:
        return True
    if kind is float:
        return isinstance(value, float | int) and not isinstance(value, bool)
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _word(kind: Any) -> str:
    parts = get_args(kind) if get_origin(kind) in (types.UnionType, Union) else (kind,)
    return " or ".join((get_origin(part) or part).__name__ for part in parts if part is not type(None))
