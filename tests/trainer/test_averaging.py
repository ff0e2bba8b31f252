"""Averaged weights and warm-up: what they are after so many steps, who uses them, and that a stop changes nothing."""

from pathlib import Path

import pytest
import torch

from sear.quick_start import evaluate, resume
from sear.trainer.averaging import AveragedWeights
from tests.helpers.killed_run import interrupt_at_step, run
from tests.trainer.test_resume import assert_same, everything_but_the_clock, without_clock


def test_the_average_forgets_its_first_steps_soon():
    model = torch.nn.Linear(1, 1, bias=False).double()
    model.weight.data.fill_(0)
    averaged = AveragedWeights(model, 0.25)
    for value in (11.0, 12.0, 8.0):
        model.weight.data.fill_(value)
        averaged.update()
    first = 11 * 9 / 11  # keeps 2/11 of the start, which is 0
    second = first * 3 / 12 + 12 * 9 / 12
    third = second / 4 + 8 * 3 / 4  # 4/13 would be more than 0.25
    with averaged.in_use():
        assert model.weight.item() == pytest.approx(third, rel=1e-12)
    assert model.weight.item() == 8


def test_a_weight_with_two_names_has_one_average():
    model = torch.nn.ModuleList([torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2, bias=False)])
    model[1].weight = model[0].weight
    averaged = AveragedWeights(model, 0.5)
    model[0].weight.data.add_(1)
    averaged.update()
    weights = averaged.over(model.state_dict())
    assert torch.equal(weights["0.weight"], weights["1.weight"])
    assert not torch.equal(weights["0.weight"], model[0].weight)


@pytest.fixture
def averaged_run(here):
    return run(here, threads=1, model="SASRec", ema_decay=0.9)


def test_the_best_checkpoint_holds_the_average_and_the_last_both(here, averaged_run):
    best, last = (torch.load(Path(averaged_run["run_folder"]) / name) for name in ("best.pth", "last.pth"))
    if best["epoch"] == last["epoch"]:
        assert_same(best["state_dict"], last["averaged"]["weights"])
    assert last["averaged"]["steps"] == last["steps"] > 6
    gaps = [(last["state_dict"][name] - value).abs().max() for name, value in last["averaged"]["weights"].items()]
    assert max(gaps) > 1e-4


def test_the_average_is_what_is_validated_and_tested(here, averaged_run):
    again = evaluate(averaged_run["run_folder"])
    assert again["test"] == averaged_run["test"]
    plain = run(here, threads=1, model="SASRec")
    history = [torch.load(Path(made["run_folder"]) / "last.pth")["history"] for made in (averaged_run, plain)]
    assert [row["loss"] for row in history[0]] == [row["loss"] for row in history[1]]  # training knows nothing of it
    assert [row["valid_mrr@10"] for row in history[0]] != [row["valid_mrr@10"] for row in history[1]]


@pytest.mark.long
@pytest.mark.parametrize("name", ["SEAR", "BERT4Rec"])
def test_a_stopped_run_ends_as_if_it_had_not_been(here, monkeypatch, name):
    options = {"model": name, "ema_decay": 0.95, "warmup_steps": 9, "repeat_bias": True}
    whole = run(here, threads=1, **options)
    interrupt_at_step(15, monkeypatch)  # in the second epoch
    with pytest.raises(KeyboardInterrupt):
        run(here, threads=1, **options)
    (stopped,) = {path.parent for path in here.glob("results/*/*/*/config.yaml")} - {Path(whole["run_folder"])}
    assert torch.load(stopped / "last.pth")["averaged"]["steps"] > 6
    resumed = resume(stopped)
    assert without_clock(resumed) == without_clock(whole)
    ours, theirs = (everything_but_the_clock(Path(made["run_folder"])) for made in (resumed, whole))
    assert_same(ours[:3], theirs[:3])


def test_the_rate_rises_to_its_value_step_by_step(here, monkeypatch):
    rates, step = [], torch.optim.AdamW.step

    def noted(self, *arguments, **options):
        rates.append([group["lr"] for group in self.param_groups])
        return step(self, *arguments, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    run(here, threads=1, model="SASRec", warmup_steps=4, repeat_bias=True, epochs=2)
    first, later = rates[:5], rates[-1]
    assert [rate for rate, _ in first] == pytest.approx([0.00025, 0.0005, 0.00075, 0.001, 0.001])
    assert [rate for _, rate in first] == pytest.approx([0.0125, 0.025, 0.0375, 0.05, 0.05])
    assert later == pytest.approx([0.00096, 0.048])
