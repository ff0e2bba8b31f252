"""Ratings as vectors, the ways `rating_encoding` names: what the rating stream is before its LayerNorm.

Each encoder is a module (B, L) -> (B, L, d) over stars with NaN = no rating; what it gives there is finite and not
read, for the model has a vector of its own for no rating. None looks ahead. As published, `linear` starts with bias 0,
so its LayerNorm makes all positive ratings one vector at first; the others tell ratings apart from the start.
B batch, L history length, d hidden size, R different rating values.
"""

import numpy as np
import torch
from torch import Tensor, nn

from sear.errors import InputError

Before = tuple[Tensor, Tensor]  # (B,) each: the sum and the number of a row's ratings before the first one at hand

MOST_VALUES = 64  # stars by halves or tenths are fewer; of more, each vector would see too little


class LinearRating(nn.Linear):
    """`linear`: the stars times a vector, plus a bias."""

    def __init__(self, hidden_size: int):
        super().__init__(1, hidden_size)

    def forward(self, rating_BL: Tensor, before: Before | None = None) -> Tensor:
        return super().forward(self.stars(rating_BL, before)[..., None].to(self.weight.dtype))

    def stars(self, rating_BL: Tensor, before: Before | None) -> Tensor:
        return torch.nan_to_num(rating_BL)


class AffineRating(LinearRating):
    """`affine`: the same with a bias that starts from a normal."""

    def start_bias(self, deviation: float) -> None:
        self.bias.data.normal_(0, deviation)


class CentredRating(AffineRating):
    """`centred`: the stars less the row's mean so far. A first rating is 0 then, which a bias of 0 would leave without
    a direction, and LayerNorm's gradient without a bound."""

    def stars(self, rating_BL: Tensor, before: Before | None) -> Tensor:
        return above_mean_so_far(rating_BL, before)


class ValueRating(nn.Embedding):
    """`value`: a vector for each rating value of the training events; another value takes the nearest one's.

    The values are a buffer, so a checkpoint says which vector is whose.
    """

    values_R: Tensor

    def __init__(self, hidden_size: int, values_R: Tensor):
        super().__init__(len(values_R), hidden_size)
        self.register_buffer("values_R", values_R)

    def forward(self, rating_BL: Tensor, before: Before | None = None) -> Tensor:
        return super().forward(self.nearest(rating_BL))

    def nearest(self, rating_BL: Tensor) -> Tensor:
        """int64 (B, L): which value is nearest; half-way between two the lower one. 0 counts where NaN stands."""
        rating_BL = torch.nan_to_num(rating_BL).to(self.values_R.dtype)
        above_BL = torch.searchsorted(self.values_R, rating_BL).clamp_(max=len(self.values_R) - 1)
        below_BL = (above_BL - 1).clamp_(min=0)
        lower_BL = rating_BL - self.values_R[below_BL] <= self.values_R[above_BL] - rating_BL
        return torch.where(lower_BL, below_BL, above_BL)


class ValueCentredRating(ValueRating):
    """`value_centred`: the value's vector plus the distance from the row's mean so far times another."""

    def __init__(self, hidden_size: int, values_R: Tensor):
        super().__init__(hidden_size, values_R)
        self.centred = nn.Linear(1, hidden_size, bias=False)

    def forward(self, rating_BL: Tensor, before: Before | None = None) -> Tensor:
        above_BL1 = above_mean_so_far(rating_BL, before)[..., None].to(self.centred.weight.dtype)
        return super().forward(rating_BL) + self.centred(above_BL1)


BY_STARS = {"linear": LinearRating, "affine": AffineRating, "centred": CentredRating}
BY_VALUE = {"value": ValueRating, "value_centred": ValueCentredRating}
RATING_ENCODINGS = (*BY_STARS, *BY_VALUE)


def rating_encoder(name: str, hidden_size: int, dataset, rating_field: str) -> nn.Module:
    """The encoder called `name`; those by value take the values from the dataset's training events.

    Raises:
        InputError: more than MOST_VALUES values.
    """
    if name in BY_STARS:
        return encoder_of_values(name, hidden_size, None)
    values_R = training_values(dataset)
    if len(values_R) > MOST_VALUES:
        raise InputError(
            f"rating_encoding is {name}, but column {rating_field!r} has {len(values_R)} different values in training, "
            f"and at most {MOST_VALUES} can have a vector each - set rating_encoding to affine or centred"
        )
    return encoder_of_values(name, hidden_size, torch.from_numpy(values_R))


def encoder_of_values(name: str, hidden_size: int, values_R: Tensor | None) -> nn.Module:
    """The encoder called `name`; values_R, rising: the rating values that have a vector, for those by value."""
    if name in BY_STARS:
        return BY_STARS[name](hidden_size)
    assert values_R is not None, f"{name} has a vector for each value"
    return BY_VALUE[name](hidden_size, values_R)


def training_values(dataset) -> np.ndarray:
    """float32 (R,), rising: the different ratings of the training events; [0] where none of them is rated."""
    rating = dataset.events.rating[dataset.events.training]
    values = np.unique(rating[~np.isnan(rating)])
    return values if len(values) else np.zeros(1, rating.dtype)  # a table needs a row, even if only tests read it


def above_mean_so_far(rating_BL: Tensor, before: Before | None = None) -> Tensor:
    """Each rating less the mean of the row's ratings up to and including it; finite where NaN stands."""
    star_BL, known_BL = torch.nan_to_num(rating_BL), ~torch.isnan(rating_BL)
    total_BL, count_BL = star_BL.cumsum(1), known_BL.cumsum(1)
    if before is not None:
        total_BL, count_BL = total_BL + before[0][:, None], count_BL + before[1][:, None]
    return star_BL - total_BL / count_BL.clamp_(min=1)
