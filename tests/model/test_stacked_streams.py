"""A network with its streams stacked gives what it gives stream by stream, at once and event by event."""

import pytest
import torch

from sear.model.network import SEARNetwork
from sear.model.rating_encoding import encoder_of_values
from sear.model.stacked_streams import StackedStreams
from sear.model.text_match import TextMatch
from tests.model.test_network import TEXTS
from tests.model.test_sear import settings

CHANGES = [
    {},
    {"rating_encoding": "centred", "item_table": "tied", "match": True},
    {"rating_encoding": "value_centred", "aggregation": False, "cosine_scale": 8.0},
    {"streams": ["collaborative"], "d_conv": 1, "num_layers": 1},
]


def network_with(changes, dtype):
    torch.manual_seed(0)
    changes = dict(changes)
    matches = changes.pop("match", False)
    config = settings(**changes)
    values = torch.tensor([1.0, 2.0, 4.0, 5.0])
    network = SEARNetwork().build(
        config, 80, TEXTS, lambda: encoder_of_values(config["rating_encoding"], config["hidden_size"], values)
    )
    for parameter in network.parameters():  # far from their start, so that every part matters
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    if matches:
        network.text_match = TextMatch.of_texts(torch.from_numpy(TEXTS), 5, half_life=3.0)
        network.text_match.weight.fill_(2.0)
    return network.to(dtype).eval().requires_grad_(False)


def histories(length, dtype):
    random = torch.Generator().manual_seed(length)
    item_BL = torch.randint(1, 80, (3, length), generator=random)
    rating_BL = torch.randint(1, 6, (3, length), generator=random).to(dtype)
    return item_BL, rating_BL.masked_fill(torch.rand(3, length, generator=random) < 0.3, torch.nan)


def whole(network, item_BL, rating_BL):
    rows, length = item_BL.shape
    return network.scored_users(network(item_BL, rating_BL, torch.arange(1, rows + 1) * length - 1))


@pytest.mark.parametrize("changes", CHANGES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_events_one_by_one_equal_the_history_at_once(changes, dtype, tolerance):
    network = network_with(changes, dtype)
    item_BL, rating_BL = histories(12, dtype)
    stacked = StackedStreams(network)
    _, memory = stacked.read(item_BL[:, :5], rating_BL[:, :5])
    from_nothing = stacked.start(rows=3)
    for step in range(12):
        expected = whole(network, item_BL[:, : step + 1], rating_BL[:, : step + 1])
        event = item_BL[:, step], rating_BL[:, step]
        user_BD, from_nothing = stacked.add(from_nothing, *event)
        torch.testing.assert_close(user_BD, expected, rtol=tolerance, atol=tolerance)
        if step >= 5:
            user_BD, memory = stacked.add(memory, *event)
            torch.testing.assert_close(user_BD, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("length", [1, 2, 30])
def test_reading_a_history_gives_its_user_and_its_memory(length):
    network = network_with({}, torch.float32)
    item_BL, rating_BL = histories(length, torch.float32)
    stacked = StackedStreams(network)
    user_BD, memory = stacked.read(item_BL, rating_BL)
    torch.testing.assert_close(user_BD, whole(network, item_BL, rating_BL), rtol=1e-4, atol=1e-4)
    stepped = stacked.start(rows=3)
    for step in range(length):
        _, stepped = stacked.add(stepped, item_BL[:, step], rating_BL[:, step])
    for name in ("inputs", "states", "rated"):
        torch.testing.assert_close(getattr(memory, name), getattr(stepped, name), rtol=1e-4, atol=1e-4)


def test_an_event_leaves_the_memory_before_it_as_it_was():
    network = network_with({}, torch.float32)
    item_BL, rating_BL = histories(4, torch.float32)
    stacked = StackedStreams(network)
    _, memory = stacked.read(item_BL, rating_BL)
    first, _ = stacked.add(memory, item_BL[:, 0], rating_BL[:, 0])
    stacked.add(memory, item_BL[:, 1], rating_BL[:, 1])
    again, _ = stacked.add(memory, item_BL[:, 0], rating_BL[:, 0])
    assert torch.equal(first, again)


@pytest.mark.parametrize("changes", CHANGES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_a_padded_batch_at_any_positions(changes, dtype, tolerance):
    network = network_with(changes, dtype)
    item_BL, rating_BL = histories(9, dtype)
    item_BL[1, 4:] = rating_BL[1, 4:] = 0
    wanted_P = torch.tensor([8, 9 + 3, 18 + 8, 3])
    expected = network.scored_users(network(item_BL, rating_BL, wanted_P))
    found = StackedStreams(network).users(item_BL, rating_BL, wanted_P)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
