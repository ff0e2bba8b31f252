"""The whole model against numbers of an independent implementation (tests/data/golden)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

from sear.model.sear import SEAR

GOLDEN = Path(__file__).parent.parent / "data" / "golden" / "sear_small.npz"


class Catalogue:
    """What SEAR asks of a SEARDataset."""

    events = None

    def __init__(self, text_VE):
        self.text_VE = text_VE

    def num(self, field):
        return len(self.text_VE)

    def item_text_embedding(self):
        return self.text_VE


def settings(**changes):
    return {
        "USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id", "RATING_FIELD": "rating", "LIST_SUFFIX": "_list",
        "ITEM_LIST_LENGTH_FIELD": "item_length", "NEG_PREFIX": "neg_", "MAX_ITEM_LIST_LENGTH": 12, "device": "cpu",
        "streams": ["semantic", "collaborative", "rating"], "aggregation": True, "text_init": True,
        "keep_dt_init": False, "rating_encoding": "linear", "initializer_range": 0.02, "hidden_size": 16,
        "num_layers": 2, "num_heads": 4, "dropout_prob": 0.0, "d_state": 8, "d_conv": 4, "expand": 2,
        "mamba_kernel": "auto",
        "loss_type": "CE", "soft_label_length": 4, "soft_label_decay": 2.0, "repeat_bias": False, "item_table": "free",
        "transition_prior": None,
        "cosine_scale": 0.0, "text_whitening": 0,
    } | changes  # fmt: skip


def batch(item_BL, rating_BL, length_B, target_BK=None):
    fields = {"item_id_list": item_BL, "rating_list": rating_BL, "item_length": length_B}
    if target_BK is not None:
        target_BLK = torch.zeros(*item_BL.shape, target_BK.shape[1], dtype=torch.int64)
        target_BLK[torch.arange(len(item_BL)), length_B - 1] = target_BK
        fields["target_id_list"] = target_BLK
    return Interaction(fields)


# exp(A_log) is float32 in both; its last bit depends on the processor: AVX2 agrees to 1e-8, AVX-512 to 2e-8.
@pytest.mark.parametrize(("dtype", "relative", "absolute"), [(torch.float64, 1e-7, 1e-12), (torch.float32, 1e-4, 1e-7)])
def test_scores_loss_and_every_gradient_agree_with_the_golden_run(dtype, relative, absolute):
    golden = {k: torch.from_numpy(np.asarray(v)) for k, v in np.load(GOLDEN).items()}
    d, layers, heads, d_state, d_conv, expand, items, width, k, length = golden["hyper"].tolist()
    assert golden["text_embedding"].shape == (items, width)
    config = settings(
        hidden_size=d, num_layers=layers, num_heads=heads, d_state=d_state, d_conv=d_conv, expand=expand,
        soft_label_length=k, MAX_ITEM_LIST_LENGTH=length, soft_label_decay=golden["lambda"].item(),
    )  # fmt: skip
    model = SEAR(config, Catalogue(golden["text_embedding"].float().numpy())).to(dtype).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("A_log"):  # float32 in the golden run whatever the rest, as mamba_ssm makes it
            parameter.data = parameter.data.float()
    model.item_text_VE = golden["text_embedding"].to(dtype)
    weights = {name[6:]: value for name, value in golden.items() if name.startswith("param/")}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert missing == ["no_rating_emb"] and not unexpected
    rows = batch(*(golden[name] for name in ("item_id_list", "rating_list", "item_length", "target_id_list")))
    rows["rating_list"] = rows["rating_list"].to(dtype)

    deviation = {"scores": (model.full_sort_predict(rows), golden["scores"])}
    loss = model.calculate_loss(rows)
    loss.backward()
    deviation["loss"] = (loss, golden["loss"])
    gradients = dict(model.named_parameters())
    deviation |= {name: (gradients[name].grad, golden[f"grad/{name}"]) for name in weights}
    worst = 0.0
    for name, (ours, theirs) in deviation.items():
        if name.endswith("w_k.bias"):  # zero by nature: softmax does not see what all keys share
            theirs = torch.zeros_like(theirs)
        gap, size = (ours.detach() - theirs).abs().max().item(), theirs.abs().max().item()
        allowed = max(relative, torch.finfo(theirs.dtype).eps) * size + absolute  # A_log's are stored in float32
        worst = max(worst, gap / (size + absolute) if size else 0.0)
        assert gap <= allowed, f"{name}: off by {gap:.2e}, allowed {allowed:.2e}"
    print(f"largest relative deviation from the golden run in {dtype}: {worst:.1e}")


def test_mambas_own_start_of_dt_is_kept_where_it_is_asked_for():
    text_VE = np.random.default_rng(0).standard_normal((80, 60)).astype(np.float32)
    steps = {}
    for keep in (False, True):
        mamba = SEAR(settings(keep_dt_init=keep), Catalogue(text_VE)).mamba_layers[0][0].mamba
        steps[keep] = torch.nn.functional.softplus(mamba.dt_proj.bias)
    torch.testing.assert_close(steps[False], torch.full_like(steps[False], np.log(2)))  # bias 0
    assert steps[True].min() >= 0.0009 and steps[True].max() <= 0.11  # log-uniform in [0.001, 0.1]


@pytest.mark.parametrize("left_out", ["semantic", "collaborative", "rating"])
def test_nothing_of_a_stream_that_is_left_out_exists(left_out):
    text_VE = np.random.default_rng(0).standard_normal((80, 60)).astype(np.float32)
    streams = [name for name in ("semantic", "collaborative", "rating") if name != left_out]
    model = SEAR(settings(streams=streams, text_init=False), Catalogue(text_VE))
    own = {
        "semantic": ("item_text_VE", "adapter"),
        "collaborative": ("collaborative_emb",),
        "rating": ("rating_emb", "no_rating_emb"),
    }
    names = [name for name, _ in [*model.named_parameters(), *model.named_buffers()]]
    assert not [name for name in names if name.split(".")[0] in own[left_out]]
    assert all(any(name.split(".")[0] == part for name in names) for other in streams for part in own[other])
    assert (len(model.mamba_layers), len(model.agg_layers), len(model.item_emb_LayerNorms)) == (2, 2, 2)
    assert model.item_decoder.weight.shape == (80, 2 * 16)


def test_without_text_start_and_semantic_stream_no_text_is_asked_for():
    class NoTexts(Catalogue):
        def item_text_embedding(self):
            pytest.fail("asked for texts")

    model = SEAR(settings(streams=["collaborative", "rating"], text_init=False), NoTexts(np.zeros((80, 1))))
    assert 0.01 < model.item_decoder.weight.std() < 0.03


def test_without_aggregation_neither_attention_nor_its_feed_forward_exists():
    model = SEAR(settings(aggregation=False, text_init=False), Catalogue(np.zeros((80, 60), np.float32)))
    assert len(model.agg_layers) == 0 and not any("agg" in name for name, _ in model.named_parameters())
