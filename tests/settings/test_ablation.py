"""`ablate` as a setting: it wins over files, holds when read again, and is for SEAR alone."""

import pytest

from sear.errors import InputError
from sear.files import PROJECT_ROOT
from sear.settings.known_models import PARTS
from sear.settings.recbole_config import build_config, config_from_settings, effective_settings
from sear.settings.rules import dump_yaml, read_rules
from tests.helpers.config_folder import copy_config


@pytest.mark.parametrize("part", PARTS)
def test_a_part_left_out_stays_out_when_the_runs_settings_are_read_again(tmp_path, part):
    settings = effective_settings(build_config("ml-100k", overrides={"ablate": part}))
    assert effective_settings(config_from_settings(settings)) == settings
    (tmp_path / "config.yaml").write_text(dump_yaml(settings))
    assert effective_settings(build_config("ml-100k", config_files=[tmp_path / "config.yaml"])) == settings


def test_the_part_wins_over_every_file_and_keeps_the_other_streams(tmp_path, monkeypatch):
    root = copy_config(tmp_path, monkeypatch)
    (root / "model" / "SEAR-two.yaml").write_text("model: SEAR\nstreams: [collaborative, rating]\n")
    assert build_config("ml-100k", "SEAR-two", {"ablate": "rating"})["streams"] == ["collaborative"]
    overrides = {"ablate": "soft_labels", "soft_label_length": 8}
    assert build_config("ml-100k", "SEAR-two", overrides)["soft_label_length"] == 1


def test_the_last_stream_cannot_be_left_out():
    with pytest.raises(InputError, match="ablate: rating: streams is \\[\\], an empty list"):
        build_config("ml-100k", overrides={"ablate": "rating", "streams": ["rating"]})


@pytest.mark.parametrize("model", ["SASRec", "Pop", "NARM"])
def test_a_peer_has_no_part_to_leave_out(model):
    with pytest.raises(InputError, match=f"ablate is 'rating', but {model} has no such part - remove it"):
        build_config("ml-100k", model, {"ablate": "rating"})


def test_the_parts_are_those_that_the_settings_file_allows():
    rule = read_rules(PROJECT_ROOT / "config" / "model" / "SEAR.yaml")["ablate"]
    assert all(map(rule.accepts, (*PARTS, None))) and not rule.accepts("ratings")
    with pytest.raises(InputError, match="ablate is 'ratings', not str: .*did you mean rating"):
        build_config("ml-100k", overrides={"ablate": "ratings"})
