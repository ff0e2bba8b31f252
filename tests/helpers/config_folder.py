"""A config folder and data folders of a test's own."""

import shutil

from sear.files import PROJECT_ROOT
from sear.settings import gather as settings


def copy_config(tmp_path, monkeypatch):
    """A copy of the project's config folder that a test may change."""
    shutil.copytree(PROJECT_ROOT / "config", tmp_path / "config")
    monkeypatch.setattr(settings, "CONFIG_ROOT", tmp_path / "config")
    return tmp_path / "config"


def data_folder(tmp_path, name, suffixes=("inter", "item")):
    (tmp_path / name).mkdir(parents=True, exist_ok=True)
    for suffix in suffixes:
        (tmp_path / name / f"{name}.{suffix}").touch()
    return str(tmp_path)
