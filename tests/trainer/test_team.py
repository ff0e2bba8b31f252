"""Several processes train what one process trains: gradients, losses, parameters, ranks, metrics, checkpoints."""

import hashlib
import json
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sear.trainer.team import Team, _Loss
from sear.trainer.trainer import SEARTrainer
from tests.helpers import toy_command
from tests.helpers.ranks import Command, Ranks
from tests.model.test_sampling import SAMPLED as SAMPLED_MODELS

WITHOUT_DROPOUT = ("--hidden_dropout_prob=0", "--attn_dropout_prob=0")
SAMPLED = "--loss_type=sampled", "--sample_size=5", "--sample_from=[in_batch,popularity,uniform]"
KINDS = {  # what is trained -> the words that ask for it; the kernels' dropout is the same in every number of processes
    "SEAR": ("--model=SEAR",),
    "SEAR, with what can be added": (
        "--model=SEAR", "--item_table=tied", "--repeat_bias=True", "--ema_decay=0.9", "--warmup_steps=5",
        "--transition_prior=[0,1,2]", "--text_match=[0.5,2]", "--text_whitening=8", "--valid_protocol=mean",
        "--mask_history=True",
    ),
    "SEAR, fewer rows in a batch than processes": ("--model=SEAR", "--train_batch_size=5", "--epochs=1"),
    "BERT4Rec": ("--model=BERT4Rec", "--mask_copies=2", *WITHOUT_DROPOUT),  # which events are masked, chance says
    "SASRec": ("--model=SASRec", "--train_rows=prefixes", *WITHOUT_DROPOUT),
    "SASRec, sampled": (
        "--model=SASRec", *SAMPLED, "--ema_decay=0.9", "--epochs=1", *WITHOUT_DROPOUT,
    ),
    "SEAR, sampled": (
        "--model=SEAR", *SAMPLED, "--repeat_bias=True", "--ema_decay=0.9", "--weight_decay=0.01",
        "--clip_grad_norm={max_norm: 0.5}",
    ),
    "SEAR, sampled, tied": ("--model=SEAR", *SAMPLED, "--item_table=tied", "--learner=adam", "--train_batch_size=5"),
    "SEAR, sampled, whole gradients": ("--model=SEAR", *SAMPLED, "--learner=rmsprop"),
    "GRU4Rec, sampled": ("--model=GRU4Rec", *SAMPLED, "--dropout_prob=0"),
    "BERT4Rec, sampled": ("--model=BERT4Rec", *SAMPLED, "--mask_copies=2", *WITHOUT_DROPOUT),
    "RecBole's FPMC": ("--model=FPMC",),  # learns from negative items that chance says
}  # fmt: skip
QUICK = "SEAR", "BERT4Rec", "SASRec, sampled"


class Seen(Command):
    """Trains, and returns what this process saw: the first step's gradients, each epoch's loss and weights after it."""

    def __call__(self, rank):
        seen = {"gradients": {}, "weights": [], "losses": []}
        step, epoch = SEARTrainer._optimizer_step, SEARTrainer.train_epoch

        def seen_step(trainer, *rows):
            parameters = trainer.model.named_parameters()
            found = {name: p.grad.to_dense().clone() for name, p in parameters if p.grad is not None}
            seen["gradients"] = seen["gradients"] or found
            return step(trainer, *rows)

        def seen_epoch(trainer, *arguments):
            seen["losses"].append(epoch(trainer, *arguments))
            weights = b"".join(p.detach().numpy().tobytes() for p in trainer.model.parameters())
            seen["weights"].append(hashlib.sha256(weights).hexdigest())
            return seen["losses"][-1]

        SEARTrainer._optimizer_step, SEARTrainer.train_epoch = seen_step, seen_epoch
        assert toy_command.obey(self.folder, *self.words) == 0
        return seen


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """A function (kind, processes) -> what each process saw, and the run folder."""

    @cache
    def trained(kind, count):
        folder = toy_command.make(tmp_path_factory.mktemp("team"), epochs=2)
        ranks = Ranks(count, Seen(folder, KINDS[kind]))
        seen = ranks.made()
        assert not any(ranks.said("out")[1:])
        (run_folder,) = folder.glob("results/tiny/*/*/")
        return seen, run_folder

    return trained


