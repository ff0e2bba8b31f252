"""SEAR: three streams of a history, fused by attention and encoded by Mamba, scored against every item.

Source: "SEAR: LLM-Powered Sequential Recommendation via Fusion of Collaborative, Semantic, and Rating Information"
(WWW 2026, doi 10.1145/3774904.3792092). B batch, L history length, d hidden size, S streams in use, D = S·d,
V items incl. padding id 0, E text width, P positions that carry loss, K soft-label length.
"""

import numpy as np
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import Tensor, nn

from sear.data.dataset import require_sear_dataset
from sear.errors import InputError
from sear.model.layers import MambaLayer, StreamFusion, fuse_streams, mamba_options, residual_norm
from sear.model.loss import loss_targets, soft_label_loss
from sear.model.rating_encoding import AffineRating, rating_encoder
from sear.settings.known_models import STREAMS


class SEAR(SequentialRecommender):
    """Next-item scores from item ids, frozen text embeddings and ratings.

    Training and prediction share one path: streams -> encode -> scores. Nothing looks ahead, so one pass gives the user
    vector after every event.

    Raises:
        InputError: the dataset is not a SEARDataset, its catalogue is too small for the PCA start, or it has too many
            different ratings for a vector each.
    """

    input_type = InputType.POINTWISE

    def __init__(self, config, dataset):
        require_sear_dataset(dataset, "SEAR")
        super().__init__(config, dataset)
        self.stream_names = [name for name in STREAMS if name in config["streams"]]
        self.hidden_size, self.dropout_prob = config["hidden_size"], config["dropout_prob"]
        self.soft_label_decay = config["soft_label_decay"]
        self.initializer_range = config["initializer_range"]
        self.RATING_SEQ = config["RATING_FIELD"] + config["LIST_SUFFIX"]
        self._build_streams(config, dataset)
        self._build_layers(config)
        width = self.hidden_size * len(self.stream_names)
        self.item_decoder = nn.Embedding(self.n_items, width)
        self._initialise(config)

    def _build_streams(self, config, dataset) -> None:
        hidden = self.hidden_size
        if "semantic" in self.stream_names or config["text_init"]:
            text_VE = torch.from_numpy(dataset.item_text_embedding()).clone()  # aligned alike in every run
            self.register_buffer("item_text_VE", text_VE, persistent=False)  # frozen: the dataset's cache keeps it
        if "semantic" in self.stream_names:
            self.adapter = nn.Linear(self.item_text_VE.shape[1], hidden)
        if "collaborative" in self.stream_names:
            self.collaborative_emb = nn.Embedding(self.n_items, hidden)
        if "rating" in self.stream_names:
            self.rating_emb = rating_encoder(config["rating_encoding"], hidden, dataset, config["RATING_FIELD"])
            self.no_rating_emb = nn.Parameter(torch.zeros(hidden))  # stands where an event has no rating
        self.item_emb_LayerNorms = nn.ModuleList(nn.LayerNorm(hidden, eps=1e-12) for _ in self.stream_names)

    def _build_layers(self, config) -> None:
        hidden, layers, dropout = self.hidden_size, config["num_layers"], self.dropout_prob
        streams = len(self.stream_names)
        mamba = mamba_options(config)
        self.mamba_layers = nn.ModuleList(
            nn.ModuleList(MambaLayer(hidden, dropout=dropout, **mamba) for _ in range(layers)) for _ in range(streams)
        )
        self.agg_layers = nn.ModuleList()
        if config["aggregation"]:
            self.agg_layers.extend(
                nn.ModuleList(StreamFusion(hidden, config["num_heads"], dropout) for _ in range(layers))
                for _ in range(streams)
            )

    def _initialise(self, config) -> None:
        self.apply(self._init_weights)
        if "rating" in self.stream_names:
            self.no_rating_emb.data.normal_(0, self.initializer_range)
            if isinstance(self.rating_emb, AffineRating):
                self.rating_emb.start_bias(self.initializer_range)
        if config["keep_dt_init"]:
            for layer in (layer for stream in self.mamba_layers for layer in stream):
                layer.mamba.reset_dt_proj()
        if config["text_init"]:
            component_VD = self._text_components(config, self.item_decoder.embedding_dim)
            self.item_decoder.weight.data.copy_(component_VD)
            if "collaborative" in self.stream_names:
                self.collaborative_emb.weight.data.copy_(component_VD[:, : self.hidden_size])

    def _init_weights(self, module: nn.Module) -> None:
        """N(0, initializer_range) for every Linear and Embedding, Mamba's dt_proj too."""
        if isinstance(module, nn.LayerNorm):
            module.weight.data.fill_(1.0)
            module.bias.data.zero_()
        elif isinstance(module, (nn.Linear, nn.Embedding)):
            module.weight.data.normal_(0, self.initializer_range)
            if getattr(module, "bias", None) is not None:
                module.bias.data.zero_()

    @staticmethod
    def check_catalogue(config, item_num: int, text_width: int | None = None) -> None:
        """Raises InputError where item_num - 1 items, with texts so wide, are too few for the PCA start."""
        streams = len(config["streams"])
        width, limit = streams * config["hidden_size"], min(item_num - 1, text_width or item_num)
        if config["text_init"] and width > limit:
            texts = f" with {text_width}-wide texts" if text_width else ""
            raise InputError(
                f"hidden_size is {config['hidden_size']}: {streams} streams need {width} PCA components, but "
                f"{item_num - 1} items{texts} have only {limit} - lower hidden_size or set text_init to False"
            )

    def _text_components(self, config, width: int) -> Tensor:
        """PCA of the real items' text embeddings to (V, width), centred, unscaled; row 0 is 0."""
        from sklearn.decomposition import PCA

        text_VE = self.item_text_VE.cpu().numpy()
        self.check_catalogue(config, len(text_VE), text_VE.shape[1])
        component_VD = np.zeros((len(text_VE), width), dtype=np.float32)
        component_VD[1:] = PCA(width, svd_solver="full").fit_transform(text_VE[1:].astype(np.float64))
        return torch.from_numpy(component_VD)

    def streams(self, item_BL: Tensor, rating_BL: Tensor) -> list[Tensor]:
        """The streams in use, each (B, L, d), after dropout and LayerNorm."""
        embedders = {"semantic": self._semantic, "collaborative": self._collaborative, "rating": self._rating}
        embedded = [embedders[name](item_BL, rating_BL) for name in self.stream_names]
        return [
            residual_norm(norm, self.dropout_prob, None, x_BLd)
            for x_BLd, norm in zip(embedded, self.item_emb_LayerNorms, strict=True)
        ]

    def _semantic(self, item_BL: Tensor, _) -> Tensor:
        if item_BL.numel() < self.n_items:
            return self.adapter(self.item_text_VE[item_BL])
        return nn.functional.embedding(item_BL, self.adapter(self.item_text_VE))  # each item is projected once

    def _collaborative(self, item_BL: Tensor, _) -> Tensor:
        return self.collaborative_emb(item_BL)

    def _rating(self, _, rating_BL: Tensor) -> Tensor:
        known_BLd, missing_BL1 = self.rating_emb(rating_BL), torch.isnan(rating_BL)[..., None]
        return torch.where(missing_BL1, self.no_rating_emb.to(known_BLd.dtype), known_BLd)

    def encode(self, stream_BLd: list[Tensor], wanted_P: Tensor) -> list[Tensor]:
        """The streams (P, d) after every layer, at the positions with the numbers wanted_P, counted over B·L.

        Each layer is aggregation across streams, then Mamba along time.
        """
        layers = len(self.mamba_layers[0])
        for layer in range(layers):
            if len(self.agg_layers):
                stream_BLd = fuse_streams([stream[layer] for stream in self.agg_layers], stream_BLd)
            read_P = wanted_P if layer == layers - 1 else None  # before the last layer the scan reads every position
            stream_BLd = [
                stream[layer](x_BLd, read_P) for stream, x_BLd in zip(self.mamba_layers, stream_BLd, strict=True)
            ]
        return stream_BLd

    def scores(self, user_BD: Tensor) -> Tensor:
        """(B, V): every item's score, padding id 0 included."""
        return user_BD @ self.item_decoder.weight.T

    def forward(self, item_BL: Tensor, rating_BL: Tensor, wanted_P: Tensor) -> Tensor:
        """User vectors (P, D) at the positions with the numbers wanted_P, counted over B·L."""
        return torch.cat(self.encode(self.streams(item_BL, rating_BL), wanted_P), dim=-1)

    def calculate_loss(self, interaction) -> Tensor:
        """Mean soft-label loss over the batch's positions whose `target_id_list` begins with an item."""
        at = interaction.interaction.get("loss_position")
        position_P, target_PK = loss_targets(interaction["target_id_list"], at)
        user_PD = self.forward(interaction[self.ITEM_SEQ], interaction[self.RATING_SEQ], position_P)
        return soft_label_loss(user_PD, self.item_decoder.weight, target_PK, self.soft_label_decay)

    def user_vectors(self, interaction) -> Tensor:
        """(B, D): the user after the last event of each history, which has one at least."""
        item_BL, length_B = interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]
        row_B = torch.arange(len(item_BL), device=item_BL.device)
        return self.forward(item_BL, interaction[self.RATING_SEQ], row_B * item_BL.shape[1] + length_B - 1)

    def full_sort_predict(self, interaction) -> Tensor:
        """(B, V): every item's score for the next event of each history."""
        return self.scores(self.user_vectors(interaction))

    def item_table(self) -> Tensor:
        """(V, D): what user vectors are multiplied with."""
        return self.item_decoder.weight

    def predict(self, interaction) -> Tensor:
        """(B,): the score of each row's own `item_id`."""
        return (self.user_vectors(interaction) * self.item_decoder(interaction[self.ITEM_ID])).sum(-1)
