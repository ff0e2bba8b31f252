"""What a conversion says at its end: what was read and written, how that compares, and how to train on it."""

import shlex

from tabulate import tabulate

from sear.atomic_files.compressed import SUFFIXES
from sear.atomic_files.config_file import config_lines, is_there, known_by_name
from sear.atomic_files.convert import Options, Report
from sear.data.events import day
from sear.files import COMMAND, shown
from sear.settings.published import DataSet, asked_for


def outcome(name: str, report: Report, config_file: str = "") -> str:
    """Notices, the statistics before and after 5-core beside the published, and the next step.

    config_file: what is said of a config that was written.
    """
    source, data_set = report.source, asked_for(name)
    files = " and ".join(dict.fromkeys(str(path) for path in (source.event_path, source.item_path) if path))
    lines = [f"{name}: read {source.format} from {files}", *(f"- {notice}" for notice in report.notices)]
    rows = [("all events", *report.all_counts), ("after 5-core", *report.core_counts)]
    if data_set:
        rows.append(("published", data_set.users, data_set.items, data_set.interactions))
    shown_rows = [(label, *(f"{count:,}" for count in counts), _sparsity(*counts)) for label, *counts in rows]
    headers = ("", "users", "items", "interactions", "sparsity")
    lines.append(tabulate(shown_rows, headers, "github", colalign=("left", "right", "right", "right", "right")))
    if report.time_span:
        first, last = map(day, report.time_span)
        lines.append(f"The events are from {first} to {last}.")
    if not report.core_counts[2]:
        lines.append(
            "Nothing is left after 5-core: lower user_inter_num_interval and item_inter_num_interval to train."
        )
    lines.append(_comparison(data_set, report))
    lines.append(f"wrote {' and '.join(shown(path) for path in (report.event_path, report.item_path) if path)}")
    if config_file:
        return "\n".join([*lines, config_file])
    return "\n".join(lines + (_next_step(data_set, report) if data_set else _own_config(name, report)))


def _sparsity(users: int, items: int, interactions: int) -> str:
    return f"{1 - interactions / (users * items):.4%}" if interactions else "-"


def _comparison(data_set: DataSet | None, report: Report) -> str:
    if data_set is None:
        return "Nothing is published about this data set to compare with."
    if report.core_counts == (data_set.users, data_set.items, data_set.interactions):
        return "After 5-core it equals the published statistics."
    differs = "After 5-core it DIFFERS FROM the published statistics"
    file = report.source.event_path.name
    plain = next((file.removesuffix(suffix) for suffix in SUFFIXES if file.lower().endswith(suffix)), file)
    if data_set.edition in (report.source.format, plain.lower()):
        return f"{differs}."
    edition = f"{report.source.format} ({file})"
    return f"{differs}: those are of another edition, {data_set.edition}, and this is {edition}; not comparable."


def _next_step(data_set: DataSet, report: Report) -> list[str]:
    """How to train on a data set that has its file in config/data, where that needs saying."""
    lines, data_path = [], report.event_path.parent.parent.resolve()
    if data_path != Options.out:
        where = shlex.quote(f"{data_path}/")
        lines.append(f"To train on it: {shlex.join(COMMAND)} --dataset={data_set.name} --data_path={where}")
    elif data_set.name == "ml-100k":
        lines.append("As long as these files are there, training reads them and not the ones inside RecBole.")
    if report.item_path is None:
        lines += ["To train without texts, save these lines as a file and add --config=FILE:", config_lines(report)]
    return lines


def _own_config(name: str, report: Report) -> list[str]:
    """How to train on a data set of one's own; nothing where its config is there already."""
    if is_there(known_by_name(name), name, report):
        return []
    return [
        f"To train on it, add --write_config, or write this into config/data/{name}.yaml:",
        config_lines(report),
    ]
