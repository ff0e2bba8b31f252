"""Texts like those of the history: what is added to scores, worked out with loops; its memory, its rate, its faults."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from sear.errors import InputError
from sear.model.sear import SEAR
from sear.model.text_match import TextMatch
from sear.settings.recbole_config import build_config
from tests.helpers.killed_run import run
from tests.model.test_network import ITEMS, LENGTHS, STARS, TEXTS
from tests.model.test_sear import Catalogue, batch, settings


def mean_cosines(items, half_life):
    """(V,), by the definition: of the centred texts' first five components, with no library's PCA."""
    text_VE = torch.from_numpy(TEXTS).double()
    centred_VE = text_VE - text_VE[1:].mean(0)
    axis_ER = torch.linalg.eigh(centred_VE[1:].T @ centred_VE[1:])[1][:, -5:]
    part_VR = centred_VE @ axis_ER
    part_VR = part_VR / part_VR.norm(dim=1, keepdim=True)
    part_VR[0] = 0
    counts = [0.5 ** ((len(items) - 1 - at) / half_life) for at in range(len(items))]
    mean_R = sum(count * part_VR[item] for count, item in zip(counts, items, strict=True)) / sum(counts)
    return (part_VR @ mean_R).float()


@pytest.mark.parametrize("item_table", ["free", "tied"])
def test_scores_get_a_learned_part_of_the_mean_cosine_with_the_historys_texts(item_table):
    torch.manual_seed(0)
    model = SEAR(settings(item_table=item_table, text_match=5, text_match_half_life=2.0), Catalogue(TEXTS)).eval()
    rows = batch(ITEMS, STARS, LENGTHS)
    with torch.no_grad():
        without_BV = model.full_sort_predict(rows)
        model.text_match.weight.fill_(3.0)
        added_BV = model.full_sort_predict(rows) - without_BV
    expected_BV = torch.stack([mean_cosines([1, 5, 7], 2.0), mean_cosines([9, 2], 2.0)])
    torch.testing.assert_close(added_BV, 3 * expected_BV, rtol=0, atol=1e-5)


def test_the_loss_is_that_of_these_scores_and_reaches_the_weight():
    model = SEAR(settings(text_match=5, soft_label_length=1), Catalogue(TEXTS)).eval()
    model.text_match.weight.data.fill_(2.0)
    rows, target_B = batch(ITEMS, STARS, LENGTHS, torch.tensor([[3], [6]])), torch.tensor([3, 6])
    loss = model.calculate_loss(rows)
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(model.full_sort_predict(rows), target_B))
    loss.backward()
    assert model.text_match.weight.grad.abs() > 1e-4


def test_every_position_of_a_window_has_the_match_of_its_own_history():
    match = TextMatch(80, 5, 60, half_life=3.0)
    match.fit(torch.from_numpy(TEXTS))
    match.weight.data.fill_(1.0)
    window = torch.tensor([[1, 5, 7, 9], [4, 2, 0, 0]])
    sums = match.no_sums(2)
    with torch.no_grad():
        for at, real in ((0, [0, 1]), (1, [0, 1]), (2, [0]), (3, [0])):
            sums = match.after(sums, window[:, at])
            found = match.users(window, torch.tensor(real) * 4 + at)
            torch.testing.assert_close(found, match.users_of_sums(sums)[real])
            torch.testing.assert_close(match.sums(window[:1, : at + 1]), sums[:1])


@pytest.mark.parametrize("repeat_bias", [True, False])
def test_it_begins_at_nothing_and_learns_at_a_rate_of_its_own(here, monkeypatch, repeat_bias):
    groups, step = [], torch.optim.AdamW.step

    def noted(self, *arguments, **options):
        group = self.param_groups[1]
        groups.append(([each.item() for each in group["params"]], group["lr"], group["weight_decay"]))
        return step(self, *arguments, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    options = {"text_match": 4, "repeat_bias": repeat_bias, "repeat_bias_lr": 0.01, "weight_decay": 0.1}
    done = run(here, threads=1, model="SEAR", epochs=2, **options)
    assert groups[0] == ([0.0] * (1 + repeat_bias), 0.01, 0.0)
    history = pd.read_csv(Path(done["run_folder"]) / "history.csv")
    assert abs(history["text_match"].iloc[-1]) > 0.005 and ("repeat_bias" in history) == repeat_bias


def test_without_the_semantic_stream_no_texts_are_matched():
    config = build_config("ml-100k", "SEAR", {"text_match": 16, "ablate": "semantic"})
    assert (config["text_match"], config["streams"]) == (0, ["collaborative", "rating"])
    with pytest.raises(InputError, match="text_match is 16, but streams is without semantic - write text_match: 0"):
        build_config("ml-100k", "SEAR", {"text_match": 16, "streams": ["collaborative"]})
