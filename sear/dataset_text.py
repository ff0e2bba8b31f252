"""What a SEARDataset knows of its items' texts: where they lie, as sentences, and as embeddings."""

from functools import cached_property
from pathlib import Path

import numpy as np

from sear.atomic_table import read_atomic, read_header
from sear.errors import InputError
from sear.settings import PROJECT_ROOT


class DatasetText:
    """The half of SEARDataset that reads `.item`; nothing is read before it is asked for."""

    _embedding: np.ndarray | None = None

    @property
    def item_path(self) -> Path:
        return Path(self.dataset_path) / f"{self.dataset_name}.item"

    @property
    def text_directory(self) -> Path:
        """Where text embeddings are kept: beside the atomic files, but never inside the installed RecBole."""
        path = Path(self.dataset_path)
        if "dataset_example" in path.parts:  # RecBole's Config sends ml-100k into its own package
            return PROJECT_ROOT / "dataset" / self.dataset_name
        return path

    @property
    def text_fields(self) -> list[str]:
        """The columns of `.item` that are told of: those of load_col, or else all; none without the file."""
        if not self.item_path.is_file():
            return []
        listed = (self.config["load_col"] or {}).get("item") or read_header(self.item_path)
        return [field for field in listed if field != self.iid_field]

    @cached_property
    def item_sentences(self) -> list[str]:
        """One sentence per item id, row 0 included (the method's Text embedding)."""
        from sear.item_text import item_sentences

        if not self.item_path.is_file():  # texts of missing values; check_settings has told who needs the file
            return item_sentences(None, self.field2id_token[self.iid_field], self.iid_field, [])
        types = read_header(self.item_path)
        fields = self.text_fields
        if types.get(self.iid_field) not in (None, "token"):
            kind = types[self.iid_field]
            raise InputError(
                f"{self.item_path}, line 1: {self.iid_field} is of type {kind}, not token - mend the header"
            )
        table = read_atomic(self.item_path, [self.iid_field, *fields], exact=[self.iid_field])
        sentences = item_sentences(table, self.field2id_token[self.iid_field], self.iid_field, fields)
        if fields and set(sentences) == {sentences[0]}:  # row 0 tells of missing values only
            raise InputError(
                f"{self.item_path}: no item of the events has any text in {', '.join(fields)} - use the same ids in"
                " both files, or do without texts: streams: [collaborative, rating] and text_init: False"
            )
        return sentences

    def item_text_embedding(self) -> np.ndarray:
        """float32 (V, E): the frozen embeddings of the items' sentences, from the cache where there is one."""
        from sear.text_embedding import text_embedding

        if self._embedding is None:
            self._embedding = text_embedding(
                self.item_sentences,
                self.config["item_sem_embedding_model_path"],
                self.text_directory,
                self.dataset_name,
                device=str(self.config["device"]),
            )
        return self._embedding
