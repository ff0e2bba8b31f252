"""The conversion benchmark: a dump is whole or not there, and both ways find the same events."""

import gzip

import pytest

from benchmarks import conversion
from benchmarks.measure import Request


def test_the_row_runs_and_names_its_peer():
    (row,) = conversion.rows(Request(quick=True))
    assert row.peer == conversion.PEER and row.rounds == 1
    assert row.ratio > 0 and row.peak_mb > 0 and row.peer_peak_mb > 0
    assert row.note.startswith("2,000 reviews; ") and "times less memory" in row.note


def test_a_dump_cut_short_never_bears_the_final_name(tmp_path, monkeypatch):
    monkeypatch.setattr(conversion, "_product", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        conversion.make_dump(tmp_path, 400)
    assert [path.name for path in tmp_path.iterdir()] == ["Pet_Supplies_5.json.gz"]
    with gzip.open(tmp_path / "Pet_Supplies_5.json.gz") as file:
        assert sum(1 for _ in file) == 402  # every 200th stands there twice
