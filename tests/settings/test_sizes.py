"""Sizes that no machine has: refused before work, by the key that is far beyond its default."""

import pytest

from sear.errors import InputError
from sear.settings.checks import check_settings
from sear.settings.gather import gather_settings, own_files


@pytest.mark.parametrize(
    "model, key, value",
    [
        ("SEAR", "hidden_size", 10_000_000_001),
        ("SEAR", "num_layers", 1_000_000_000),
        ("SEAR", "d_state", 10**9),
        ("SEAR", "d_conv", 10**10),
        ("SEAR", "expand", 10**8),
        ("SEAR", "soft_label_length", 10**10),
        ("Pop", "topk", [10, 10**6]),
        ("SASRec", "MAX_ITEM_LIST_LENGTH", 10**11),
        ("SASRec", "hidden_size", 10**6),
        ("eSASRec", "n_layers", 10**10),
        ("GRU4Rec", "embedding_size", 10**10),
        ("NARM", "embedding_size", 10**11),
    ],
)
def test_a_size_that_no_machine_has_is_refused_with_what_it_takes(monkeypatch, model, key, value):
    monkeypatch.setattr("sear.settings.sizes.machine_memory", lambda: 10**12)
    found = gather_settings("ml-100k", model, (), {key: value}, "command line")
    told = f"command line: {key} is .*, with which .* takes .*B of memory or more, and this machine has 1 TB - lower it"
    with pytest.raises(InputError, match=told):
        check_settings(found)


@pytest.mark.parametrize("model", own_files("model"))
def test_the_sizes_of_every_model_fit_a_small_machine(monkeypatch, model):
    monkeypatch.setattr("sear.settings.sizes.machine_memory", lambda: 10**9)
    check_settings(gather_settings("ml-100k", model))


@pytest.mark.parametrize("key, value", [("threads", 10**9), ("epochs", 10**30), ("MAX_ITEM_LIST_LENGTH", 1 << 63)])
def test_numbers_that_nothing_can_count_with_are_refused(key, value):
    with pytest.raises(InputError, match=f"{key} is {value}"):
        check_settings(gather_settings("ml-100k", "SEAR", (), {key: value}))
