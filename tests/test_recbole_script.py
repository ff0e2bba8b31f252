"""SEAR's classes in a plain RecBole script."""

from types import SimpleNamespace

import pytest
import torch
from recbole.data import data_preparation
from recbole.data.dataset import SequentialDataset

from sear.data.dataset import SEARDataset
from sear.errors import InputError
from sear.model.sear import SEAR
from sear.trainer.trainer import SEARTrainer


def test_a_plain_recbole_script_works(here, tiny_config, tmp_path):
    config = tiny_config(here)
    config["checkpoint_dir"] = str(tmp_path / "saved")
    dataset = SEARDataset(config)
    train_data, valid_data, test_data = data_preparation(config, dataset)
    model = SEAR(config, train_data.dataset).to(config["device"])
    trainer = SEARTrainer(config, model)
    best_score, best_result = trainer.fit(train_data, valid_data)
    assert best_result["mrr@10"] == best_score
    assert set(trainer.evaluate(test_data)) == {"hit@10", "ndcg@10", "mrr@10"}


def test_a_dataset_of_another_class_is_told_which_one_is_needed(here, tiny_config):
    other = SequentialDataset.__new__(SequentialDataset)
    with pytest.raises(InputError, match="SEAR needs a sear.dataset.SEARDataset, not a SequentialDataset"):
        SEAR(tiny_config(here), other)
    config = tiny_config(here)
    trainer = SEARTrainer(config, SEAR(config, SEARDataset(config)))
    for use in (trainer.fit, trainer.evaluate):
        with pytest.raises(InputError, match="SEARTrainer needs a sear.dataset.SEARDataset, not a SequentialDataset"):
            use(SimpleNamespace(_dataset=other))


def test_a_plain_script_resumes_with_the_best_of_its_first_session(here, tiny_config, tmp_path, monkeypatch):
    config = tiny_config(here, epochs=3)
    config["checkpoint_dir"] = str(tmp_path / "saved")
    train_data, valid_data, test_data = data_preparation(config, SEARDataset(config))
    scores = iter([0.9, 0.1, 0.1])
    monkeypatch.setattr(SEARTrainer, "_valid_epoch", lambda self, *_: ((s := next(scores)), {"mrr@10": s}))
    first = SEARTrainer(config, SEAR(config, train_data.dataset))
    first.on_epoch_end = lambda: monkeypatch.setattr(first, "finished", True)
    first.fit(train_data, valid_data)
    config["checkpoint_dir"] = str(tmp_path / "elsewhere")
    second = SEARTrainer(config, SEAR(config, train_data.dataset))
    second.resume_checkpoint(first.checkpoints.last)
    second.fit(train_data, valid_data)
    assert len(second.history) == 3 and second.best_epoch == 0
    assert second.evaluate(test_data) == first.evaluate(test_data)


def test_without_validation_the_newest_epoch_is_kept(here, tiny_config, tmp_path):
    config = tiny_config(here, epochs=2)
    config["checkpoint_dir"] = str(tmp_path / "saved")
    config["eval_step"] = 0  # RecBole's word for never
    train_data, valid_data, _ = data_preparation(config, SEARDataset(config))
    trainer = SEARTrainer(config, SEAR(config, train_data.dataset))
    trainer.fit(train_data, valid_data)
    assert torch.load(trainer.saved_model_file, weights_only=True)["epoch"] == 1