def relative(found, wanted):
    """The distance of two sets of tensors in units of the second."""
    assert found.keys() == wanted.keys()
    apart, size = (sum(part.double().square().sum() for part in parts) for parts in (
        [found[name] - wanted[name] for name in wanted], wanted.values()
    ))  # fmt: skip
    return float((apart / size).sqrt())


@pytest.mark.parametrize(
    "kind, count",
    [
        *((kind, 2) for kind in QUICK),
        *(pytest.param(kind, 2, marks=pytest.mark.long) for kind in KINDS if kind not in QUICK),
        pytest.param("SEAR, with what can be added", 4, marks=pytest.mark.long),
        *(pytest.param(kind, 4, marks=pytest.mark.long) for kind in KINDS if kind != "SEAR, with what can be added"),
    ],
)
def test_several_processes_train_what_one_trains(train, kind, count):
    (one,), alone = train(kind, 1)
    seen, run_folder = train(kind, count)
    assert relative(seen[0]["gradients"], one["gradients"]) < 1e-6
    assert seen[0]["losses"] == pytest.approx(one["losses"], rel=1e-4)
    assert all(other["weights"] == seen[0]["weights"] for other in seen[1:])
    assert all(other["losses"] == seen[0]["losses"] for other in seen[1:])
    found, wanted = (torch.load(folder / "last.pth", weights_only=True) for folder in (run_folder, alone))
    assert relative(found["state_dict"], wanted["state_dict"]) < 1e-3
    assert (run_folder / "cases.csv.gz").read_bytes() == (alone / "cases.csv.gz").read_bytes()
    assert {path.name for path in run_folder.iterdir()} == {path.name for path in alone.iterdir()}
    records = [json.loads((folder / "metrics.json").read_text()) for folder in (run_folder, alone)]
    for key in ("valid", "test", "test_history_masked", "best_epoch", "epochs"):
        assert records[0][key] == records[1][key]
    for key in ("transition_prior", "text_match"):
        assert records[0].get(key) == records[1].get(key)


@pytest.mark.parametrize("name", SAMPLED_MODELS)
def test_shares_of_a_batch_learn_from_the_sample_of_the_whole_batch(tiny_model, tiny_text, name):
    options = {} if name == "BERT4Rec" else {"soft_label_length": 4, "cosine_scale": 5.0}
    if name == "Mamba4Rec":
        options["num_layers"] = 2  # one alone norms small numbers, which makes rounding large
    sources = ["in_batch", "popularity", "uniform"]
    model, train, _ = tiny_model(
        name, loss_type="sampled", sample_from=sources, sample_size=4, repeat_bias=True, **options
    )
    loader = SimpleNamespace(_dataset=train, collate_fn=train.__getitem__, neg_sample_args={"distribution": "none"})
    team = Team(model)
    team.size, team._loss = 3, _Loss(model, model.calculate_loss)
    for index in (np.arange(7), np.arange(2)):  # of two rows, one process has none
        torch.manual_seed(9)
        whole = model.calculate_loss(train[index])
        wanted = torch.autograd.grad(whole, list(model.parameters()), allow_unused=True)
        summed = 0
        for rank in range(team.size):
            team.rank = rank
            batch, loss_of = team.share(loader, index, 9, model.calculate_loss)
            summed = summed + loss_of(batch)
        found = torch.autograd.grad(summed, list(model.parameters()), allow_unused=True)
        torch.testing.assert_close(summed, whole, rtol=1e-10, atol=1e-12)
        for ours, theirs in zip(found, wanted, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_a_model_of_nothing_but_sparse_tables_needs_no_ddp():
    model = torch.nn.Embedding(3, 2, sparse=True)
    assert isinstance(Team(model)._parallel(model), _Loss)  # DDP raises where it has nothing to add up
