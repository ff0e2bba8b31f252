"""The models SEAR is measured against: what they learn from, what they may see, and how they are scored."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from recbole.data import data_preparation

from sear.configuration import build_config, model_class
from sear.counting_models import training_matrix
from sear.dataset import SEARDataset
from sear.errors import InputError
from sear.known_models import OWN_MODELS
from sear.quick_start import evaluate, resume, run_sear
from sear.settings import PROJECT_ROOT, own_files
from sear.trainer import SEARTrainer
from tests.conftest import TOY, random_histories, tiny_config_root, write_atomic_files
from tests.killed_run import run

CAUSAL = ("GRU4Rec", "SASRec", "Mamba4Rec")
LEARNING = (*CAUSAL, "BERT4Rec")
COUNTING = ("Pop", "ItemKNN")


@pytest.fixture
def tiny(tmp_path, tiny_config):
    """A function (model name, histories, **changes) -> (float64 model in evaluation mode, training part, test part)."""

    def build(name, histories=None, **changes):
        write_atomic_files(tmp_path, "tiny", histories or random_histories())
        config = tiny_config(tmp_path, name, **changes)
        torch.manual_seed(0)
        train, _, test = data_preparation(config, SEARDataset(config))
        return model_class(name)(config, train._dataset).double().eval(), train._dataset, test._dataset

    return build


def test_every_peer_has_a_settings_file():
    assert set(OWN_MODELS) <= set(own_files("model"))


def test_no_peer_switches_torchs_anomaly_detection_on():
    code = "import torch; from sear.configuration import model_class; model_class('SASRec'); model_class('SINE')"
    code += "; exit(torch.is_anomaly_enabled())"
    found = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT)
    assert found.returncode == 0  # it slows every backward pass


@pytest.mark.parametrize("name", CAUSAL)
def test_nothing_that_comes_later_changes_what_a_causal_peer_says_of_an_event(tiny, name):
    model, train, _ = tiny(name)
    batch = train[np.arange(20)]
    changed = batch["item_id_list"].clone()
    changed[:, 5:] = torch.where(changed[:, 5:] > 0, changed[:, 5:] % 20 + 1, 0)
    with torch.no_grad():
        before = model.forward(batch["item_id_list"], batch["item_length"])
        after = model.forward(changed, batch["item_length"])
    torch.testing.assert_close(before[:, :5], after[:, :5], rtol=0, atol=1e-12)
    assert (before[:, 5:] - after[:, 5:]).abs().max() > 1e-6


@pytest.mark.parametrize("name", CAUSAL)
def test_windows_and_prefixes_teach_a_causal_peer_the_same_on_short_histories(tiny, name):
    def loss_and_gradients(train_rows):
        model, train, _ = tiny(name, random_histories(longest=11), train_rows=train_rows)
        loss = model.calculate_loss(train[np.arange(len(train))])
        loss.backward()
        return loss, [p.grad for p in model.parameters()]

    windows, prefixes = loss_and_gradients("windows"), loss_and_gradients("prefixes")
    torch.testing.assert_close(windows, prefixes, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", CAUSAL)
def test_a_causal_peer_learns_by_plain_cross_entropy_over_all_items(tiny, name):
    model, train, _ = tiny(name, train_rows="prefixes")
    batch = train[np.arange(len(train))]
    scores = model.full_sort_predict(batch)
    expected = torch.nn.functional.cross_entropy(scores, batch["item_id"])
    torch.testing.assert_close(model.calculate_loss(batch), expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(model.predict(batch), scores.gather(1, batch["item_id"][:, None])[:, 0])


def test_a_peer_can_be_given_soft_labels_too(tiny):
    plain, soft = (tiny("SASRec", soft_label_length=k) for k in (1, 4))
    assert soft[1][np.arange(4)]["target_id_list"].shape[-1] == 4
    losses = [model.calculate_loss(train[np.arange(len(train))]).item() for model, train, _ in (plain, soft)]
    assert losses[0] != losses[1]


def test_bert4rec_masks_real_events_and_at_least_one_in_each_row(tiny):
    model, train, _ = tiny("BERT4Rec", ft_ratio=0.3)
    batch = train[np.arange(len(train))]
    length = batch["item_length"]
    items = model._append(batch["item_id_list"], length, batch["item_id"])
    masked = model._masked(items, length)
    assert masked.any(dim=1).all() and not masked[items == 0].any()
    only_last = masked.sum(dim=1).eq(1) & masked[torch.arange(len(length)), length]
    assert 0.2 < only_last.double().mean() < 0.7  # 0.3, and the rows that chance left whole


def test_bert4rec_learns_from_the_last_training_event_and_from_none_after_it(tiny):
    histories = {f"u{user}": [(f"i{k}", 3, k) for k in range(8)] for user in range(9)}
    model, train, _ = tiny("BERT4Rec", histories, ft_ratio=1.0)
    batch = train[np.arange(len(train))]
    token = train.field2id_token["item_id"]
    assert {str(token[item]) for item in batch["item_id"]} == {"i5"}
    model.calculate_loss(batch).backward()
    gradient = model.output_bias.grad  # of softmax and target: negative for the target alone
    assert [str(token[item]) for item in torch.nonzero(gradient < 0)[:, 0]] == ["i5"]


def test_bert4recs_masks_follow_the_seed_and_every_copy_is_masked_anew(tiny):
    model, train, _ = tiny("BERT4Rec", mask_copies=2)
    batch, seen = train[np.arange(len(train))], []
    masked = type(model)._masked
    model._masked = lambda *rows: seen.append(masked(model, *rows)) or seen[-1]
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(model.calculate_loss(batch).item())
    assert losses[0] == losses[1] != losses[2]
    assert not torch.equal(*seen[0].chunk(2))


def test_bert4rec_sees_as_many_events_of_a_test_case_as_every_other_model(tiny):
    model, _, test = tiny("BERT4Rec")
    batch = test[np.arange(len(test))]
    full = batch["item_length"] == 10
    first, last = batch["item_id_list"].clone(), batch["item_id_list"].clone()
    first[:, 0] = first[:, 0] % 20 + 1
    last[full, 9] = last[full, 9] % 20 + 1
    with torch.no_grad():
        before = model.user_vectors(batch)
        for changed in (first, last):
            batch["item_id_list"] = changed
            assert ((model.user_vectors(batch) - before).abs().amax(dim=1)[full] > 1e-6).all()
    assert full.any()


@pytest.mark.parametrize("name", (*LEARNING, *COUNTING))
def test_the_two_ways_to_score_agree_and_padding_may_be_cut(tiny, name):
    model, train, test = tiny(name)
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


@pytest.fixture
def here(tmp_path, monkeypatch, tiny_text):
    """A folder with the tiny data set, known by name."""
    write_atomic_files(tmp_path, "tiny", random_histories())
    monkeypatch.setattr("sear.settings.CONFIG_ROOT", tiny_config_root(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("again", "length"), [(True, 10), (False, 10), (False, None)])
def test_pops_ranks_are_those_counted_by_hand(here, again, length):
    histories = random_histories()
    number = {item: n for n, item in enumerate(dict.fromkeys(e[0] for events in histories.values() for e in events))}
    count = Counter(item for events in histories.values() for item, *_ in events[:-2])
    assert max(map(len, histories.values())) > 10 + 2  # some histories are cut
    changes = {"MAX_ITEM_LIST_LENGTH": length} if length else {}  # else whole histories, by config/model/Pop.yaml
    toy = {key: value for key, value in TOY.items() if key != "MAX_ITEM_LIST_LENGTH"}
    changes |= {"recommend_again": again, "results_path": str(here)}
    done = run_sear("tiny", "Pop", **(toy | changes))
    for case in pd.read_csv(Path(done["run_folder"]) / "cases.csv.gz").itertuples():
        visible = set() if again else {item for item, *_ in histories[case.user][:-1][-(length or 0) :]}
        order = sorted(number, key=lambda item: (item in visible, 0 if item in visible else -count[item], number[item]))
        assert case.rank == 1 + order.index(case.target)
        assert case.target_training_count == count[case.target]


@pytest.mark.parametrize("name", COUNTING)
def test_counting_peers_rank_by_the_rule_of_all_models_unless_told_otherwise(here, name):
    met_once = {
        user: list({event[0]: event for event in events}.values()) for user, events in random_histories().items()
    }
    write_atomic_files(
        here, "tiny", {user: sorted(events, key=lambda event: event[2]) for user, events in met_once.items()}
    )
    whole = {"model": name, "MAX_ITEM_LIST_LENGTH": 1000}
    plain, left_out = run(here, mask_history=True, **whole), run(here, recommend_again=False, **whole)
    assert plain["test_history_masked"] == left_out["test"] != plain["test"]


@pytest.mark.parametrize("name", COUNTING)
def test_counting_peers_see_whole_histories_and_pad_none_to_that_length(name):
    assert build_config("ml-100k", name)["MAX_ITEM_LIST_LENGTH"] == 1_000_000
    with pytest.raises(InputError, match="trim_padding is False, but every history would be padded to 1,000,000"):
        build_config("ml-100k", name, {"trim_padding": False})


def test_itemknn_adds_up_the_cosines_of_the_nearest_items(tiny):
    model, train, test = tiny("ItemKNN", k=3)
    model.count(train)
    met = training_matrix(train).toarray().astype(np.float64)
    assert met.sum() == train.training_item_counts.sum()
    norm = np.linalg.norm(met, axis=0)
    cosine = met.T @ met / np.maximum(np.outer(norm, norm), 1e-9)
    np.fill_diagonal(cosine, 0)
    ranked = np.sort(cosine, axis=0)
    nearest = np.where(cosine >= ranked[-3], cosine, 0)  # of each item, in its column
    sure = ranked[-3] - ranked[-4] > 1e-6  # a tie for the last place may fall either way
    assert sure[1:].sum() > 10
    batch = test[np.arange(len(test))]
    history = np.stack([np.bincount(row, minlength=model.n_items) for row in batch["item_id_list"].numpy()])
    history[:, 0] = 0
    scores = model.full_sort_predict(batch).numpy()
    np.testing.assert_allclose(scores[:, sure], (history @ nearest)[:, sure], atol=1e-5)


@pytest.mark.parametrize("name", COUNTING)
def test_a_counting_model_takes_one_epoch_without_loss_and_is_tested_like_any_other(here, name):
    done = run(here, model=name, epochs=7)
    folder = Path(done["run_folder"])
    assert (done["epochs"], done["best_epoch"], done["parameters"]) == (1, 0, 0)
    (row,) = pd.read_csv(folder / "history.csv").to_dict("records")
    assert np.isnan(row["loss"]) and np.isnan(row["lr"])
    assert row["valid_mrr@10"] == pytest.approx(done["valid"]["mrr@10"]) and done["valid"]["mrr@10"] > 0
    assert evaluate(folder)["test"] == done["test"]  # from the checkpoint, nothing is counted again
    (folder / "metrics.json").unlink()
    assert resume(folder)["test"] == done["test"]


@pytest.mark.parametrize("name", ["BERT4Rec", "FPMC"])  # one draws masks, the other negative items
def test_a_peer_that_was_stopped_ends_as_if_it_had_not_been(here, monkeypatch, name):
    whole = run(here, model=name)
    step, steps = SEARTrainer._train_step, []

    def interrupted(self, *arguments):
        steps.append(1)
        if len(steps) == 7:
            raise KeyboardInterrupt
        return step(self, *arguments)

    monkeypatch.setattr(SEARTrainer, "_train_step", interrupted)
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
