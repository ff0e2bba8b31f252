"""What each way of turning ratings into vectors promises; their numbers by plain loops are in test_model_by_hand.py."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sear.data.dataset import SEARDataset
from sear.data.history import is_training
from sear.errors import InputError
from sear.files import PROJECT_ROOT
from sear.model.rating_encoding import RATING_ENCODINGS, above_mean_so_far, rating_encoder, training_values
from sear.model.sear import SEAR
from sear.settings.rules import read_rules
from sear.trainer.checkpoint import load_checkpoint, save_checkpoint
from tests.conftest import random_histories, write_atomic_files
from tests.model.test_sear import Catalogue, batch, settings

NAN = float("nan")
BY_VALUE = ("value", "value_centred")


def rated_events(ratings, offsets):
    return SimpleNamespace(rating=np.array(ratings, np.float32), training=is_training(np.array(offsets)))


class Rated(Catalogue):
    """Three users of 5, 4 and 2 events: the last two events of the first two are held out."""

    def __init__(self, ratings=(1, 3.5, NAN, 4, 2, 3.5, 5, 4.5, 0.5, 3, NAN)):
        super().__init__(np.random.default_rng(0).standard_normal((80, 60)).astype(np.float32))
        self.events = rated_events(ratings, [0, 5, 9, 11])


def model_of(encoding, dataset=None, **changes):
    torch.manual_seed(0)
    return SEAR(settings(rating_encoding=encoding, **changes), dataset or Rated()).eval()


def rows(*ratings):
    length = torch.tensor([len(row) for row in ratings])
    items = torch.randint(1, 80, (len(ratings), int(length.max())), generator=torch.Generator().manual_seed(1))
    padded = torch.zeros(items.shape)
    for row, given in enumerate(ratings):
        padded[row, : len(given)] = torch.tensor(given)
    return batch(items, padded, length)


def rating_stream(model, ratings):
    return model.streams(torch.ones(1, len(ratings), dtype=torch.int64), torch.tensor([ratings]))[2][0].detach()


def test_the_settings_file_allows_exactly_the_encodings_there_are():
    rule = read_rules(PROJECT_ROOT / "config" / "model" / "SEAR.yaml")["rating_encoding"]
    assert rule.allowed == f"str: {' | '.join(RATING_ENCODINGS)}" and rule.default == "linear"


def test_linear_keeps_the_published_names_shapes_and_start():
    model = model_of("linear")
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters() if "rating" in name}
    assert shapes == {"rating_emb.weight": (16, 1), "rating_emb.bias": (16,), "no_rating_emb": (16,)}
    assert not [name for name in model.state_dict() if "values" in name]
    assert not model.rating_emb.bias.any()


def test_linear_starts_with_one_vector_for_all_ratings_and_every_other_tells_them_apart():
    stars = [1.0, 3.0, 5.0]
    for encoding in RATING_ENCODINGS:
        one, three, five = rating_stream(model_of(encoding), stars)
        gap = min((one - three).norm(), (three - five).norm(), (one - five).norm())
        assert gap < 1e-3 if encoding == "linear" else gap > 0.1, encoding


def test_the_values_are_those_of_the_training_events():
    assert training_values(Rated()).tolist() == [1.0, 3.0, 3.5, 5.0]  # 4, 2, 4.5 and 0.5 are held out
    assert rating_encoder("value", 16, Rated(), "rating").values_R.tolist() == [1.0, 3.0, 3.5, 5.0]


@pytest.mark.parametrize(
    ("rating", "row"),
    [(1, 0), (3, 1), (3.5, 2), (5, 3), (0.5, 0), (-9, 0), (9, 3), (1.9, 0), (2.1, 1), (2, 0), (4.25, 2), (4.3, 3)],
)
def test_a_value_that_never_trained_takes_the_nearest_ones_vector_or_the_lower_ones(rating, row):
    encoder = rating_encoder("value", 16, Rated(), "rating")
    assert encoder.nearest(torch.tensor([[rating]], dtype=torch.float32)).item() == row
    assert torch.equal(encoder(torch.tensor([[float(rating)]]))[0, 0], encoder.weight[row])


def test_values_that_differ_in_their_last_bit_have_a_vector_each():
    near = np.nextafter(np.float32(0.3), np.float32(1))
    encoder = rating_encoder("value", 16, Rated([float(near), 0.3, 1, *[NAN] * 8]), "rating")
    assert encoder.nearest(encoder.values_R[None]).tolist() == [[0, 1, 2]]
    assert encoder.double().nearest(encoder.values_R[None].float()).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("encoding", BY_VALUE)
def test_a_continuous_rating_is_refused_with_the_remedy(encoding):
    dataset = Rated()
    dataset.events = rated_events(range(66), [0, 66])  # 64 of them train
    rating_encoder(encoding, 16, dataset, "rating")
    dataset.events = rated_events(range(67), [0, 67])
    with pytest.raises(InputError, match=f"is {encoding}, but column 'rating' has 65 .* set rating_encoding to affine"):
        model_of(encoding, dataset)
    model_of("centred", dataset)


@pytest.mark.parametrize("encoding", RATING_ENCODINGS)
def test_without_any_rating_every_encoding_gives_its_one_vector_for_none(encoding):
    model = model_of(encoding, Rated([NAN] * 11))
    given = model._rating(torch.full((1, 3), NAN), before=None)
    assert torch.equal(given, model.no_rating_emb.expand(1, 3, -1))
    assert model.full_sort_predict(rows([NAN, NAN], [4.0])).isfinite().all()  # a test event may be rated nevertheless


def test_the_mean_so_far_counts_known_ratings_up_to_the_event_itself():
    found = above_mean_so_far(torch.tensor([[4.0, NAN, 1.0, 4.0], [NAN, 2.0, 2.5, NAN]], dtype=torch.float64))
    known = ~torch.tensor([[False, True, False, False], [True, False, False, True]])
    assert found[known].tolist() == [0, 1 - 5 / 2, 4 - 9 / 3, 0, 2.5 - 4.5 / 2]
    assert found.isfinite().all()


@pytest.mark.parametrize("encoding", RATING_ENCODINGS)
@pytest.mark.parametrize("later", [1.0, NAN])
def test_a_later_rating_or_padding_changes_nothing_before_it(encoding, later):
    model = model_of(encoding, keep_dt_init=True).double()
    if encoding == "linear":
        model.rating_emb.bias.data.normal_()  # from 0 it would not see 5 and 1 differ
    found = []
    for third in (5.0, later):
        given = rows([3.0, NAN, third, 3.5], [3.0, NAN])
        everywhere = torch.arange(2 * 4)
        found.append(model(given["item_id_list"], given["rating_list"].double(), everywhere).detach().view(2, 4, -1))
    assert torch.equal(found[0][0, :2], found[1][0, :2]) and torch.equal(found[0][1], found[1][1])
    changed = (found[0] - found[1])[0, 2:].abs().amax(1)
    assert (changed > 1e-6).all()
    alone = rows([3.0, NAN])
    alone["item_id_list"] = given["item_id_list"][1:, :2]
    alone["rating_list"] = alone["rating_list"].double()
    torch.testing.assert_close(model.user_vectors(alone)[0], found[0][1, 1], rtol=0, atol=1e-12)


@pytest.fixture
def tiny(tmp_path, tiny_config, tiny_text):
    """encoding, changes -> (model at toy size, training part) on the tiny data set, some ratings missing."""
    histories = random_histories(users=24)
    for number, events in enumerate(histories.values()):
        item, _, time = events[number % 4]
        events[number % 4] = (item, "", time)
    write_atomic_files(tmp_path, "tiny", histories)

    def make(encoding, **changes):
        changes = {"MAX_ITEM_LIST_LENGTH": 30, "dropout_prob": 0.0} | changes
        config = tiny_config(tmp_path, rating_encoding=encoding, **changes)
        train, *_ = SEARDataset(config).build()
        torch.manual_seed(0)
        return SEAR(config, train), train

    return make


@pytest.mark.parametrize("encoding", RATING_ENCODINGS)
def test_windows_and_prefixes_agree_where_histories_fit(tiny, encoding):
    losses = []
    for train_rows in ("windows", "prefixes"):
        model, train = tiny(encoding, train_rows=train_rows)
        given = train[np.arange(len(train))]
        given["rating_list"] = given["rating_list"].double()
        losses.append(model.double().calculate_loss(given).item())
    assert abs(losses[0] - losses[1]) < 1e-10


@pytest.mark.parametrize("encoding", RATING_ENCODINGS)
def test_gradients_reach_every_parameter(tiny, encoding):
    model, train = tiny(encoding, initializer_range=0.3)
    model.double().calculate_loss(train[np.arange(len(train))]).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        if not name.endswith("w_k.bias"):  # zero by nature: softmax does not see what all keys share
            assert parameter.grad.any(), name
    if encoding in BY_VALUE:
        assert model.rating_emb.weight.grad.any(1).all()  # every star from 1 to 5


@pytest.mark.parametrize("encoding", RATING_ENCODINGS)
def test_a_checkpoint_brings_its_own_values(tmp_path, encoding):
    trained = model_of(encoding)
    save_checkpoint(tmp_path / "best.pth", {"state_dict": trained.state_dict()})
    other = model_of(encoding, Rated([7, 8, 9, NAN, NAN, 10, *[NAN] * 5]), initializer_range=0.5)
    given = rows([1.0, 3.4, NAN, 5.0], [2.0])
    assert not torch.equal(other.full_sort_predict(given), trained.full_sort_predict(given))
    other.load_state_dict(load_checkpoint(tmp_path / "best.pth", "cpu")["state_dict"])
    assert torch.equal(other.full_sort_predict(given), trained.full_sort_predict(given))
