"""Where training would have put an item, as far as its text tells. V items, N others, E text width, D its row's."""

import numpy as np

ALPHAS = (1.0, 10.0, 100.0, 1000.0, 10_000.0)  # of which leave-one-out chooses
MOST_TO_CHOOSE = 8192  # items that it is chosen on


class TextMap:
    """The ridge regression from text embeddings to learned rows; its penalty is chosen by leave-one-out."""

    def __init__(self, text_VE: np.ndarray, learned_VD: np.ndarray, weight_V: np.ndarray | None = None):
        """Args: items only, without padding; weight_V: how much each item counts, None = alike.

        The number of an item's training events is a good weight: rows of rare items have hardly left their start.
        """
        from sklearn.linear_model import Ridge, RidgeCV

        self._scale = text_VE.std() or 1.0  # the alphas are for numbers of about 1
        text_VE = text_VE.astype(np.float64) / self._scale
        some = np.random.default_rng(0).permutation(len(text_VE))[:MOST_TO_CHOOSE]
        weight_some = None if weight_V is None else weight_V[some]
        chosen = RidgeCV(ALPHAS).fit(text_VE[some], learned_VD[some], weight_some)
        self.alpha = chosen.alpha_ * len(text_VE) / len(some)
        self._ridge = chosen
        if len(some) < len(text_VE):
            self._ridge = Ridge(self.alpha).fit(text_VE, learned_VD, weight_V)

    def __call__(self, text_NE: np.ndarray) -> np.ndarray:
        """float32 (N, D)."""
        rows = self._ridge.predict(text_NE.astype(np.float64) / self._scale)
        return rows.reshape(len(text_NE), -1).astype(np.float32)
