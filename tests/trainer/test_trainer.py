"""A training step on another device: what it may wait for, what it computes there, what a checkpoint keeps of it."""

import threading
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recbole.data import data_preparation

from sear.data.dataset import SEARDataset
from sear.ops.mamba_kernel import mamba_ssm_fault
from sear.settings.recbole_config import model_class
from sear.trainer.trainer import SEARTrainer
from tests.conftest import random_histories, write_atomic_files

on_gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
MODELS = ["SEAR", "GRU4Rec", "SASRec", "BERT4Rec", "Mamba4Rec", "eSASRec", "BSARec"]


@pytest.fixture
def make(tmp_path, tiny_config, tiny_text):
    """A function (model name, device, **changes) -> (trainer, loaders): the same weights on every device."""

    def build(name="SEAR", device="cpu", users=40, **changes):
        write_atomic_files(tmp_path, "tiny", random_histories(users))
        if name == "SEAR":
            changes = {"dropout_prob": 0.0} | changes
        config = tiny_config(tmp_path, name, **changes)
        loaders = data_preparation(config, SEARDataset(config))
        torch.manual_seed(0)
        config["device"], config["checkpoint_dir"] = torch.device(device), str(tmp_path)  # a model asks for the device
        model = model_class(name)(config, loaders[0]._dataset)
        return SEARTrainer(config, model.to(device)), loaders

    return build


def step(trainer, loaders, rows=8):
    batch = trainer.to_device(loaders[0].collate_fn(np.arange(rows)), training=True)
    return trainer._train_step(batch, trainer.model.calculate_loss)


