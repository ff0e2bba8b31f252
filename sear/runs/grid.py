"""Data sets x models x ablations x values x seeds: each is a run; the results folder alone remembers what is done."""

import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from sear import processes
from sear.console import refuse
from sear.errors import HeldError, InputError, LostProcessError, OtherDataError, WriteError
from sear.program import told
from sear.runs.command import without_going_on
from sear.runs.find import find_runs
from sear.runs.lock import claimed, clear_lock
from sear.settings.keys import Role, with_role
from sear.settings.rules import dump_value

PAUSE = 5.0  # seconds between two looks at runs that other processes work on
Variant = tuple[tuple[str, Any], ...]  # settings of one run that others of its grid have with other values


@dataclass(frozen=True)
class PlannedRun:
    """One run of the grid; `ablate` names the part left out, "" for none."""

    dataset: str
    model: str
    ablate: str
    seed: int
    variant: Variant = ()

    def __str__(self) -> str:
        without = f" without {self.ablate}" if self.ablate else ""
        return ", ".join([self.dataset, f"{self.model}{without}", *self.told_variant, f"seed {self.seed}"])

    @property
    def told_variant(self) -> list[str]:
        """Each setting of the variant as one would type it."""
        return [f"{key}={dump_value(value)}" for key, value in self.variant]


