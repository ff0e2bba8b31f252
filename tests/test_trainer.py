"""A training step on another device: what it may wait for, what it computes there, what a checkpoint keeps of it."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from recbole.data import data_preparation
from recbole.data.interaction import Interaction

from sear.configuration import model_class
from sear.dataset import SEARDataset
from sear.mamba import _fused_kernels_installed
from sear.trainer import SEARTrainer
from tests.conftest import random_histories, write_atomic_files

on_gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.fixture
def make(tmp_path, tiny_config, tiny_text):
    """A function (model name, device, **changes) -> (trainer, training data): the same weights on every device."""

    def build(name="SEAR", device="cpu", **changes):
        write_atomic_files(tmp_path, "tiny", random_histories())
        config = tiny_config(tmp_path, name, dropout_prob=0.0, **changes)
        train, *_ = data_preparation(config, SEARDataset(config))
        torch.manual_seed(0)
        model = model_class(name)(config, train._dataset)
        config["device"], config["checkpoint_dir"] = torch.device(device), str(tmp_path)
        return SEARTrainer(config, model.to(device)), train

    return build


def step(trainer, train, rows=8):
    batch = trainer._to_device(train.collate_fn(np.arange(rows)))
    return trainer._train_step(batch, trainer.model.calculate_loss)


@pytest.mark.parametrize("name", ["SEAR", "GRU4Rec", "Mamba4Rec"])
def test_no_size_in_a_step_depends_on_what_the_device_holds(make, name, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows no tensors without numbers
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda _: False)
    trainer, train = make(name)
    batch = train.collate_fn(np.arange(8)).interaction
    nothing = Interaction({field: value.to("meta") for field, value in batch.items()})  # shapes without numbers
    loss = trainer.model.to("meta").calculate_loss(nothing)
    loss.backward()
    assert loss.device.type == "meta"
    user_BD = trainer.model.user_vectors(nothing)
    assert user_BD.shape == (8, trainer.model.item_table().shape[1])


def test_the_positions_that_come_with_a_batch_are_those_that_its_targets_tell(make):
    trainer, train = make()
    batch = train.collate_fn(np.arange(30))
    told = trainer.model.calculate_loss(batch)
    del batch.interaction["loss_position"]
    assert torch.equal(trainer.model.calculate_loss(batch), told)


class TestOnCuda:
    pytestmark = on_gpu

    @pytest.mark.parametrize("amp", [False, True])
    @pytest.mark.parametrize("name", ["SEAR", "Mamba4Rec"])
    def test_a_step_never_waits_for_the_device(self, make, name, amp):
        trainer, train = make(name, "cuda", enable_amp=amp)
        step(trainer, train)  # libraries may wait once, when they start
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            step(trainer, train)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    @pytest.mark.parametrize(("amp", "relative"), [(False, 1e-3), (True, 3e-2)])
    def test_a_step_has_the_loss_and_the_gradients_of_the_cpu(self, make, amp, relative):
        found = []
        for device in ("cpu", "cuda"):
            trainer, train = make("SEAR", device, enable_amp=amp and device == "cuda")
            found.append([step(trainer, train).detach().cpu()])
            found[-1] += [parameter.grad.cpu() for parameter in trainer.model.parameters()]
        for ours, theirs in zip(*found, strict=True):
            assert (ours - theirs).abs().max() <= relative * theirs.abs().max() + 1e-6

    @pytest.mark.parametrize(("first", "then"), [("cpu", "cuda"), ("cuda", "cpu")])
    def test_a_checkpoint_goes_on_on_the_other_device(self, make, first, then):
        stopped, train = make("SEAR", first, epochs=1)
        stopped.fit(train, verbose=False)
        resumed, train = make("SEAR", then)
        resumed.resume_checkpoint(stopped.last_model_file)
        resumed.fit(train, verbose=False)
        whole, train = make("SEAR", first)
        whole.fit(train, verbose=False)
        losses = [[row["loss"] for row in trainer.history] for trainer in (resumed, whole)]
        assert len(losses[0]) == 2
        np.testing.assert_allclose(*losses, rtol=1e-3)

    @pytest.mark.skipif(not _fused_kernels_installed(), reason="needs mamba-ssm and causal-conv1d")
    def test_the_fused_kernels_compute_what_plain_torch_does(self, make, monkeypatch):
        found = []
        for installed in (True, False):
            monkeypatch.setattr("sear.mamba._fused_kernels_installed", lambda installed=installed: installed)
            trainer, train = make("SEAR", "cuda")
            found.append([step(trainer, train).detach(), *(p.grad for p in trainer.model.parameters())])
        for ours, theirs in zip(*found, strict=True):
            assert (ours - theirs).abs().max() <= 1e-3 * theirs.abs().max() + 1e-6
