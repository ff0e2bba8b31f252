"""BERT4Rec: what it masks, what it learns from, and what it sees of a test case."""

import numpy as np
import torch


def test_bert4rec_masks_real_events_and_at_least_one_in_each_row(tiny_model):
    model, train, _ = tiny_model("BERT4Rec", ft_ratio=0.3)
    batch = train[np.arange(len(train))]
    length = batch["item_length"]
    items = model._append(batch["item_id_list"], length, batch["item_id"])
    masked = model._masked(items, length)
    assert masked.any(dim=1).all() and not masked[items == 0].any()
    only_last = masked.sum(dim=1).eq(1) & masked[torch.arange(len(length)), length]
    assert 0.2 < only_last.double().mean() < 0.7  # 0.3, and the rows that chance left whole


def test_bert4rec_learns_from_the_last_training_event_and_from_none_after_it(tiny_model):
    histories = {f"u{user}": [(f"i{k}", 3, k) for k in range(8)] for user in range(9)}
    model, train, _ = tiny_model("BERT4Rec", histories, ft_ratio=1.0)
    batch = train[np.arange(len(train))]
    token = train.field2id_token["item_id"]
    assert {str(token[item]) for item in batch["item_id"]} == {"i5"}
    model.calculate_loss(batch).backward()
    gradient = model.output_bias.grad  # of softmax and target: negative for the target alone
    assert [str(token[item]) for item in torch.nonzero(gradient < 0)[:, 0]] == ["i5"]


def test_bert4recs_masks_follow_the_seed_and_every_copy_is_masked_anew(tiny_model):
    model, train, _ = tiny_model("BERT4Rec", mask_copies=2)
    batch, seen = train[np.arange(len(train))], []
    masked = type(model)._masked
    model._masked = lambda *rows: seen.append(masked(model, *rows)) or seen[-1]
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(model.calculate_loss(batch).item())
    assert losses[0] == losses[1] != losses[2]
    assert not torch.equal(*seen[0].chunk(2))


def test_bert4rec_sees_as_many_events_of_a_test_case_as_every_other_model(tiny_model):
    model, _, test = tiny_model("BERT4Rec")
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


def test_masks_drawn_before_the_loss_make_the_same_loss(tiny_model):
    model, train, _ = tiny_model(
        "BERT4Rec", mask_copies=2, repeat_bias=True, hidden_dropout_prob=0.0, attn_dropout_prob=0.0
    )
    batch, losses = train[np.arange(len(train))], []
    for early in (False, True):
        torch.manual_seed(1)
        if early:
            batch.interaction["loss_position"] = model.loss_positions(batch)
            torch.manual_seed(2)  # nothing more is drawn
        losses.append(model.calculate_loss(batch).item())
    assert losses[0] == losses[1]
    assert model.loss_positions(batch, whole=False) is None