@dataclass
class GridOutcome:
    """What became of a grid: the run folder of every finished run, why every other one is not finished."""

    finished: dict[PlannedRun, Path] = field(default_factory=dict)
    failed: dict[PlannedRun, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 where every run is finished, else 1."""
        return 1 if self.failed else 0


def plan_runs(
    datasets: Iterable[str],
    models: Iterable[str],
    seeds: Iterable[int],
    ablations: Iterable[str],
    ablatable: Callable[[str], bool],
    variants: Callable[[str], Iterable[Variant]] = lambda model: [()],
) -> list[PlannedRun]:
    """Every run once: each model whole, and each ablatable model also without each of `ablations`, in all its variants.

    The seeds turn slowest, so that a grid stopped half-way holds every row of the table already.
    """
    parts = {model: ["", *ablations] if ablatable(model) else [""] for model in models}
    rows = [
        (dataset, model, part, variant)
        for dataset, model in product(datasets, parts)
        for part, variant in product(parts[model], variants(model))
    ]
    return list(dict.fromkeys(PlannedRun(*row[:3], seed, row[3]) for seed in seeds for row in rows))


def keep_best_checkpoint(run_folder: Path) -> None:
    """Delete the checkpoint that only an unfinished run needs, and the lock of a process that was killed."""
    clear_lock(run_folder)
    for path in run_folder.glob("*last*.pth"):
        with suppress(OSError):  # another process may have found the run finished, too; it does no harm there
            path.unlink(missing_ok=True)


def run_grid(
    runs: Sequence[PlannedRun],
    run: Callable[[PlannedRun], object],
    *,
    resume: Callable[[Path, Mapping], object],
    settings: Callable[[PlannedRun], Mapping],
    data: Callable[[PlannedRun], Mapping[str, str] | None] = lambda planned: None,
    say: Callable[[str], None] = print,
    complain: Callable[[str], object] = refuse,
) -> GridOutcome:
    """Bring every run of the grid to its end, whatever an earlier call left behind.

    A finished run is not run again (deleting its folder is how to ask for that), an unfinished one is resumed, one
    that another process works on, such as another grid of the same moment, is left to it and waited for when all
    others are done, a failed one is reported at the end and does not stop the others.
    Ctrl-C and a full disk do; the same call goes on from there.

    Args:
        run: trains and tests one run, leaving a run folder where its settings say.
        resume: brings an unfinished run folder to its end, with the second argument's settings in place of its own:
            those that change no result, such as use_gpu, as they are asked for now.
        settings: a run's effective settings, as its run folder's config.yaml has them; `find_runs` looks where they
            say. Asked for all runs before any is run, so that a user's mistake costs no time.
        data: hashes of the data that a run is trained on, as they are now; a run on other data is not taken as done.
        complain: says why a run failed.

    Raises:
        InputError: where `settings` does.
        WriteError: the machine does not let a run be written.
        LostProcessError: another of the processes that train together has ended.
    """
    wanted = {planned: settings(planned) for planned in runs}
    processes.ask("is_one_of_many")
    outcome, said = GridOutcome(), set()

    def say_once(line: str) -> None:
        if line not in said:
            said.add(line)
            say(line)

    def find(planned: PlannedRun) -> tuple[Path | None, Path | None]:
        return find_runs(wanted[planned], data(planned), say_once)

    def bring_to_its_end(planned: PlannedRun, name: str) -> None:
        """Raises HeldError where another process works on the run."""
        try:
            with nullcontext() if find(planned)[0] else claimed(wanted[planned]):
                outcome.finished[planned] = _finish(planned, wanted[planned], name, run, find, resume, say)
            keep_best_checkpoint(outcome.finished[planned])
        except KeyboardInterrupt as stop:
            raise type(stop)(f"stopped in {name} - the same command goes on from here") from stop
        except HeldError:
            raise
        except (WriteError, LostProcessError) as error:  # the other runs would fare no better
            raise type(error)(f"{name}: {without_going_on(error)}; then the same command goes on from here") from error
        except (InputError, OSError, MemoryError) as error:
            outcome.failed[planned] = told(error)
        except Exception as error:  # the other runs are worth having, whatever went wrong in this one
            outcome.failed[planned] = f"{type(error).__name__}: {error}"
            say(traceback.format_exc())
        if planned in outcome.failed:
            complain(f"{name} failed: {outcome.failed[planned]}")

    left = {planned: f"run {number} of {len(runs)}: {planned}" for number, planned in enumerate(runs, start=1)}
    while left:
        for planned, name in list(left.items()):
            with suppress(HeldError):
                bring_to_its_end(planned, name)
                del left[planned]
        if left:
            _wait(list(left.values()), say_once)
    _conclude(outcome, len(runs), say, complain)
    return outcome


def _wait(names: Sequence[str], say_once: Callable[[str], None]) -> None:
    """Until it is time to look again at runs that other processes work on."""
    for name in names:
        say_once(f"{name}: another process works on it: waiting for that one")
    try:
        time.sleep(PAUSE)
    except KeyboardInterrupt as stop:
        raise type(stop)(f"stopped while waiting for {names[0]} - the same command goes on from here") from stop


def _conclude(outcome: GridOutcome, runs: int, say: Callable[[str], None], complain: Callable[[str], object]) -> None:
    say(f"{len(outcome.finished)} of {runs} runs are finished")
    for planned, message in outcome.failed.items():
        complain(f"failed: {planned}: {message}")


def _finish(planned: PlannedRun, wanted: Mapping, name: str, run, find, resume, say) -> Path:
    """The folder of the finished run asked for, after running or resuming it where that is needed.

    Raises:
        InputError: a finished run's files are broken, so that no report can be made of it.
    """
    from sear.runs.folder import read_run_folder  # imports pandas

    finished, unfinished = find(planned)
    if finished:
        try:
            commit = (read_run_folder(finished).record.environment or {}).get("commit")
        except InputError as error:
            raise InputError(f"{error}; for the latter delete {finished}") from None
        place = f"{finished} at commit {commit}" if commit else str(finished)
        say(f"{name} is done already in {place} - delete that folder to run it again")
        return finished
    try:
        if unfinished:
            say(f"{name} goes on in {unfinished}")
            resume(unfinished, {key: value for key, value in wanted.items() if key in with_role(Role.PLACE)})
    except OtherDataError as error:
        say(f"{str(error).partition(' - ')[0]}: {name} begins anew")
        unfinished = None
    if not unfinished:
        say(name)
        run(planned)
    finished, _ = find(planned)
    assert finished, f"{planned}: the run left no folder with these settings and a metrics.json"
    return finished
