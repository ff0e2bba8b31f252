"""What a run reads of its files: each YAML file and each table once."""

import builtins
import io
import pathlib
from collections import Counter

import pandas as pd
import pytest

from sear.settings import rules
from tests.helpers.killed_run import run


@pytest.fixture
def reads(monkeypatch):
    """How often each YAML file was opened, and each file parsed as a table."""
    found: Counter[str] = Counter()
    real_open, real_read = io.open, pd.read_csv

    def counted_open(file, *arguments, **options):
        if str(file).endswith(".yaml") and not str(file).endswith("config.yaml"):
            found[str(file)] += 1
        return real_open(file, *arguments, **options)

    def counted_read(file, *arguments, **options):
        found[str(file)] += 1
        return real_read(file, *arguments, **options)

    rules._read.cache_clear()
    monkeypatch.setattr(builtins, "open", counted_open)
    monkeypatch.setattr(io, "open", counted_open)
    if hasattr(pathlib, "_NormalAccessor"):  # of Python 3.10, whose paths keep an `open` of their own
        monkeypatch.setattr(pathlib._NormalAccessor, "open", staticmethod(counted_open))
    monkeypatch.setattr(pd, "read_csv", counted_read)
    return found


def test_a_run_reads_each_file_once(here, reads):
    run(here, model="Pop")
    yaml = [name for name in reads if name.endswith(".yaml")]
    assert any(name.endswith("SEAR.yaml") for name in yaml) and any(name.endswith("overall.yaml") for name in yaml)
    assert {str(here / "tiny" / f"tiny.{suffix}") for suffix in ("inter", "item")} <= set(reads)
    assert set(reads.values()) == {1}


def test_a_yaml_file_that_is_written_anew_is_read_again(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("k: 1\n")
    assert rules.read_settings(path)[0] == {"k": 1}
    path.write_text("k: 12\n")
    assert rules.read_settings(str(path))[0] == {"k": 12}
