"""The command line, RecBole's way: `--key=value`; comma lists of data sets, models, ablations and seeds make a grid.

Everything that can be wrong is found before anything heavy is imported.
"""

import shlex
import sys
import traceback
from collections.abc import Sequence
from functools import cache

from sear.cli.arguments import PLACE, Request, is_sear, parse
from sear.errors import InputError
from sear.files import COMMAND, shown
from sear.runs.grid import Cell, GridOutcome, grid_cells, run_grid
from sear.settings.checks import check_settings
from sear.settings.gather import Settings, gather_settings


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line asks.

    Returns:
        The exit code: 0 done, 1 a cell of a grid is not finished, 2 a user's mistake, 130 stopped by Ctrl-C.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        return _obey(parse(argv))
    except (InputError, OSError) as error:
        if "--debug" in argv:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)  # a run that can go on has said how
        return 130


def _obey(request: Request) -> int:
    if request.help:
        from sear.cli.help import help_text

        print(help_text(request.models))
        return 0
    if request.resume or request.evaluate:
        _say(f"SEAR: {request.resume or request.evaluate}")
        from sear.quick_start import evaluate, resume

        (resume if request.resume else evaluate)(request.resume or request.evaluate, request.overrides)
        return 0
    cells = _checked_cells(request)
    return _run_cells(request, cells) if len(cells) > 1 else _run_one(request, cells[0])


def _say(line: str) -> None:
    print(line, flush=True)


def _checked_cells(request: Request) -> list[Cell]:
    """Every run that is asked for. Raises InputError for the first wrong setting of any of them."""
    asked = request.datasets, request.models
    seeds = request.seeds or [gather_settings(asked[0][0], asked[1][0], request.config_files).get("seed")]
    cells = grid_cells(*asked, seeds, request.ablations, is_sear)
    whole: dict[tuple[str, str], Settings] = {}
    for cell in cells[: len(cells) // len(seeds)]:  # another seed changes nothing here
        overrides = request.overrides_of(cell)
        settings = gather_settings(cell.dataset, cell.model, request.config_files, overrides, PLACE)
        check_settings(settings)
        full = whole.setdefault((cell.dataset, cell.model), settings)
        if cell.ablate and full.get("ablate"):
            raise full.fault("ablate", "and --ablate asks for other parts", "remove one of the two")
        if cell.ablate and full.values | {"ablate": cell.ablate} == settings.values:
            apart = f", or ask for {cell.model} in a command of its own" if len(request.models) > 1 else ""
            raise InputError(
                f"{PLACE}: {cell.model} does without {cell.ablate} already - remove it from --ablate{apart}"
            )
    return cells


def _run_one(request: Request, cell: Cell) -> int:
    _say(f"{cell.model}: {cell.dataset}, seed {cell.seed}")  # what follows imports torch, which takes seconds
    from sear.quick_start import run_sear

    run_sear(cell.dataset, cell.model, request.config_files, **request.overrides_of(cell))
    return 0


def _run_cells(request: Request, cells: Sequence[Cell]) -> int:
    _say(f"{len(cells)} cells; the first: {cells[0]}")
    for key, models in request.models_without_key().items():
        _say(f"without --{key}, which is no key of theirs: {', '.join(models)}")
    from sear.data.dataset import data_hashes
    from sear.quick_start import resume, run_sear
    from sear.settings.recbole_config import build_config, effective_settings

    files = request.config_files

    @cache
    def config_of(cell: Cell):
        return build_config(cell.dataset, cell.model, request.overrides_of(cell), files, PLACE)

    outcome = run_grid(
        cells,
        run=lambda cell: run_sear(cell.dataset, cell.model, files, **request.overrides_of(cell)),
        resume=resume,
        settings=lambda cell: effective_settings(config_of(cell)),
        data=lambda cell: data_hashes(config_of(cell)),
        say=_say,
    )
    return max(outcome.exit_code, _report(request, outcome)) if outcome.finished else outcome.exit_code


def _report(request: Request, outcome: GridOutcome) -> int:
    """One page on all finished cells; 1 where there is none to be made."""
    from sear.report import make_report

    command = shlex.join([*COMMAND, *request.words])
    try:
        _say(f"report: {shown(make_report(outcome.finished.values(), command=command))}")
    except InputError as error:
        _say(f"no report: {error}")
        return 1
    return 0
