"""Scores for items whose texts are like those of a history's last items: R more numbers in users' and items' vectors.

An item's are m, the first R principal components of its text embedding, at length 1; a user's are w times the mean of
m over the history, where an event counts half after `half_life` further ones, and w is learned. Their product is w
times a mean cosine of texts, which no layer has narrowed to the hidden size. B batch, L history length, P positions,
V items incl. padding id 0, E text width, R width of a match, N items.
"""

import numpy as np
import torch
from torch import Tensor, nn

from sear.errors import InputError


class TextMatch(nn.Module):
    """The texts of a catalogue as they are matched, and how much a match says; buffers but for the weight.

    Attributes:
        weight: (), w; it starts at 0.
        item_VR: float32 (V, R), each of length 1, padding 0.
        map_RE, mean_E: from a text embedding to its components.
    """

    item_VR: Tensor
    map_RE: Tensor
    mean_E: Tensor

    def __init__(self, items: int, width: int, text_width: int, half_life: float):
        """No texts yet; items: V, width: R, text_width: E."""
        super().__init__()
        self.half_life = half_life
        self.weight = nn.Parameter(torch.zeros(()))
        self.register_buffer("item_VR", torch.zeros(items, width))
        self.register_buffer("map_RE", torch.zeros(width, text_width))
        self.register_buffer("mean_E", torch.zeros(text_width))

    @torch.no_grad()
    def fit(self, text_VE: Tensor) -> None:
        """Take the real items' texts, of which row 0 is none.

        Raises:
            InputError: there are fewer principal components than R.
        """
        from sklearn.decomposition import PCA

        real_NE = text_VE[1:].cpu().numpy().astype(np.float64)
        if (width := len(self.map_RE)) > min(real_NE.shape):
            items, wide = real_NE.shape
            raise InputError(
                f"text_match is {width}, but {items} items with {wide}-wide texts have no more than "
                f"{min(items, wide)} components - lower it"
            )
        pca = PCA(width, svd_solver="full").fit(real_NE)
        self.map_RE.copy_(torch.from_numpy(pca.components_))
        self.mean_E.copy_(torch.from_numpy(pca.mean_))
        self.item_VR[1:] = self.of_texts(text_VE[1:].to(self.item_VR.device))

    @torch.no_grad()
    def add_items(self, text_NE: Tensor) -> None:
        """N more items, after those that there are."""
        self.item_VR = torch.cat([self.item_VR, self.of_texts(text_NE)])

    def of_texts(self, text_NE: Tensor) -> Tensor:
        """(N, R) of length 1, for these text embeddings."""
        return nn.functional.normalize((text_NE - self.mean_E) @ self.map_RE.T, dim=-1)

    def users(self, item_BL: Tensor, wanted_P: Tensor) -> Tensor:
        """(P, R): w times the mean match after the events with the numbers wanted_P, counted over B·L."""
        step_L = torch.arange(item_BL.shape[1], device=item_BL.device)
        count_LL = self._counts((step_L[:, None] - step_L).clamp(min=0)).tril()
        mean_BLR = (count_LL / count_LL.sum(1, keepdim=True)) @ self.item_VR[item_BL]
        return self.weight * mean_BLR.flatten(0, 1).index_select(0, wanted_P)

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
        sum_BR = torch.einsum("l,blr->br", count_L, self.item_VR[item_BL])
        return torch.cat([sum_BR, count_L.sum().expand(len(item_BL), 1)], dim=1)

    def users_of_sums(self, sum_BS: Tensor) -> Tensor:
        """(B, R): w times the mean match that the sums tell; they are of an event at least."""
        return self.weight * sum_BS[:, :-1] / sum_BS[:, -1:]

    def _counts(self, age: Tensor) -> Tensor:
        """What events count that were followed by so many others."""
        return torch.exp2(-age.to(self.item_VR.dtype) / self.half_life)

    def _load_from_state_dict(self, state_dict, prefix, *arguments) -> None:
        if (found := state_dict.get(f"{prefix}item_VR")) is not None:
            self.item_VR = self.item_VR.new_empty(found.shape)
        super()._load_from_state_dict(state_dict, prefix, *arguments)
