"""W&B and TensorBoard: each training is one run there, with its epochs, validations and test; off unless asked for."""

import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, Protocol

from recbole.utils import WandbLogger, get_local_time

from sear.errors import InputError
from sear.files import write_text, writing
from sear.settings.gather import plain

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

WANDB_ID = "wandb_run_id"  # a file of a run's folder: a resumed run is the same one at W&B
Parts = Mapping[str, Mapping[str, Any]]  # train, valid or test -> metric -> value


class _Tracker(Protocol):
    def log(self, parts: Parts, epoch: int) -> None: ...

    def close(self, failed: bool) -> None: ...


class _Wandb:
    """A run at W&B, written to by RecBole's WandbLogger; one that the caller began, as in a sweep, is left open."""

    def __init__(self, config, folder: Path | None):
        try:
            import wandb

            self._ours = wandb.run is None
            if self._ours:
                settings = plain(dict(getattr(config, "in_force", config.final_config_dict)))
                wandb.init(project=config["wandb_project"], config=settings, **_wandb_place(config, folder))
            self._logger, self._module = WandbLogger(config), wandb
        except ImportError as error:
            raise InputError(f"log_wandb: {error} - pip install wandb, or leave log_wandb out") from None
        except Exception as error:  # network, account, project: W&B's errors have no common type
            reason = str(error).strip().partition("\n")[0]
            remedy = "mend that, set WANDB_MODE=offline, or leave log_wandb out"
            raise InputError(f"log_wandb: W&B does not take the run ({reason}) - {remedy}") from error

    def log(self, parts: Parts, epoch: int) -> None:
        *others, last = parts
        for part in (*others, last):  # one row for all
            steps = {"train_step": epoch, "valid_step": epoch}
            self._logger.log_metrics({**parts[part], **steps}, head=part, commit=part == last)

    def close(self, failed: bool) -> None:
        if self._ours:
            self._module.finish(exit_code=int(failed))


def _wandb_place(config, folder: Path | None) -> dict[str, Any]:
    """A run folder's name and id at W&B, and its place for W&B's files where WANDB_DIR names no other."""
    if folder is None:
        return {}
    path = folder / WANDB_ID
    if not path.exists():
        write_text(path, secrets.token_hex(8) + "\n")
    place: dict[str, Any] = {"id": path.read_text(encoding="utf-8").strip(), "resume": "allow"}
    place["name"] = f"{config['dataset']}-{config['model_name']}-{folder.name}"
    return place | ({} if os.environ.get("WANDB_DIR") else {"dir": str(folder)})


class _TensorBoard:
    """Event files in `tensorboard` beside the checkpoints.

    Its writer works in a thread of its own; what is raised there is raised again here, where it is told in one line.
    """

    def __init__(self, config, folder: Path | None):
        script = Path(config["checkpoint_dir"]) / f"{config['model']}-{get_local_time()}"
        self._place = str((folder or script) / "tensorboard")
        self._writer: SummaryWriter | None = None
        self._threads: set[threading.Thread] = set()  # of the writer
        self._hook = _without_writers(threading.excepthook)
        self._hook_before, threading.excepthook = threading.excepthook, self._hook

    def log(self, parts: Parts, epoch: int) -> None:
        with writing(f"{self._place}/events"):
            if self._writer is None:
                from torch.utils.tensorboard import SummaryWriter

                before = set(threading.enumerate())
                try:
                    self._writer = SummaryWriter(self._place, purge_step=epoch)  # of a resumed run, epochs come again
                finally:
                    self._threads = set(threading.enumerate()) - before
            for part, metrics in parts.items():
                for name, value in metrics.items():
                    self._writer.add_scalar(f"{part}/{name}", value, epoch)
            self._writer.flush()

    def close(self, failed: bool) -> None:
        try:
            with suppress(OSError) if failed else writing(f"{self._place}/events"):  # why it failed is told already
                if self._writer is not None:
                    self._writer.close()
        finally:
            for thread in self._threads:
                thread.join(timeout=1)  # one that fails may be about to say so
            if threading.excepthook is self._hook:  # else somebody's own hook goes by this one
                threading.excepthook = self._hook_before


Hook = Callable[[threading.ExceptHookArgs], object]


def _without_writers(before: Hook) -> Hook:
    """The hook `before`, but without a traceback of a TensorBoard writer's thread that could not write."""

    def hook(found: threading.ExceptHookArgs) -> None:
        places = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(found.exc_traceback)]
        of_writer = any(place.startswith("tensorboard.summary.writer") for place in places)
        if not of_writer or not isinstance(found.exc_value, OSError):
            before(found)

    return hook


class Tracking:
    """What W&B (`log_wandb`) and TensorBoard (`log_tensorboard`) are told of one training."""

    def __init__(self, config):
        self._config = config
        self._trackers: list[_Tracker] | None = None
        self._kinds = [kind for key, kind in (("log_wandb", _Wandb), ("log_tensorboard", _TensorBoard)) if config[key]]

    def open(self, folder: Path | None = None) -> None:
        """Begin, once. Raises InputError where W&B is not there or does not take the run."""
        if self._trackers is None:
            self._trackers = [kind(self._config, folder) for kind in self._kinds]

    @contextmanager
    def of_run(self, folder: Path) -> Iterator[None]:
        """Begun for a run folder, or gone on with, and finished with the block, whatever ends it."""
        self.open(folder)
        failed = True
        try:
            yield
            failed = False
        finally:
            for tracker in self._trackers or ():
                tracker.close(failed)

    def log_epoch(self, row: Mapping[str, Any]) -> None:
        """One row of a trainer's `history`."""
        valid = {name.removeprefix("valid_"): value for name, value in row.items() if name.startswith("valid_")}
        train = {name: value for name, value in row.items() if name != "epoch" and not name.startswith("valid_")}
        self._log({"train": train, "valid": valid}, row["epoch"])

    def log_test(self, metrics: Mapping[str, float], epoch: int) -> None:
        """The metrics of the test, at the epoch whose weights were tested."""
        self._log({"test": metrics}, epoch)

    def _log(self, parts: Parts, epoch: int) -> None:
        told = {part: {name: v for name, v in metrics.items() if v is not None} for part, metrics in parts.items()}
        told = {part: metrics for part, metrics in told.items() if metrics}
        for tracker in self._trackers or () if told else ():
            tracker.log(told, epoch)
