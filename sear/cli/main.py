"""The command line, RecBole's way: `--key=value`; comma lists of data sets, models, seeds and other values make a grid.

Everything that can be wrong is found before anything heavy is imported.
"""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from sear import processes
from sear.cli.arguments import PLACE, Request, is_sear, parse
from sear.console import refuse, say, stopped_in_order
from sear.errors import InputError
from sear.files import COMMAND, REPORT_COMMAND, shown
from sear.program import obey
from sear.runs.grid import GridOutcome, PlannedRun, plan_runs, run_grid
from sear.runs.led import led
from sear.settings.checks import check_settings
from sear.settings.gather import Settings, gather_settings


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line asks.

    Returns:
        The exit code: 0 done, 1 a run of a grid is not finished, 2 a user's mistake, 130 stopped by Ctrl-C, 143 by
        SIGTERM.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    return obey(lambda: led(lambda: _obey(parse(words))), "--debug" in words)


def _obey(request: Request) -> int:
    if request.help:
        from sear.cli.help import help_text

        say(help_text(request.models))
        return 0
    folder = request.resume or request.evaluate
    if folder:
        say(f"{'going on with' if request.resume else 'evaluating'}: {shown(folder)}")
        from sear.quick_start import evaluate, resume

        with stopped_in_order():
            done = (resume if request.resume else evaluate)(folder, request.overrides)
        if request.resume:
            _name_report(done)
        return 0
    runs = _checked_runs(request)
    return _run_grid(request, runs) if len(runs) > 1 else _run_one(request, runs[0])


def _checked_runs(request: Request) -> list[PlannedRun]:
    """Every run that is asked for. Raises InputError for the first wrong setting of any of them."""
    asked = request.datasets, request.models
    seeds = request.seeds or [gather_settings(asked[0][0], asked[1][0], request.config_files).get("seed")]
    runs = plan_runs(*asked, seeds, request.ablations, is_sear, request.variants_of)
    whole: dict[tuple, Settings] = {}
    for planned in runs[: len(runs) // len(seeds)]:  # another seed changes nothing here
        overrides = request.overrides_of(planned)
        settings = gather_settings(planned.dataset, planned.model, request.config_files, overrides, PLACE)
        check_settings(settings)
        full = whole.setdefault((planned.dataset, planned.model, planned.variant), settings)
        if planned.ablate and full.get("ablate"):
            raise full.fault("ablate", "and --ablate asks for other parts", "remove one of the two")
        if planned.ablate and full.values | {"ablate": planned.ablate} == settings.values:
            apart = f", or ask for {planned.model} in a command of its own" if len(request.models) > 1 else ""
            raise InputError(
                f"{PLACE}: {planned.model} does without {planned.ablate} already - remove it from --ablate{apart}"
            )
    return runs


def _run_one(request: Request, planned: PlannedRun) -> int:
    say(f"{planned.model}: {planned.dataset}, seed {planned.seed}")  # what follows imports torch, which takes seconds
    from sear.quick_start import resume, run_sear
    from sear.runs.training_run import RUN_FOLDER

    with stopped_in_order():
        begun = processes.noted(RUN_FOLDER)
        if begun and (Path(begun) / "config.yaml").exists():  # torchrun has started the processes anew
            done = resume(begun)
        else:
            done = run_sear(planned.dataset, planned.model, request.config_files, **request.overrides_of(planned))
    _name_report(done)
    return 0


def _name_report(done: Mapping[str, Any]) -> None:
    """The command that reports on a run and on all others on its data set; on it alone where its folder was moved."""
    folder = Path(os.path.abspath(done["run_folder"]))
    above = folder.parent.parent
    place = str(above if above.name == done["dataset"] else folder)
    place = os.path.relpath(place) if Path(place).is_relative_to(Path.cwd()) else place
    say(f"make a report with: {shlex.join([*REPORT_COMMAND, place])}")


def _run_grid(request: Request, runs: Sequence[PlannedRun]) -> int:
    say(f"{len(runs)} runs; the first: {runs[0]}")
    for key, models in request.models_without_key().items():
        say(f"without --{key}, which is no key of theirs: {', '.join(models)}")
    from sear.data.data_files import data_hashes
    from sear.quick_start import resume, train
    from sear.settings.recbole_config import build_config, effective_settings

    files = request.config_files

    def new_config(planned: PlannedRun):
        return build_config(planned.dataset, planned.model, request.overrides_of(planned), files, PLACE)

    config_of = cache(new_config)

    with stopped_in_order():
        outcome = run_grid(
            runs,
            run=lambda planned: train(new_config(planned), planned.told_variant, reuse=True),
            resume=lambda folder, places: resume(folder, places=places, reuse=True),
            settings=lambda planned: effective_settings(config_of(planned)),
            data=lambda planned: data_hashes(config_of(planned)),
            say=say,
        )
    return max(outcome.exit_code, _report(request, outcome)) if outcome.finished else outcome.exit_code


def _report(request: Request, outcome: GridOutcome) -> int:
    """One page on all finished runs; 1 where there is none to be made."""
    from sear.report import make_report

    command = shlex.join([*COMMAND, *request.words])
    try:
        say(f"report: {shown(make_report(outcome.finished.values(), command=command))}")
    except InputError as error:
        refuse(f"no report: {error}")
        return 1
    return 0
