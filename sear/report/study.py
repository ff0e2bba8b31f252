"""The page of a hyper-parameter search: its trials as a table, their history, what matters, and slices by key."""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from sear.files import write_text
from sear.report.figure_style import LIGHT, SERIES, Figure, axes, css_variables, keep, legend_below
from sear.report.tables import Entry, Table, file_name, write_table
from sear.runs.search_space import Parameter
from sear.runs.workers import RETRY
from sear.settings.rules import dump_value

HERE = Path(__file__).parent
STATES = {
    TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed",
    TrialState.RUNNING: "running", TrialState.WAITING: "waiting",
}  # fmt: skip
FEWEST = 4  # finished trials from which importances mean something


def told_trials(study: Study) -> list[FrozenTrial]:
    """Every trial but those that a killed worker left and another one went on with."""
    trials = study.get_trials(deepcopy=False)
    taken_up = {trial.user_attrs[RETRY] for trial in trials if RETRY in trial.user_attrs}
    return [trial for trial in trials if trial.number not in taken_up and (trial.params or trial.values)]


def finished_trials(study: Study) -> list[FrozenTrial]:
    """The trials that have a score."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def trials_table(study: Study, space: Sequence[Parameter], score: str) -> Table:
    """A row per trial, the best first, then those without a value."""
    rows = []
    for trial in told_trials(study):
        values = {p.key: p.told(trial.params[p.key]) for p in space if p.key in trial.params}
        epochs = len(trial.intermediate_values)
        value = trial.value if trial.state == TrialState.COMPLETE else None  # Optuna gives a pruned one its last score
        row = {"trial": trial.number, "state": STATES[trial.state], score: value, "validations": epochs}
        rows.append(row | values)
    keys = [parameter.key for parameter in space]
    frame = pd.DataFrame(rows, columns=["trial", "state", score, "validations", *keys])
    frame = frame.sort_values([score, "trial"], ascending=[False, True], na_position="last", kind="stable")
    best = frame[score].max()
    entries = [
        [
            Entry(str(row["trial"])),
            Entry(row["state"]),
            Entry("–" if math.isnan(row[score]) else f"{row[score]:.4f}", best=row[score] == best),
            Entry(str(row["validations"])),
            *(Entry(_short(row[key])) for key in keys),
        ]
        for row in frame.astype({score: float}).to_dict("records")
    ]
    return Table("trials", "Trials", list(frame.columns), entries, frame, "Pruned trials have no value.", texts=2)


def _short(value: object) -> str:
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4g}"
    return dump_value(value)


def write_study(study: Study, space: Sequence[Parameter], score: str, folder: Path, command: str) -> Path:
    """report.html, trials.csv, .md and .tex, and the figures as PNG and SVG in `folder`; returns the page's path."""
    import jinja2

    table = trials_table(study, space, score)
    write_table(table, folder)
    finished = finished_trials(study)
    figures = []
    if finished:
        figures += [_history(finished, score, folder), *_importances(study, folder, len(finished))]
        figures += [_slice(parameter, finished, score, folder) for parameter in space]
    loader = jinja2.FileSystemLoader(HERE)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template("study.html").render(
        name=study.study_name,
        table=table,
        figures=figures,
        command=command,
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        light=css_variables(0),
        dark=css_variables(1),
    )
    write_text(folder / "report.html", page)
    return folder / "report.html"


def _history(finished: Sequence[FrozenTrial], score: str, folder: Path) -> Figure:
    ordered = sorted(finished, key=lambda trial: trial.number)
    numbers, values = [trial.number for trial in ordered], [trial.value for trial in ordered]
    best = pd.Series(values).cummax()
    with axes() as ax:
        ax.plot(numbers, values, "o", color=SERIES[0], label="trial")
        ax.step(numbers, best, where="post", color=SERIES[1], label="best so far")
        ax.set(xlabel="trial", ylabel=score)
        legend_below(ax)
        return keep(ax, folder, "history", "History", "Each point is a finished trial; the line is the best so far.")


def _importances(study: Study, folder: Path, finished: int) -> list[Figure]:
    from optuna.importance import get_param_importances

    if finished < FEWEST:
        return []
    try:
        found = get_param_importances(study)
    except (ValueError, RuntimeError):  # all values equal, or keys that not all trials have
        return []
    keys, shares = list(found)[::-1], list(found.values())[::-1]
    with axes(height=1.2 + 0.3 * len(keys)) as ax:
        ax.barh(keys, shares, color=SERIES[0])
        ax.set(xlabel="share of the variance")
        ax.grid(axis="y", visible=False)
        text = "How much of the scores' variance each key explains (fANOVA): a hint, with few trials a weak one."
        return [keep(ax, folder, "importances", "Importance", text)]


def _slice(parameter: Parameter, finished: Sequence[FrozenTrial], score: str, folder: Path) -> Figure:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    pairs = [(trial.params[parameter.key], trial.value) for trial in finished if parameter.key in trial.params]
    names = [dump_value(choice) for choice in parameter.choices]  # as the storage knows them, in the space's order
    places = [names.index(value) if names else float(value) for value, _ in pairs]
    with axes() as ax:
        ax.plot(places, [value for _, value in pairs], "o", color=SERIES[0], markeredgecolor=LIGHT["paper"])
        if names:
            ax.set_xticks(range(len(names)), names)
            ax.set_xlim(-0.5, len(names) - 0.5)
        if parameter.log:
            ax.set_xscale("log")
            ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set(xlabel=parameter.key, ylabel=score)
        name = f"slice-{file_name(parameter.key)}"
        return keep(ax, folder, name, parameter.key, "Each point is a finished trial; the other keys differ, too.")
