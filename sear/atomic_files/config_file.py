"""The `config/data` file of a data set that was converted: which columns to load, and the streams they allow."""

import shlex
from pathlib import Path

import yaml

from sear.atomic_files.convert import Options, Report
from sear.errors import InputError
from sear.files import CHECKOUT, COMMAND, PROJECT_ROOT, require_place_for_file, shown, write_text
from sear.settings import gather as settings
from sear.settings.published import asked_for


def config_lines(report: Report) -> str:
    """YAML of a config/data file that reads what was written."""
    rating = ["rating"] if report.rated else []
    load_col = {"inter": ["user_id", "item_id", *rating, "timestamp"]}
    config: dict[str, object] = {"load_col": load_col}
    streams = [*(["semantic"] if report.item_path else []), "collaborative", *rating]
    if report.item_path:
        load_col["item"] = ["item_id", *report.source.item_columns]
    if len(streams) < 3:  # all three are what SEAR has without being told
        config["streams"] = streams
    if not report.item_path:
        config["text_init"] = False
    config |= {f"{kind}_inter_num_interval": "[5,inf)" for kind in ("user", "item")}
    data_path = report.event_path.parent.parent.resolve()
    if data_path != Options.out:
        config["data_path"] = f"{data_path}/"
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=10_000, default_flow_style=None).rstrip()


def config_path(name: str, asked: str) -> Path:
    """Where the config goes: the file asked for, or `config/data/NAME.yaml` of the checkout or the working directory.

    Raises:
        InputError: NAME is a published data set, which has its config already; or no file can take that place.
    """
    if asked:
        require_place_for_file(Path(asked))
        return Path(asked)
    data_set = asked_for(name)
    if data_set:
        raise InputError(
            f"--write_config: {name} has its config/data/{data_set.name}.yaml already - give another file,"
            " --write_config=FILE, and train with --config=FILE"
        )
    return known_by_name(name)


def known_by_name(name: str) -> Path:
    """Where the file makes NAME a data set that `--dataset` knows."""
    root = settings.CONFIG_ROOT if CHECKOUT else PROJECT_ROOT / "config"
    return root / "data" / f"{name}.yaml"


def _text(name: str, report: Report) -> str:
    return f"# {name}: written by python -m sear.atomic_files\n{config_lines(report)}\n"


def is_there(path: Path, name: str, report: Report) -> bool:
    """Whether the file has the config already, to the letter."""
    return path.is_file() and path.read_bytes() == _text(name, report).encode()


def require_own_config(path: Path, name: str, report: Report) -> None:
    """Raise InputError where the file is there with other content, before the data of `report` are written."""
    if path.exists() and not is_there(path, name, report):
        raise InputError(
            f"{shown(path)} is there already and differs from what this conversion would write; nothing was changed -"
            " move it away, name another with --write_config=FILE, or replace it with --overwrite"
        )


def write_config(path: Path, name: str, report: Report) -> str:
    """Write the config and return what to do next."""
    write_text(path, _text(name, report))
    train = f"--dataset={name}" if path == known_by_name(name) else f"--dataset={name} --config={shown(path)}"
    return f"wrote {shown(path)}\nTo train on it: {shlex.join(COMMAND)} {train}"
