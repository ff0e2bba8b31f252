"""Steps on the rows in use: what Adam, clipping and averaging make of them, and that a stop changes nothing."""

from pathlib import Path

import pytest
import torch

from sear import processes
from sear.quick_start import resume
from sear.trainer.averaging import AveragedWeights
from sear.trainer.sparse_rows import (
    add_up_rows,
    clip_gradients,
    sparse_tables,
    step_rows,
    touched_rows,
    use_sparse_gradients,
)
from sear.trainer.trainer import SEARTrainer
from tests.helpers.killed_run import interrupt_at_step, run
from tests.helpers.ranks import Ranks
from tests.trainer.test_resume import assert_same, everything_but_the_clock, without_clock

ROWS, STEPS = 6, 8


class Toy(torch.nn.Module):
    """A table, and a parameter that every step uses."""

    def __init__(self, sparse):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.other = torch.nn.Embedding(ROWS, 3).double(), torch.nn.Linear(3, 1).double()
        if sparse:
            use_sparse_gradients(self, ROWS)

    def gradient(self, row_U):
        self.zero_grad()
        self.other(self.table(row_U).tanh()).square().sum().backward()


def trained(kind, sparse, batches, clip=None, **options):
    """The model, its optimizer and its averages after a step on each batch of rows."""
    model = Toy(sparse)
    optimizer, averaged = kind(model.parameters(), lr=0.1, **options), AveragedWeights(model, 0.6)
    for batch in batches:
        model.gradient(torch.tensor(batch))
        rows = touched_rows(model)
        if clip:
            clip_gradients(model.parameters(), clip)
        averaged.catch_up(rows)
        step_rows(optimizer, rows)
        optimizer.step()
        averaged.update(rows)
    return model, optimizer, averaged


EVERY_ROW = [[0, 1, 2, 3, 4, 5, 5, 1]] * STEPS
SOME_ROWS = [[3, 1, 1], [0, 3], [3], [5, 3, 0], [2], [2, 2], [1, 3], [3]]


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.3}, {"fused": True, "clip": 0.05}])
def test_a_step_on_every_row_is_the_plain_step(kind, options):
    (ours, our_state, our_average), (theirs, state, average) = (
        trained(kind, sparse, EVERY_ROW, **options) for sparse in (True, False)
    )
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(our_state.state_dict()["state"], state.state_dict()["state"], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(our_average.state_dict(), average.state_dict(), rtol=1e-10, atol=1e-12)


def test_a_step_on_some_rows_is_that_of_torchs_sparse_adam():
    ours, _, _ = trained(torch.optim.Adam, True, SOME_ROWS)
    theirs = Toy(True)
    optimizers = torch.optim.SparseAdam([theirs.table.weight], lr=0.1), torch.optim.Adam(theirs.other.parameters(), 0.1)
    for batch in SOME_ROWS:
        theirs.gradient(torch.tensor(batch))
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-5, atol=1e-6)  # it adds eps elsewhere


def test_rows_that_no_step_uses_stay_and_do_not_decay():
    model, optimizer, averaged = trained(torch.optim.AdamW, True, SOME_ROWS, weight_decay=0.3)
    assert torch.equal(model.table.weight[4], Toy(True).table.weight[4])
    assert not optimizer.state[model.table.weight]["exp_avg_sq"][4].any()
    torch.testing.assert_close(averaged.state_dict()["weights"]["table.weight"][4], model.table.weight[4])


@pytest.mark.parametrize("decay", [0.05, 0.25, 0.6, 0.99])
def test_averages_of_rows_are_those_of_averaging_all_rows_in_each_step(decay):
    model = Toy(True)
    ours, theirs = AveragedWeights(model, decay), AveragedWeights(model, decay)
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    for number, batch in enumerate(SOME_ROWS * 2):
        model.gradient(torch.tensor(batch))
        rows = touched_rows(model)
        ours.catch_up(rows)
        step_rows(optimizer, rows)
        optimizer.step()
        ours.update(rows)
        theirs.update()
        if number in (6, 15):  # asked for once on the way
            torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-10, atol=1e-12)


def own_gradient(rank):
    """The table's gradient of one of several processes, which use different rows, some of them twice."""
    toy = Toy(sparse=True)
    toy.gradient(torch.tensor([[3, 1, 1], [0], [5, 3, 5, 0, 3]][rank]))
    return toy.table.weight


def gradient_of_all(rank):
    """What one of them makes of the sparse gradient, of a whole one, and of one that it alone has."""
    with processes.joined() as leads:
        table, whole, alone = own_gradient(rank), own_gradient(rank), own_gradient(rank)
        whole.grad = whole.grad.to_dense()
        if rank != 1:
            alone.grad = None
        add_up_rows([table, whole, alone])
        if not leads:
            assert not list(processes.asked())  # until all part
    row_U = touched_rows(torch.nn.ParameterList([table]))[table]
    return row_U, table.grad.to_dense(), whole.grad, alone.grad.to_dense()


@pytest.mark.long
def test_gradients_of_rows_add_up_over_processes_and_stay_sparse():
    wanted = sum(own_gradient(rank).grad.to_dense() for rank in range(3))
    ranks = Ranks(3, gradient_of_all)
    for row_U, summed, whole, alone in ranks.made():
        assert row_U.tolist() == [0, 1, 3, 5]
        torch.testing.assert_close(summed, wanted, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(whole, wanted, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(alone, own_gradient(1).grad.to_dense(), rtol=0, atol=0)
    assert not ranks.errors()  # nor a warning


def test_a_table_of_two_modules_is_added_up_once():
    table = torch.nn.Embedding(5, 2, sparse=True)
    twin = torch.nn.Embedding(5, 2, sparse=True)
    twin.weight = table.weight
    assert len(sparse_tables(torch.nn.ModuleList([table, twin]))) == 1


OPTIONS = {
    "threads": 1, "loss_type": "sampled", "sample_size": 5, "ema_decay": 0.9, "weight_decay": 0.01, "warmup_steps": 5,
    "clip_grad_norm": {"max_norm": 0.5}, "repeat_bias": True, "epochs": 3,
}  # fmt: skip


@pytest.mark.parametrize(
    "model, options",
    [
        ("SASRec", {"sample_from": ["popularity", "in_batch"]}),
        pytest.param("SEAR", {"learner": "adam"}, marks=pytest.mark.long),
        pytest.param("SEAR", {"item_table": "tied", "streams": ["semantic", "collaborative"]}, marks=pytest.mark.long),
        pytest.param("BERT4Rec", {}, marks=pytest.mark.long),
    ],
)
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(here, monkeypatch, model, options):
    whole = run(here, model=model, **OPTIONS, **options)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_at_step(9, patch)
        run(here, model=model, **OPTIONS, **options)
    (stopped,) = {path.parent for path in here.glob("results/*/*/*/config.yaml")} - {Path(whole["run_folder"])}
    resumed = resume(stopped)
    assert without_clock(resumed) == without_clock(whole)
    assert_same(*(everything_but_the_clock(Path(made["run_folder"])) for made in (resumed, whole)))


def test_other_learners_take_whole_gradients(here, monkeypatch):
    seen, step = [], SEARTrainer._optimizer_step
    monkeypatch.setattr(SEARTrainer, "_optimizer_step", lambda *given: seen.append(len(given[1])) or step(*given))
    for learner in ("adamw", "rmsprop"):
        run(here, model="SASRec", loss_type="sampled", sample_size=5, learner=learner, epochs=1)
        assert set(seen) == ({1} if learner == "adamw" else {0})
        seen.clear()
