"""A study in its storage, a journal or a database: opened by any number of processes, and for one question alone."""

import os
import random
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.study import Study

from sear.errors import InputError
from sear.runs.find import deciding_settings
from sear.runs.search_space import Parameter
from sear.settings.rules import dump_value

STARTS = 20  # attempts to open a study
# what a database says of tables that another process is just making
STARTED_MEANWHILE = re.compile(r"already exists|duplicate key|UNIQUE constraint|locked|no such table", re.IGNORECASE)
ENCODER = "text encoder"  # among the scores' attributes; not known where an earlier SEAR began, or its files are gone
SCORES = "scores"  # a study's attribute: all that its scores depend on besides what the search varies


def open_study(
    name: str, storage: str, scores: Mapping[str, str] | None = None, usual: Mapping[str, str] | None = None
) -> Study:
    """The study of that name, new or as it stands.

    Args:
        storage: a file, which becomes a journal that processes and machines with a common file system share, or the
            URL of a database: sqlite:///FILE, postgresql://…
        scores: what all scores of one study have in common, as `what_scores_depend_on` gives it.
        usual: settings as the model's files have them, for a study that is older than a key.

    Raises:
        InputError: the storage cannot be opened, or the study's scores are others than those asked for.
    """
    for attempt in range(STARTS):
        try:
            study = _open(name, storage)
            break
        except InputError as error:
            if attempt == STARTS - 1 or not STARTED_MEANWHILE.search(str(error.__cause__)):
                raise error from None
            time.sleep(random.uniform(0.1, 0.5))
    if SCORES not in study.user_attrs and not study.trials:
        study.set_user_attr(SCORES, dict(scores or {}))
    known, asked = study.user_attrs.get(SCORES, {}), dict(scores or {})
    for what in sorted(known.keys() | asked.keys()):
        if what == ENCODER and not (what in known and what in asked):
            continue
        if what not in known and (usual or {}).get(what, "") == asked[what]:
            continue
        if known.get(what) != asked.get(what):
            was, is_now = known.get(what, "not set"), asked.get(what, "not set")
            raise InputError(f"study {name} was begun with another {what} ({was}, now {is_now}) - take another --study")
    return study


def sampler(seed: int | None, number: int) -> optuna.samplers.TPESampler:
    """What proposes a study's trial of that number, lost ones not counted.

    With a seed the proposal follows from it, the number and the trials before. One sampler for all trials of a process
    would begin anew where a search goes on, and propose again what has been tried.
    """
    own = None if seed is None else int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    return optuna.samplers.TPESampler(seed=own, constant_liar=True)


def what_scores_depend_on(
    settings: Mapping[str, Any],
    seeds: Sequence[int],
    space: Iterable[Parameter],
    data: Mapping[str, str],
    encoder: str | None = None,
) -> dict[str, str]:
    """Of a search: the settings that decide a run's result, the seeds, what is varied, hashes of the data and of the
    text encoder's files, None where it is not known or not used.
    """
    space = list(space)
    without = {"seed", "data_path", *(parameter.key for parameter in space)}
    found = {key: dump_value(value) for key, value in deciding_settings(settings).items() if key not in without}
    found["seed"] = ",".join(map(str, seeds))
    found |= {f"search space of {parameter.key}": parameter.text() for parameter in space}
    found |= {f".{suffix} file": digest[:16] for suffix, digest in data.items()}
    return found | ({ENCODER: encoder[:16]} if encoder else {})


def _open(name: str, storage: str) -> Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(
            study_name=name,
            storage=_storage(storage),
            sampler=sampler(None, 0),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
            direction="maximize",
            load_if_exists=True,
        )
    except (OSError, ValueError, KeyError, ImportError, optuna.exceptions.StorageInternalError) as error:
        raise _no_storage(storage, error) from error
    except Exception as error:  # SQLAlchemy's own, which only a database needs
        if type(error).__module__.partition(".")[0] != "sqlalchemy":
            raise
        raise _no_storage(storage, error) from error


def _no_storage(storage: str, error: Exception) -> InputError:
    why = " ".join(str(error).split())[:200] or type(error).__name__
    place = without_password(f"--storage={storage} cannot be opened ({why})")
    return InputError(f"{place} - name a file you may write, sqlite:///FILE or postgresql://…")


def without_password(text: str) -> str:
    """The text with *** in place of the passwords of URLs."""
    text = re.sub(r"(://[^\s:@/?]*):[^\s]*@", r"\1:***@", text)
    return re.sub(r"([?&]\w*password=)[^\s&'\"]*", r"\1***", text)


def _storage(storage: str):
    if "://" in storage:
        return optuna.storages.RDBStorage(storage, engine_kwargs={"pool_pre_ping": True})
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    path = Path(storage)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = JournalFileOpenLock(str(path)) if os.name == "nt" else None  # symbolic links need rights on Windows
    return optuna.storages.JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
