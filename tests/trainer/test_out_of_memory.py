"""A run that memory does not suffice for ends in one line with the keys to lower, and may go on elsewhere."""

import re

import pytest

from sear.errors import OutOfMemoryError
from sear.quick_start import resume, run_sear
from tests.conftest import TOY


@pytest.mark.parametrize(
    "model, what, told",
    [
        ("Pop", "sear.trainer.trainer.case_ranks", "evaluate - lower eval_batch_size (256)"),
        ("SASRec", "sear.trainer.trainer.SEARTrainer._train_step", "train - lower soft_label_length (50) or "),
    ],
)
def test_the_keys_to_lower_are_named_and_the_run_goes_on_where_there_is_memory(here, monkeypatch, model, what, told):
    def short(*_, **__):
        raise MemoryError

    asked = TOY | {"epochs": 1, "soft_label_length": 50, "results_path": str(here / "results")}
    with monkeypatch.context() as patch, pytest.raises(OutOfMemoryError) as error:
        patch.setattr(what, short)
        run_sear("tiny", model, **asked)
    assert f"not enough to {told}" in str(error.value) and "\n" not in str(error.value)
    folder = re.search(r"go on with: python custom_trainer.py --resume=(\S+)$", str(error.value))[1]
    assert resume(folder)["epochs"] == 1
