"""The older data end at a date; a warm start is compared with training from scratch on the same newer data."""

import pytest

from benchmarks.warm_start import compare, cut_at_date
from sear.settings.rules import dump_yaml
from tests.conftest import TOY, random_histories, tiny_config_root, write_atomic_files


def test_the_older_data_end_at_a_date(tmp_path):
    path = tmp_path / "a.inter"
    path.write_text("user_id:token\ttimestamp:float\n" + "".join(f"u\t{time}\n" for time in (5, 1, 4, 2, 3)))
    cut_at_date(path, "timestamp", 0.5)
    assert path.read_text().splitlines()[1:] == ["u\t1", "u\t2", "u\t3"]


@pytest.mark.long
def test_both_trainings_are_told(tmp_path, monkeypatch, tiny_text):
    write_atomic_files(tmp_path, "tiny", random_histories())
    root = tiny_config_root(tmp_path)
    settings = TOY | {"data_path": str(tmp_path), "epochs": 1}
    (root / "data" / "tiny.yaml").write_text(dump_yaml(settings))
    monkeypatch.setattr("sear.settings.gather.CONFIG_ROOT", root)
    found = compare("tiny", "SEAR", 0.8, 1, {})
    older, scratch, warm = (found[name]["statistics"] for name in ("older", "from scratch", "warm start"))
    assert older["interactions"] < scratch["interactions"] == warm["interactions"]
    assert found["warm start"]["test"] != found["from scratch"]["test"]