@pytest.mark.parametrize("repeat_bias", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_no_size_in_a_step_depends_on_what_the_device_holds(make, name, repeat_bias, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows no tensors without numbers
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda _: False)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    trainer, loaders = make(name, "meta", repeat_bias=repeat_bias)  # tensors with a shape and no numbers
    batch = trainer.to_device(loaders[0].collate_fn(np.arange(8)), training=True)
    loss = trainer.model.calculate_loss(batch)
    loss.backward()
    assert loss.device.type == "meta"
    user_BD = trainer.model.user_vectors(batch)
    assert user_BD.shape == (8, trainer.model.item_table().shape[1])


@pytest.mark.parametrize("learner", ["adamw", "adam"])
def test_the_optimisers_one_pass_makes_the_steps_of_torchs_plain_one(make, learner):
    found = []
    for fused in (True, False):
        trainer, loaders = make("SEAR", learner=learner, weight_decay=0.01)
        assert all(group["fused"] for group in trainer.optimizer.param_groups)
        for group in trainer.optimizer.param_groups:
            group["fused"] = fused
        for _ in range(3):
            step(trainer, loaders)
        found.append([parameter.detach() for parameter in trainer.model.parameters()])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_a_validation_does_not_rank_without_the_history_whoever_asked_for_it_in_the_test(make, monkeypatch):
    trainer, (_, valid, test) = make("SEAR", mask_history=True)
    asked = []
    whole = SEARDataset.full_history
    monkeypatch.setattr(SEARDataset, "full_history", lambda part, index: asked.append(part) or whole(part, index))
    trainer.evaluate(valid, load_best_model=False)
    assert asked == []
    assert trainer.rank_cases(test)[1] is not None and asked != []


def test_on_a_gpu_batches_are_cut_one_step_ahead_in_another_thread(make):
    trainer, loaders = make("SEAR")
    index, cut_in = [np.arange(5), np.arange(5, 12), np.arange(3)], []

    def cut(batch):
        cut_in.append(threading.get_ident())
        return loaders[0].collate_fn(batch)

    trainer.device = torch.device("cuda")
    found = list(trainer._batches(SimpleNamespace(collate_fn=cut), index))  # a benchmark's loader has no more
    assert len(cut_in) == 3 and threading.get_ident() not in cut_in
    for ours, theirs in zip(found, map(loaders[0].collate_fn, index), strict=True):
        assert ours.interaction.keys() == theirs.interaction.keys()
        for name, values in theirs.interaction.items():
            torch.testing.assert_close(ours[name], values, rtol=0, atol=0, equal_nan=True)
    cut_in.clear()
    trainer.config["train_neg_sample_args"] = {"distribution": "uniform"}  # drawn with the seed of the step
    next(trainer._batches(SimpleNamespace(collate_fn=cut), index))
    assert cut_in == [threading.get_ident()]


class TestOnCuda:
    pytestmark = on_gpu

    @pytest.mark.parametrize("more", [{}, {"repeat_bias": True, "ema_decay": 0.99, "warmup_steps": 9}])
    @pytest.mark.parametrize("amp", [False, True])
    @pytest.mark.parametrize("name", MODELS)
    def test_a_step_never_waits_for_the_device(self, make, name, amp, more):
        tied = {"item_table": "tied"} if more else {}
        changes = more | ({"dropout_prob": 0.2} | tied if name == "SEAR" else {})
        trainer, loaders = make(name, "cuda", users=600, enable_amp=amp, clip_grad_norm={"max_norm": 5.0}, **changes)
        step(trainer, loaders, 500)  # thousands of events, as in a real batch; libraries may wait once, at the start
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            step(trainer, loaders, 500)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    @pytest.mark.parametrize("more", [{}, {"repeat_bias": True, "item_table": "tied"}])
    @pytest.mark.parametrize(("amp", "relative"), [(False, 1e-3), (True, 0.1)])
    def test_a_step_has_the_loss_and_the_gradients_of_the_cpu(self, make, amp, relative, more):
        found = []
        for device in ("cpu", "cuda"):
            trainer, loaders = make("SEAR", device, enable_amp=amp and device == "cuda", **more)
            loss = step(trainer, loaders).detach().cpu()
            gradient = torch.cat([parameter.grad.flatten().cpu() for parameter in trainer.model.parameters()])
            found.append((loss, gradient))
        (ours, our_gradient), (theirs, their_gradient) = found
        assert abs(ours - theirs) <= relative * theirs
        assert (our_gradient - their_gradient).norm() <= relative * their_gradient.norm()

    @pytest.mark.parametrize("repeat_bias", [False, True])
    def test_an_evaluation_finds_the_ranks_of_the_cpu(self, make, repeat_bias):
        ranks = []
        for device in ("cpu", "cuda"):
            trainer, loaders = make("SEAR", device, mask_history=True, repeat_bias=repeat_bias)
            if repeat_bias:
                trainer.model.repeat_bias.data.fill_(0.01)  # as large as the scores of a model without training
            ranks.append(np.stack(trainer.rank_cases(loaders[2])))
        assert np.abs(ranks[0] - ranks[1]).max() <= 1  # two scores may lie closer than their rounding

    @pytest.mark.parametrize(("first", "then"), [("cpu", "cuda"), ("cuda", "cpu")])
    def test_a_checkpoint_goes_on_on_the_other_device(self, make, first, then):
        stopped, loaders = make("SEAR", first, epochs=1)
        stopped.fit(loaders[0], verbose=False)
        resumed, loaders = make("SEAR", then)
        resumed.resume_checkpoint(stopped.checkpoints.last)
        resumed.fit(loaders[0], verbose=False)
        whole, loaders = make("SEAR", first)
        whole.fit(loaders[0], verbose=False)
        losses = [[row["loss"] for row in trainer.history] for trainer in (resumed, whole)]
        assert len(losses[0]) == 2
        np.testing.assert_allclose(*losses, rtol=1e-3)

    @pytest.mark.parametrize("kernel", ["triton", "mamba_ssm"])
    def test_the_fused_kernels_compute_what_plain_torch_does(self, make, kernel):
        if kernel == "mamba_ssm" and mamba_ssm_fault():
            pytest.skip(f"needs mamba-ssm and causal-conv1d: {mamba_ssm_fault()}")
        found = []
        for name in (kernel, "plain"):
            trainer, loaders = make("SEAR", "cuda", mamba_kernel=name)
            loss = step(trainer, loaders).detach()
            found.append(torch.cat([loss[None], *(p.grad.flatten() for p in trainer.model.parameters())]))
        assert (found[0] - found[1]).norm() <= 1e-3 * found[1].norm()
