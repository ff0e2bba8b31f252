"""SEAR in RecBole: the network of sear.model.network behind RecBole's interface.

B batch, L history length, D width of a user vector, V items incl. padding id 0, P positions.
"""

from torch import Tensor

from sear.data.dataset import require_sear_dataset
from sear.model.network import SEARNetwork
from sear.model.next_item import CausalLoss
from sear.model.rating_encoding import rating_encoder


class SEAR(CausalLoss, SEARNetwork):
    """Next-item scores from item ids, frozen text embeddings and ratings.

    Training and prediction share one path: streams -> encode -> scores.

    Raises:
        InputError: the dataset is not a SEARDataset, its catalogue is too small for the PCA start, or it has too many
            different ratings for a vector each.
    """

    text_in_vectors = True

    def __init__(self, config, dataset):
        require_sear_dataset(dataset, "SEAR")
        super().__init__(config, dataset)
        rating_field = config["RATING_FIELD"]
        self.RATING_SEQ = rating_field + config["LIST_SUFFIX"]
        reads_texts = "semantic" in config["streams"] or config["text_init"]
        text_VE = dataset.item_text_embedding() if reads_texts else None
        encoding, hidden = config["rating_encoding"], config["hidden_size"]
        self.build(config, self.n_items, text_VE, lambda: rating_encoder(encoding, hidden, dataset, rating_field))

    def users_at(self, interaction, position_P: Tensor) -> Tensor:
        """(P, D): the users after the events with the numbers position_P, counted over B·L."""
        return self.forward(interaction[self.ITEM_SEQ], interaction[self.RATING_SEQ], position_P)

    def users_and_items(self, interaction, position_P: Tensor) -> tuple[Tensor, Tensor]:
        """(P, D) and (V, D) of a training step; with a tied table the texts are projected once for both."""
        if not (self.tied and "semantic" in self.tied_streams):
            return super().users_and_items(interaction, position_P)
        with self.texts_projected_once():
            return super().users_and_items(interaction, position_P)
