"""The models SEAR is measured against: what they learn from, what they may see, and how they are scored."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sear.errors import InputError
from sear.files import PROJECT_ROOT
from sear.quick_start import resume
from sear.settings.gather import own_files
from sear.settings.known_models import OWN_MODELS
from sear.settings.recbole_config import build_config
from tests.conftest import random_histories
from tests.helpers.killed_run import interrupt_at_step, run

CAUSAL = ("GRU4Rec", "SASRec", "Mamba4Rec", "eSASRec")
LEARNING = (*CAUSAL, "BERT4Rec", "BSARec")
COUNTING = ("Pop", "ItemKNN", "EASE", "SequentialRules")


def test_every_peer_has_a_settings_file():
    assert set(OWN_MODELS) <= set(own_files("model"))


@pytest.mark.long
@pytest.mark.parametrize(
    "importing",
    [
        "from sear.settings.recbole_config import model_class as m; m('SASRec'); m('SINE')",
        "import sear.model.causal",
        "import sear.model.bert4rec",
    ],
)
def test_no_baseline_switches_torchs_anomaly_detection_on(importing):
    code = f"import torch; {importing}; exit(torch.is_anomaly_enabled())"
    found = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT)
    assert found.returncode == 0  # it slows every backward pass


@pytest.mark.parametrize("name", CAUSAL)
def test_nothing_that_comes_later_changes_what_a_causal_peer_says_of_an_event(tiny_model, name):
    model, train, _ = tiny_model(name)
    batch = train[np.arange(20)]
    changed = batch["item_id_list"].clone()
    changed[:, 5:] = torch.where(changed[:, 5:] > 0, changed[:, 5:] % 20 + 1, 0)
    with torch.no_grad():
        before = model.forward(batch["item_id_list"], batch["item_length"])
        after = model.forward(changed, batch["item_length"])
    torch.testing.assert_close(before[:, :5], after[:, :5], rtol=0, atol=1e-12)
    assert (before[:, 5:] - after[:, 5:]).abs().max() > 1e-6


@pytest.mark.parametrize("layers", [1, 2])
def test_mamba4rec_has_a_residual_around_mamba_unless_it_has_one_layer(tiny_model, layers):
    """As in its authors' code."""
    model, train, _ = tiny_model("Mamba4Rec", num_layers=layers)
    model.eval()
    batch = train[np.arange(20)]
    with torch.no_grad():
        found = model.forward(batch["item_id_list"], batch["item_length"])
        hidden = model.LayerNorm(model.item_embedding(batch["item_id_list"]))
        for layer in model.mamba_layers:
            mixed = layer.LayerNorm1(layer.mamba(hidden) + (hidden if layers > 1 else 0))
            inner = torch.nn.functional.gelu(layer.ffn.w_1(mixed))
            hidden = layer.LayerNorm2(layer.ffn.w_2(inner) + mixed)
    torch.testing.assert_close(found, hidden)


@pytest.mark.parametrize("name", CAUSAL)
def test_windows_and_prefixes_teach_a_causal_peer_the_same_on_short_histories(tiny_model, name):
    def loss_and_gradients(train_rows):
        model, train, _ = tiny_model(name, random_histories(longest=11), train_rows=train_rows)
        loss = model.calculate_loss(train[np.arange(len(train))])
        loss.backward()
        return loss, [p.grad for p in model.parameters()]

    windows, prefixes = loss_and_gradients("windows"), loss_and_gradients("prefixes")
    torch.testing.assert_close(windows, prefixes, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", (*CAUSAL, "BSARec"))
def test_a_causal_peer_learns_by_plain_cross_entropy_over_all_items(tiny_model, name):
    model, train, _ = tiny_model(name, train_rows="prefixes")
    batch = train[np.arange(len(train))]
    scores = model.full_sort_predict(batch)
    expected = torch.nn.functional.cross_entropy(scores, batch["item_id"])
    torch.testing.assert_close(model.calculate_loss(batch), expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(model.predict(batch), scores.gather(1, batch["item_id"][:, None])[:, 0])


def test_a_peer_can_be_given_soft_labels_too(tiny_model):
    plain, soft = (tiny_model("SASRec", soft_label_length=k) for k in (1, 4))
    assert soft[1][np.arange(4)]["target_id_list"].shape[-1] == 4
    losses = [model.calculate_loss(train[np.arange(len(train))]).item() for model, train, _ in (plain, soft)]
    assert losses[0] != losses[1]


@pytest.mark.parametrize("name", (*LEARNING, *COUNTING))
def test_the_two_ways_to_score_agree_and_padding_may_be_cut(tiny_model, name):
    model, train, test = tiny_model(name)
    if name in COUNTING:
        model.count(train)
    short = test[np.arange(len(test))]
    with torch.no_grad():
        scores = model.full_sort_predict(short)
        longer = torch.nn.functional.pad(short["item_id_list"], (0, 10 - short["item_id_list"].shape[1]))
        short["item_id_list"] = longer
        torch.testing.assert_close(model.full_sort_predict(short)[:, 1:], scores[:, 1:], rtol=1e-9, atol=1e-12)
        if name in LEARNING:
            product = model.user_vectors(short) @ model.item_table().T
            torch.testing.assert_close(product, scores, rtol=1e-9, atol=1e-12)
    assert scores.shape == (len(test), model.n_items)


@pytest.mark.long
@pytest.mark.parametrize("name", ["BERT4Rec", "FPMC"])  # one draws masks, the other negative items
def test_a_peer_that_was_stopped_ends_as_if_it_had_not_been(here, monkeypatch, name):
    whole = run(here, model=name)
    interrupt_at_step(7, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(here, model=name)
    (stopped,) = {path.parent for path in here.glob("results/*/*/*/config.yaml")} - {Path(whole["run_folder"])}
    np.random.seed(0)
    assert resume(stopped)["test"] == whole["test"]
    assert (stopped / "cases.csv.gz").read_bytes() == (Path(whole["run_folder"]) / "cases.csv.gz").read_bytes()


@pytest.mark.parametrize("name", ["SASRec", "BERT4Rec"])
def test_heads_that_do_not_divide_the_width_are_told(name):
    with pytest.raises(InputError, match="n_heads is 5, which does not divide hidden_size 64 - choose from 1, 2, 4"):
        build_config("ml-100k", name, {"n_heads": 5})
