"""Scores for items whose texts are like those of a history's last items: R more numbers in users' and items' vectors.

An item's are m, the first R principal components of its text embedding, at length 1; a user's are w times the mean of
m over the history, where an event counts half after `half_life` further ones. Their product is w times a mean cosine
of texts, which no layer has narrowed to the hidden size. Nothing of it is trained: validation chooses w afterwards. A
w that is learned beside the rest ends at half of what validates best. B batch, L history length, P positions, V items
incl. padding id 0, E text width, R width of a match, N items.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

ROWS = 1 << 16  # texts looked at at a time
TENSORS = ("item_VR", "map_RE", "mean_E", "weight")


def aligned(text_VE: np.ndarray) -> Tensor:
    """Text embeddings, alike in memory in every run, so that it rounds alike: kept arrays are so, others are copied."""
    texts = torch.from_numpy(text_VE)
    return texts if isinstance(text_VE, np.memmap) else texts.clone()


class TextMatch(nn.Module):
    """The texts of a catalogue as they are matched, and how much a match says; no checkpoint holds any of it.

    Attributes:
        item_VR: float32 (V, R), each of length 1, padding 0.
        map_RE, mean_E: from a text embedding to its components.
        weight: (), w.
    """

    item_VR: Tensor
    map_RE: Tensor
    mean_E: Tensor
    weight: Tensor

    def __init__(self, tensors: Mapping[str, Tensor], half_life: float):
        """tensors: those of the attributes, as `tensors` gives them."""
        super().__init__()
        self.half_life = half_life
        for name in TENSORS:
            self.register_buffer(name, tensors[name], persistent=False)

    @classmethod
    @torch.no_grad()
    def of_texts(cls, text_VE: Tensor, width: int, half_life: float) -> "TextMatch":
        """That of a catalogue's text embeddings, of which row 0 is none; w is 0.

        Args:
            width: R; with fewer items or narrower texts it is as many components as there are.
        """
        mean_E, axis_EE = _components(text_VE)
        map_RE = axis_EE[:, : min(width, len(text_VE) - 1)].T.contiguous()
        none_VR, weight = text_VE.new_zeros(len(text_VE), len(map_RE)), text_VE.new_zeros(())
        match = cls({"item_VR": none_VR, "map_RE": map_RE, "mean_E": mean_E, "weight": weight}, half_life)
        for rows in range(1, len(text_VE), ROWS):
            match.item_VR[rows : rows + ROWS] = match.of_items(text_VE[rows : rows + ROWS])
        return match

    def tensors(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in TENSORS}

    @torch.no_grad()
    def add_items(self, text_NE: Tensor) -> None:
        """N more items, after those that there are."""
        self.item_VR = torch.cat([self.item_VR, self.of_items(text_NE)])

    def of_items(self, text_NE: Tensor) -> Tensor:
        """(N, R) of length 1, for these text embeddings."""
        return nn.functional.normalize((text_NE - self.mean_E) @ self.map_RE.T, dim=-1)

    def means(self, item_BL: Tensor, wanted_P: Tensor) -> Tensor:
        """(P, R): the mean match after the events with the numbers wanted_P, counted over B·L."""
        length = item_BL.shape[1]
        age_PL = (wanted_P % length)[:, None] - torch.arange(length, device=item_BL.device)
        count_PL = self._counts(age_PL.clamp(min=0)) * (age_PL >= 0)
        count_PL = count_PL / count_PL.sum(1, keepdim=True)
        bag_PL = item_BL[wanted_P // length]
        return nn.functional.embedding_bag(bag_PL, self.item_VR, mode="sum", per_sample_weights=count_PL)

    def cosines(self, item_BL: Tensor, length_B: Tensor) -> Tensor:
        """(B, V): the mean cosine of every item's text with those of each history, which has length_B >= 1 events."""
        last_B = torch.arange(len(item_BL), device=item_BL.device) * item_BL.shape[1] + length_B - 1
        return self.means(item_BL, last_B) @ self.item_VR.T

    def users(self, item_BL: Tensor, wanted_P: Tensor) -> Tensor:
        """(P, R): w times `means`."""
        return self.weight * self.means(item_BL, wanted_P)

    def no_sums(self, rows: int) -> Tensor:
        """(rows, R + 1): what `after` carries on, of histories without events: sums of m, and of what events count."""
        return self.item_VR.new_zeros(rows, self.item_VR.shape[1] + 1)

    def after(self, sum_BS: Tensor, item_B: Tensor) -> Tensor:
        """The same sums after one more event of each history."""
        event_BS = torch.cat([self.item_VR[item_B], sum_BS.new_ones(len(item_B), 1)], dim=1)
        return sum_BS * 2 ** (-1 / self.half_life) + event_BS

    def sums(self, item_BL: Tensor) -> Tensor:
        """The same sums after whole histories, none of them padded."""
        count_L = self._counts(torch.arange(item_BL.shape[1] - 1, -1, -1, device=item_BL.device))
        count_BL = count_L.expand(item_BL.shape).contiguous()
        sum_BR = nn.functional.embedding_bag(item_BL, self.item_VR, mode="sum", per_sample_weights=count_BL)
        return torch.cat([sum_BR, count_BL.sum(1, keepdim=True)], dim=1)

    def users_of_sums(self, sum_BS: Tensor) -> Tensor:
        """(B, R): w times the mean match that the sums tell; they are of an event at least."""
        return self.weight * sum_BS[:, :-1] / sum_BS[:, -1:]

    def _counts(self, age: Tensor) -> Tensor:
        """What events count that were followed by so many others."""
        return torch.exp2(-age.to(self.item_VR.dtype) / self.half_life)


def _components(text_VE: Tensor) -> tuple[Tensor, Tensor]:
    """The real items' mean (E,) and principal axes (E, E), the strongest first; worked out in float64."""
    total_E = sum(part.double().sum(0) for part in text_VE[1:].split(ROWS))
    mean_E = total_E / (len(text_VE) - 1)
    scatter_EE = torch.zeros(len(mean_E), len(mean_E), dtype=torch.float64, device=text_VE.device)
    for part in text_VE[1:].split(ROWS):
        centred_NE = part.double() - mean_E
        scatter_EE.addmm_(centred_NE.T, centred_NE)
    axis_EE = torch.linalg.eigh(scatter_EE)[1].flip(1)
    return mean_E.to(text_VE.dtype), axis_EE.to(text_VE.dtype)
