"""SEAR's network: three streams of a history, fused by attention and encoded by Mamba; a plain module without RecBole.

Source: "SEAR: LLM-Powered Sequential Recommendation via Fusion of Collaborative, Semantic, and Rating Information"
(WWW 2026, doi 10.1145/3774904.3792092). B batch, L history length, d hidden size, S streams in use, D = S·d, or with a
tied item table d for each stream that has a vector per item, and R more where texts are matched, V items incl. padding
id 0, E text width, W width of the whitened texts, P positions.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from sear.errors import InputError
from sear.model.layers import MambaLayer, StreamFusion, fuse_streams, mamba_options, residual_norm
from sear.model.rating_encoding import AffineRating, Before, encoder_of_values
from sear.model.scoring import ScoringModule, rows_of
from sear.model.text_match import TextMatch, aligned
from sear.settings.known_models import STREAMS, TIED_STREAMS


class SEARNetwork(ScoringModule):
    """User vectors from item ids, frozen text embeddings and ratings: streams -> encode.

    Made by `SEARNetwork().build(...)`. Nothing looks ahead, so one pass gives the user vector after every event.

    Attributes:
        text_match: what is added for texts like the history's; None in training, and where validation wants none.
    """

    item_text_VE: Tensor
    text_whitening_WE: Tensor
    text_mean_E: Tensor
    _text_Vd: Tensor | None = None

    def build(self, config, items: int, text_VE: np.ndarray | None, rating_encoder: Callable[[], nn.Module]):
        """Make and start all layers; returns the network.

        Args:
            config: a mapping with the keys of SEAR.yaml, and `device`.
            items: V, with padding id 0.
            text_VE: float32 (V, E), the items' text embeddings; None where config asks for none.
            rating_encoder: makes what encodes ratings (sear.model.rating_encoding), where the stream is in use.

        Raises:
            InputError: the catalogue is too small for the PCA start or the whitening, or there is nothing to tie.
        """
        if text_VE is not None:
            texts = aligned(text_VE)
            self.register_buffer("item_text_VE", texts, persistent=False)  # frozen: the dataset's cache keeps it
        self._build_parts(config, items, 0 if text_VE is None else text_VE.shape[1], rating_encoder)
        self._initialise(config)
        return self

    @classmethod
    def trained(
        cls,
        config,
        items: int,
        weights: Mapping[str, Tensor],
        text_Vd: Tensor | None,
        text_match: TextMatch | None = None,
    ) -> "SEARNetwork":
        """The network that has these weights, in evaluation mode; they are not copied.

        Args:
            config, items: as for `build`.
            weights: its state dict.
            text_Vd: what `projected_texts` gave, in place of the texts themselves; None without a semantic stream.
            text_match: that of the trained one, if it has any.

        Raises:
            RuntimeError: the weights do not fit the config.
        """
        read_by = weights.get("text_whitening_WE", weights.get("adapter.weight"))
        text_width = 0 if read_by is None else read_by.shape[1]
        encoding, hidden, values_R = (
            config["rating_encoding"],
            config["hidden_size"],
            weights.get("rating_emb.values_R"),
        )
        network = cls()
        with torch.random.fork_rng(devices=()):  # the small layers are made with random values
            network._build_parts(config, 1, text_width, lambda: encoder_of_values(encoding, hidden, values_R))
        for name in ("item_decoder", "collaborative_emb"):  # large tables are not made only to be replaced
            if (table_VD := weights.get(f"{name}.weight")) is not None and hasattr(network, name):
                getattr(network, name).weight = nn.Parameter(table_VD)
        network.items = items
        network.load_state_dict(dict(weights), assign=True)
        network._text_Vd, network.text_match = text_Vd, text_match
        return network.requires_grad_(False).eval()

    @torch.no_grad()
    def add_items(self, text_NE: Tensor, collaborative_Nd: Tensor | None, table_ND: Tensor | None) -> None:
        """Give a `trained` network N more items, after those that it has.

        Args:
            text_NE: their text embeddings, which the semantic stream takes as it takes the others.
            collaborative_Nd: their rows of the item embedding, where that stream is in use.
            table_ND: their rows of a free item table.
        """
        if self._text_Vd is not None:
            self._text_Vd = torch.cat([self._text_Vd, self._adapted(text_NE)])
        if self.text_match is not None:
            self.text_match.add_items(text_NE)
        for name, rows in (("collaborative_emb", collaborative_Nd), ("item_decoder", table_ND)):
            if rows is not None:
                table = getattr(self, name)
                table.weight = nn.Parameter(torch.cat([table.weight, rows]), requires_grad=False)
        self.items += len(text_NE)

    def _build_parts(self, config, items: int, text_width: int, rating_encoder: Callable[[], nn.Module]) -> None:
        """All layers, with whatever values they are made with."""
        self.start_scoring(config)
        self.text_match: TextMatch | None = None
        self.items = items
        self.stream_names = [name for name in STREAMS if name in config["streams"]]
        self.hidden_size, self.dropout_prob = config["hidden_size"], config["dropout_prob"]
        self.initializer_range = config["initializer_range"]
        self._build_streams(config, text_width, rating_encoder)
        self._build_layers(config)
        self._build_item_vectors(config)

    def _build_streams(self, config, text_width: int, rating_encoder: Callable[[], nn.Module]) -> None:
        hidden = self.hidden_size
        if "semantic" in self.stream_names:
            width = config["text_whitening"] or text_width
            self.adapter = nn.Linear(width, hidden)
            if config["text_whitening"]:
                self.register_buffer("text_whitening_WE", torch.empty(width, text_width))
                self.register_buffer("text_mean_E", torch.empty(text_width))
        if "collaborative" in self.stream_names:
            self.collaborative_emb = nn.Embedding(self.items, hidden)
        if "rating" in self.stream_names:
            self.rating_emb = rating_encoder()
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

    def _build_item_vectors(self, config) -> None:
        """Without a table of its own, SEAR scores with the vectors that items have before the encoder.

        Ratings belong to events, not to items: with that stream a linear map takes user vectors to the tied width.
        """
        self.tied_streams = [name for name in TIED_STREAMS if name in self.stream_names]
        self.tied = config["item_table"] == "tied"
        width, tied_width = (self.hidden_size * len(names) for names in (self.stream_names, self.tied_streams))
        if not self.tied:
            self.item_decoder = nn.Embedding(self.items, width)
        elif not tied_width:
            raise InputError("item_table is tied, but the rating stream has no items - add semantic or collaborative")
        elif tied_width < width:
            self.user_map = nn.Linear(width, tied_width, bias=False)

    def _initialise(self, config) -> None:
        if hasattr(self, "text_whitening_WE"):
            self._whiten_texts(config["text_whitening"])
        self.apply(self._init_weights)
        if "rating" in self.stream_names:
            self.no_rating_emb.data.normal_(0, self.initializer_range)
            if isinstance(self.rating_emb, AffineRating):
                self.rating_emb.start_bias(self.initializer_range)
        if config["keep_dt_init"]:
            for layer in self.mamba_layers.modules():
                if isinstance(layer, MambaLayer):
                    layer.mamba.reset_dt_proj()
        if hasattr(self, "user_map"):
            nn.init.eye_(self.user_map.weight)  # the tied streams' own parts, which come before that of the ratings
        if config["text_init"] and (width := self._start_width(config)):
            component_VD = self._text_components(config, width)
            if not self.tied:
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
            bias = getattr(module, "bias", None)
            if bias is not None:
                bias.data.zero_()

    @staticmethod
    def check_catalogue(config, item_num: int, text_width: int | None = None) -> None:
        """Raises InputError where item_num - 1 items, with texts so wide, are too few for the PCA start."""
        width, limit = SEARNetwork._start_width(config), min(item_num - 1, text_width or item_num)
        if config["text_init"] and width > limit:
            texts = f" with {text_width}-wide texts" if text_width else ""
            streams = width // config["hidden_size"]
            raise InputError(
                f"hidden_size is {config['hidden_size']}: {streams} streams need {width} PCA components, but "
                f"{item_num - 1} items{texts} have only {limit} - lower hidden_size or set text_init to False"
            )

    @staticmethod
    def _start_width(config) -> int:
        """How many PCA components the item tables start from: those of the output table, or of the input alone."""
        streams = config["streams"]
        tables = len(streams) if config["item_table"] != "tied" else int("collaborative" in streams)
        return tables * config["hidden_size"]

    def _text_components(self, config, width: int) -> Tensor:
        """PCA of the real items' text embeddings to (V, width), centred, unscaled; row 0 is 0."""
        from sklearn.decomposition import PCA

        text_VE = self.item_text_VE.cpu().numpy()
        self.check_catalogue(config, len(text_VE), text_VE.shape[1])
        component_VD = np.zeros((len(text_VE), width), dtype=np.float32)
        component_VD[1:] = PCA(width, svd_solver="full").fit_transform(text_VE[1:].astype(np.float64))
        return torch.from_numpy(component_VD)

    def _whiten_texts(self, width: int) -> None:
        """PCA of the real items' texts to `width` components of equal variance, of mean squared length 1.

        A checkpoint holds the map, so that rounding elsewhere cannot turn the components against the adapter.
        """
        from sklearn.decomposition import PCA

        text_VE = self.item_text_VE[1:].cpu().numpy().astype(np.float64)
        if width > min(text_VE.shape):
            items, wide = text_VE.shape
            raise InputError(
                f"text_whitening is {width}, but {items} items with {wide}-wide texts have no more than "
                f"{min(items, wide)} components - lower it"
            )
        pca = PCA(width, svd_solver="full").fit(text_VE)
        scale_W1 = 1 / np.sqrt(width * pca.explained_variance_[:, None] + 1e-6)
        self.text_whitening_WE.copy_(torch.from_numpy(pca.components_ * scale_W1))
        self.text_mean_E.copy_(torch.from_numpy(pca.mean_))

    def streams(self, item_BL: Tensor, rating_BL: Tensor) -> list[Tensor]:
        """The streams in use, each (B, L, d), after dropout and LayerNorm."""
        embedded = self.embedded(item_BL, rating_BL)
        norms = cast("Iterable[nn.LayerNorm]", self.item_emb_LayerNorms)
        return [
            residual_norm(norm, self.dropout_prob, None, x_BLd) for x_BLd, norm in zip(embedded, norms, strict=True)
        ]

    def embedded(self, item_BL: Tensor, rating_BL: Tensor, before: Before | None = None) -> list[Tensor]:
        """The same before dropout and LayerNorm; before: of events earlier in the rows."""
        embedders = {
            "semantic": lambda: self._semantic(item_BL),
            "collaborative": lambda: self.collaborative_emb(item_BL),
            "rating": lambda: self._rating(rating_BL, before),
        }
        return [embedders[name]() for name in self.stream_names]

    def projected_texts(self) -> Tensor:
        """(V, d): every item's text embedding as the semantic stream takes it."""
        return self._adapted(self.item_text_VE) if self._text_Vd is None else self._text_Vd

    @contextmanager
    def texts_projected_once(self) -> Iterator[None]:
        """Inside the block all texts are projected once, for the semantic stream and a tied table alike."""
        self._text_Vd = self._adapted(self.item_text_VE)
        try:
            yield
        finally:
            self._text_Vd = None

    def _adapted(self, text_E: Tensor) -> Tensor:
        """Text embeddings (..., E) through whitening, if any, and adapter: one product either way."""
        if not hasattr(self, "text_whitening_WE"):
            return self.adapter(text_E)
        weight_dE = self.adapter.weight @ self.text_whitening_WE
        return nn.functional.linear(text_E, weight_dE, self.adapter.bias - weight_dE @ self.text_mean_E)

    def _semantic(self, item_BL: Tensor) -> Tensor:
        if self._text_Vd is None and item_BL.numel() < self.items:
            return self._adapted(self.item_text_VE[item_BL])
        return nn.functional.embedding(item_BL, self.projected_texts())  # each item is projected once

    def _rating(self, rating_BL: Tensor, before: Before | None) -> Tensor:
        known_BLd, missing_BL1 = self.rating_emb(rating_BL, before), torch.isnan(rating_BL)[..., None]
        return torch.where(missing_BL1, self.no_rating_emb.to(known_BLd.dtype), known_BLd)

    def encode(self, stream_BLd: list[Tensor], wanted_P: Tensor) -> list[Tensor]:
        """The streams (P, d) after every layer, at the positions with the numbers wanted_P, counted over B·L.

        Each layer is aggregation across streams, then Mamba along time.
        """
        mamba_layers = cast("Sequence[Sequence[MambaLayer]]", self.mamba_layers)
        agg_layers = cast("Sequence[Sequence[StreamFusion]]", self.agg_layers)
        layers = len(mamba_layers[0])
        for layer in range(layers):
            if len(agg_layers):
                stream_BLd = fuse_streams([stream[layer] for stream in agg_layers], stream_BLd)
            read_P = wanted_P if layer == layers - 1 else None  # before the last layer the scan reads every position
            stream_BLd = [stream[layer](x_BLd, read_P) for stream, x_BLd in zip(mamba_layers, stream_BLd, strict=True)]
        return stream_BLd

    def forward(self, item_BL: Tensor, rating_BL: Tensor, wanted_P: Tensor) -> Tensor:
        """User vectors (P, D) at the positions with the numbers wanted_P, counted over B·L."""
        stream_Pd = self.encode(self.streams(item_BL, rating_BL), wanted_P)
        return self.users_of(stream_Pd, None if self.text_match is None else self.text_match.users(item_BL, wanted_P))

    def users_of(self, stream_Pd: list[Tensor], match_PR: Tensor | None) -> Tensor:
        """User vectors (P, D) from the streams after every layer and, where texts are matched, what TextMatch says."""
        user_PD = torch.cat(stream_Pd, dim=-1)
        user_PD = self.user_map(user_PD) if hasattr(self, "user_map") else user_PD
        return user_PD if match_PR is None else torch.cat([user_PD, match_PR.to(user_PD.dtype)], dim=-1)

    def item_vectors(self) -> Tensor:
        """(V, D): the free table, or with a tied one what the streams take items for; then the texts to be matched."""
        found = {
            "free": lambda: self.item_decoder.weight,
            "semantic": self.projected_texts,
            "collaborative": lambda: self.collaborative_emb.weight,
            "match": lambda: cast("TextMatch", self.text_match).item_VR,
        }
        return self._joined([found[part]() for part in self._parts_of_items])

    @property
    def _parts_of_items(self) -> list[str]:
        """What an item's vector is joined of, in this order."""
        return [*(self.tied_streams if self.tied else ["free"]), *(["match"] if self.text_match is not None else [])]

    @staticmethod
    def _joined(parts: list[Tensor]) -> Tensor:
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def item_rows(self, item_U: Tensor) -> Tensor:
        """(U, D): the same of some items; only their texts are projected."""
        found = {
            "free": lambda: rows_of(self.item_decoder, item_U),
            "semantic": lambda: self._adapted(self.item_text_VE[item_U]),
            "collaborative": lambda: rows_of(self.collaborative_emb, item_U),
            "match": lambda: cast("TextMatch", self.text_match).item_VR[item_U],
        }
        return self._joined([found[part]() for part in self._parts_of_items])
