"""Data sets x models x ablations x seeds: every cell is one run; the results folder alone remembers what is done."""

import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from sear.errors import HeldError, InputError, OtherDataError
from sear.runs.find import find_runs
from sear.settings.keys import Role, with_role


@dataclass(frozen=True)
class Cell:
    """One run of the grid; `ablate` names the part left out, "" for none."""

    dataset: str
    model: str
    ablate: str
    seed: int

    def __str__(self) -> str:
        without = f" without {self.ablate}" if self.ablate else ""
        return f"{self.dataset}, {self.model}{without}, seed {self.seed}"


@dataclass
class GridOutcome:
    """What became of a grid: the run folder of every finished cell, why every other one is not finished."""

    finished: dict[Cell, Path] = field(default_factory=dict)
    failed: dict[Cell, str] = field(default_factory=dict)
    held: dict[Cell, str] = field(default_factory=dict)  # by another process, to which it is left

    @property
    def exit_code(self) -> int:
        """0 where every cell is finished, else 1."""
        return 1 if self.failed or self.held else 0


def grid_cells(
    datasets: Iterable[str],
    models: Iterable[str],
    seeds: Iterable[int],
    ablations: Iterable[str],
    ablatable: Callable[[str], bool],
) -> list[Cell]:
    """Every cell once: each model whole, and each ablatable model also without each of `ablations`.

    The seeds turn slowest, so that a grid stopped half-way holds every row of the table already.
    """
    parts = {model: ["", *ablations] if ablatable(model) else [""] for model in models}
    rows = [(dataset, model, part) for dataset, model in product(datasets, parts) for part in parts[model]]
    return list(dict.fromkeys(Cell(*row, seed) for seed in seeds for row in rows))


def keep_best_checkpoint(run_folder: Path) -> None:
    """Delete the checkpoint that only an unfinished run needs."""
    for path in run_folder.glob("*last*.pth"):
        path.unlink(missing_ok=True)  # another process may have found the run finished, too


def run_grid(
    cells: Sequence[Cell],
    run: Callable[[Cell], object],
    *,
    resume: Callable[[Path, Mapping], object],
    settings: Callable[[Cell], Mapping],
    data: Callable[[Cell], Mapping[str, str] | None] = lambda cell: None,
    say: Callable[[str], None] = print,
) -> GridOutcome:
    """Bring every cell of the grid to its end, whatever an earlier call left behind.

    A finished cell is not run again (deleting its folder is how to ask for that), an unfinished one is resumed, one
    that another process works on is left to it, a failed one is reported at the end and does not stop the others.
    Ctrl-C does; the same call goes on from there.

    Args:
        run: trains and tests one cell, leaving a run folder where its settings say.
        resume: brings an unfinished run folder to its end, with the second argument's settings in place of its own:
            those that change no result, such as use_gpu, as they are asked for now.
        settings: a cell's effective settings, as its run folder's config.yaml has them; `find_runs` looks where they
            say. Asked for all cells before any is run, so that a user's mistake costs no time.
        data: hashes of the data that a cell is trained on, as they are now; a run on other data is not taken as done.

    Raises:
        InputError: where `settings` does.
    """
    wanted = {cell: settings(cell) for cell in cells}
    outcome, told = GridOutcome(), set()

    def tell(line: str) -> None:
        if line not in told:
            told.add(line)
            say(line)

    def find(cell: Cell) -> tuple[Path | None, Path | None]:
        return find_runs(wanted[cell], data(cell), tell)

    for number, cell in enumerate(cells, start=1):
        name = f"cell {number} of {len(cells)}: {cell}"
        try:
            outcome.finished[cell] = _finish(cell, wanted[cell], name, run, find, resume, say)
            keep_best_checkpoint(outcome.finished[cell])
        except KeyboardInterrupt:
            say(f"stopped in {name} - the same command goes on from here")
            raise
        except HeldError as error:
            outcome.held[cell] = str(error)
            say(f"{name}: {error}")
        except InputError as error:
            outcome.failed[cell] = str(error)
        except Exception as error:  # the other cells are worth having, whatever went wrong in this one
            outcome.failed[cell] = f"{type(error).__name__}: {error}"
            say(traceback.format_exc())
        if cell in outcome.failed:
            say(f"{name} failed: {outcome.failed[cell]}")
    for cell in list(outcome.held):
        finished, _ = find(cell)
        if finished:  # by now
            outcome.finished[cell] = finished
            del outcome.held[cell]
    _conclude(outcome, len(cells), say)
    return outcome


def _conclude(outcome: GridOutcome, cells: int, say: Callable[[str], None]) -> None:
    say(f"{len(outcome.finished)} of {cells} cells are finished")
    for cell in outcome.held:
        say(f"left to another process: {cell} - the same command, later, reports on it too")
    for cell, message in outcome.failed.items():
        say(f"failed: {cell}: {message}")


def _finish(cell: Cell, wanted: Mapping, name: str, run, find, resume, say) -> Path:
    """The folder of the cell's finished run, after running or resuming it where that is needed.

    Raises:
        InputError: a finished run's files are broken, so that no report can be made of it.
    """
    from sear.runs.folder import read_run_folder  # imports pandas

    finished, unfinished = find(cell)
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
        run(cell)
    finished, _ = find(cell)
    assert finished, f"{cell}: the run left no folder with these settings and a metrics.json"
    return finished
