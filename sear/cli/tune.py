"""sear tune: a hyper-parameter search that any number of processes and machines join."""

import argparse
import logging
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sear.cli.arguments import PLACE, Request, parse
from sear.console import say, show_what_can_be_shown, stopped_in_order
from sear.errors import InputError, LostProcessError, WriteError
from sear.files import BUNDLED, COMMAND, PROJECT_ROOT, from_here, shown, write_text
from sear.program import Parser, obey
from sear.runs.command import without_going_on
from sear.runs.led import led
from sear.settings.checks import check_settings
from sear.settings.gather import Settings, gather_settings, values_of_class
from sear.settings.rules import dump_value, dump_yaml, read_settings

if TYPE_CHECKING:
    from optuna.study import Study

    from sear.report.tables import Table
    from sear.runs.search_space import Parameter

ABOUT = """Search for hyper-parameters by validation, with Optuna's TPE and median pruning.

Every process that runs the same command joins the same study; a stopped one goes on with the same command. Further
--key=value words hold for all trials, as for training.
"""


def parser(prog: str) -> argparse.ArgumentParser:
    found = Parser(
        prog=prog, description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    found.add_argument("--dataset", help="one data set (default: ml-100k)")
    found.add_argument("--model", help="one model (default: SEAR)")
    found.add_argument("--space", metavar="FILE", help="what to try (default: config/tune/MODEL.yaml), or a hyper.test")
    found.add_argument("--trials", type=_count, default=50, help="trials of the whole study (default: 50)")
    found.add_argument("--hours", type=_hours, help="this process begins no trial after so many hours")
    found.add_argument(
        "--seed", metavar="N,…", help="seeds of each trial, whose mean counts (default: of --config, else 1)"
    )
    found.add_argument("--study", metavar="NAME", help="default: DATASET-MODEL")
    found.add_argument(
        "--storage", help="journal file, sqlite:///FILE or postgresql://… (default: in the study's folder)"
    )
    found.add_argument("--sampler_seed", type=int, help="for a search by one process that can be repeated")
    found.add_argument("--debug", action="store_true", help="show the traceback of a mistake")
    return found


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of hours above 0")
    return hours


def main(argv: Sequence[str] | None = None, prog: str = "sear tune") -> int:
    """Search, then write and print what was found.

    Returns:
        The exit code: 0 done, 2 a user's mistake, 130 or 143 stopped.
    """
    show_what_can_be_shown()
    words = list(sys.argv[1:] if argv is None else argv)
    asked, others = parser(prog).parse_known_args(words)
    return obey(lambda: led(lambda: _search(asked, others, shlex.join([*prog.split(), *words]))), asked.debug)


def _search(asked: argparse.Namespace, others: list[str], command: str) -> int:
    names = {"dataset": asked.dataset, "model": asked.model, "seed": asked.seed}
    request = parse([*(f"--{key}={name}" for key, name in names.items() if name is not None), *others])
    if (
        len(request.datasets) != 1
        or len(request.models) != 1
        or request.ablations
        or request.varied
        or request.resume
        or request.evaluate
    ):
        raise InputError(
            f"{PLACE}: a search is for one data set, one model and one value of each key - start one for each"
        )
    settings = _settings(request)
    told = any("seed" in read_settings(path)[0] for path in request.config_files)
    request.seeds = request.seeds or [settings.get("seed") if told else 1]
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise InputError("a search needs Optuna - run: pip install 'optuna>=4'") from None
    from sear.runs.search_space import check_space, read_space

    space = read_space(space_file(asked.space, settings))
    model = request.models[0]
    space = check_space(space, request.datasets[0], model, request.config_files, request.overrides)
    if fixed := [parameter.key for parameter in space if parameter.key in request.overrides]:
        raise InputError(f"{PLACE}: --{fixed[0]} is fixed, and the search space varies it - remove it from one of them")
    name = asked.study or f"{request.datasets[0]}-{model}".replace(":", ".")
    folder = PROJECT_ROOT / settings.get("results_path") / "tune" / name
    return _work(asked, request, settings, space, name, folder, command)


def _settings(request: Request) -> Settings:
    settings = gather_settings(request.datasets[0], request.models[0], request.config_files, request.overrides, PLACE)
    check_settings(settings)
    return settings


def space_file(asked: str | None, settings: Settings) -> Path:
    """The file that names what to try. Raises InputError where there is none."""
    if asked:
        return next((path for path in (Path(asked), PROJECT_ROOT / asked) if path.is_file()), Path(asked))
    names = [name for name in (settings.model_name, settings.family) if name]
    for root in dict.fromkeys((PROJECT_ROOT, BUNDLED)):
        for name in names:
            if (path := root / "config" / "tune" / f"{name}.yaml").is_file():
                return path
    raise InputError(
        f"there is no config/tune/{names[0]}.yaml - write one, such as  dropout_prob: [0.1, 0.2, 0.4], or set --space"
    )


def _work(
    asked: argparse.Namespace,
    request: Request,
    settings: Settings,
    space: list["Parameter"],
    name: str,
    folder: Path,
    command: str,
) -> int:
    from sear.report.study import trials_table
    from sear.runs.log import Terminal
    from sear.runs.search import Budget, Search

    study = _study(asked, request, settings, space, name, folder)
    budget = Budget(asked.trials, asked.hours)
    plan = (space, request.seeds, settings.get("epochs"))
    search = Search(study, *plan, _run(request), budget, sampler_seed=asked.sampler_seed)
    score = f"validation {settings.get('valid_metric')}"
    held = _given(request, settings)
    with Terminal(settings.get("state")):
        try:
            with stopped_in_order():
                search.work()
        except BaseException as end:
            _write_what_there_is(lambda: _write(study, space, score, folder, command, held))
            if isinstance(end, KeyboardInterrupt):
                raise type(end)("stopped - the same command goes on") from end
            if isinstance(end, (WriteError, LostProcessError)):
                raise type(end)(f"{without_going_on(end)}; then the same command goes on") from end
            raise
    page = _write(study, space, score, folder, command, held)
    if not page:
        raise InputError("no trial has finished - the messages above say why; mend the search space, or the settings")
    _show(trials_table(study, space, score), page, _train_command(request, folder / "best.yaml"))
    return 0


def _write(
    study: "Study", space: list["Parameter"], score: str, folder: Path, command: str, held: Mapping[str, Any]
) -> Path | None:
    """The page of the search, with best.yaml beside it; None where no trial has finished.

    Args:
        held: what held for all trials.
    """
    from sear.report.study import finished_trials, write_study
    from sear.runs.study import without_password

    if not finished_trials(study):
        return None
    best = {parameter.key: parameter.told(study.best_params[parameter.key]) for parameter in space}
    head = f"# Best values of the search {study.study_name}: {score} {study.best_value:.4f}.\n"
    write_text(folder / "best.yaml", head + dump_yaml({**held, **best}))
    return write_study(study, space, score, folder, without_password(command))


def _write_what_there_is(write: Callable[[], object]) -> None:
    """After an error, which is the one to be told: where its cause is a full disk or a lost storage this fails, too."""
    try:
        write()
    except Exception as error:
        logging.getLogger("sear").warning(f"the page of the search was not written: {error}")


def _study(
    asked: argparse.Namespace, request: Request, settings: Settings, space: list["Parameter"], name: str, folder: Path
) -> "Study":
    from sear.data.data_files import data_hashes
    from sear.data.text_encoder import encoder_checksums
    from sear.runs.study import open_study, what_scores_depend_on, without_password
    from sear.settings.recbole_config import build_config

    storage = asked.storage or str(folder / "study.log")
    if "://" not in storage:
        storage = str(from_here(storage))
    config = build_config(request.datasets[0], request.models[0], request.overrides, request.config_files, PLACE)
    data = data_hashes(config)
    encoder = (
        encoder_checksums(settings.get("item_sem_embedding_model_path"))["files"] if _reads_texts(settings) else None
    )
    scores = what_scores_depend_on(settings.in_force(), request.seeds, space, data, encoder)
    usual = {key: dump_value(value) for key, value in values_of_class(settings.model).items()}
    study = open_study(name, storage, scores, usual)
    say(f"study {name}: {len(study.trials)} trials so far; storage: {without_password(storage)}")
    return study


def _reads_texts(settings: Settings) -> bool:
    return settings.family == "SEAR" and (settings.get("text_init") or "semantic" in settings.get("streams"))


def _run(request: Request) -> Callable[[Mapping[str, Any], int, Callable[[int, float], None]], float]:
    """What runs one trial with one seed."""
    from sear.runs.trial import best_score

    def run(values: Mapping[str, Any], seed: int, told: Callable[[int, float], None]) -> float:
        overrides = {**request.overrides, **values, "seed": seed}
        return best_score(request.datasets[0], request.models[0], request.config_files, overrides, told)

    return run


def _given(request: Request, settings: Settings) -> dict[str, Any]:
    """What the --config files and the command line set for all trials, but for names and seeds."""
    given = [key for path in request.config_files for key in read_settings(path)[0]] + list(request.overrides)
    return {key: settings.values[key] for key in dict.fromkeys(given) if key in settings.values and key != "seed"}


def _train_command(request: Request, best: Path) -> str:
    names = [f"--dataset={request.datasets[0]}", f"--model={request.models[0]}"]
    seeds = ",".join(map(str, request.seeds))
    return shlex.join([*COMMAND, *names, f"--seed={seeds}", f"--config={shown(best)}"])


def _show(table: "Table", page: Path, train: str) -> None:
    from tabulate import tabulate

    rows = [[entry.text for entry in row] for row in table.entries[:10]]
    say(f"\n{tabulate(rows, headers=table.columns, disable_numparse=True)}\n")
    say(f"all trials and figures: {shown(page)}")
    say(f"train with the best values: {train}")
