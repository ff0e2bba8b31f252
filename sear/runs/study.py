"""A study in its storage, a journal or a database: opened by any number of processes."""

import os
from pathlib import Path

import optuna
from optuna.study import Study

from sear.errors import InputError


def open_study(name: str, storage: str, seed: int | None) -> Study:
    """The study of that name, new or as it stands.

    Args:
        storage: a file, which becomes a journal that processes and machines with a common file system share, or the
            URL of a database: sqlite:///FILE, postgresql://…
        seed: of the sampler; None: each worker its own.

    Raises:
        InputError: the storage cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(
            study_name=name,
            storage=_storage(storage),
            sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
            direction="maximize",
            load_if_exists=True,
        )
    except (OSError, ValueError, KeyError, ImportError, optuna.exceptions.StorageInternalError) as error:
        raise _no_storage(storage, error) from None
    except Exception as error:  # SQLAlchemy's own, which only a database needs
        if type(error).__module__.partition(".")[0] != "sqlalchemy":
            raise
        raise _no_storage(storage, error) from None


def _no_storage(storage: str, error: Exception) -> InputError:
    why = " ".join(str(error).split())[:200] or type(error).__name__
    return InputError(
        f"--storage={storage} cannot be opened ({why}) - name a file you may write, sqlite:///FILE or postgresql://…"
    )


def _storage(storage: str):
    if "://" in storage:
        return optuna.storages.RDBStorage(storage, engine_kwargs={"pool_pre_ping": True})
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    path = Path(storage)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = JournalFileOpenLock(str(path)) if os.name == "nt" else None  # symbolic links need rights on Windows
    return optuna.storages.JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
