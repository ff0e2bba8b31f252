"""A run's readable examples: a dozen of its test cases in titles, with the model's first five."""

import numpy as np
import torch

from sear.atomic_table import read_atomic, read_header
from sear.report.examples import TOP_SHOWN, example_cases, examples


def item_titles(dataset) -> list[str]:
    """(V,) by item id: the first text field of `load_col.item`, or the item's own id where there is none."""
    tokens = dataset.field2id_token[dataset.iid_field]
    columns = dataset.config["load_col"] or {}
    if not dataset.item_path.is_file() or (columns and not columns.get("item")):
        return list(tokens)
    types = read_header(dataset.item_path)
    texts = [name for name in columns.get("item") or types if types.get(name, "").startswith("token")]
    fields = [name for name in texts if name != dataset.iid_field]
    if not fields:
        return list(tokens)
    table = read_atomic(dataset.item_path, [dataset.iid_field, fields[0]], exact=[dataset.iid_field])
    table = table.drop_duplicates(dataset.iid_field)  # the first counts, as in the sentences
    title = dict(zip(table[dataset.iid_field], table[fields[0]], strict=True))
    return [title.get(token) or token for token in tokens]


@torch.no_grad()
def run_examples(model, test_data, ranks: np.ndarray, titles: list[str]) -> list[dict]:
    """What examples.json holds (sear/report/examples.py); the cases are the same for every model on a data set."""
    part = test_data._dataset
    chosen = example_cases(len(part))
    interaction = test_data.collate_fn(chosen)[0].to(model.device)
    scores_CV = model.full_sort_predict(interaction).reshape(len(chosen), -1).clone()
    scores_CV[:, 0] = -torch.inf
    top_CV = scores_CV.sort(dim=1, descending=True, stable=True).indices  # the lower id first, as in ranks
    item_H, first_C, end_C = part.full_history(chosen)
    events = [slice(first, end) for first, end in zip(first_C.tolist(), end_C.tolist(), strict=True)]
    return examples(
        users=part.field2id_token[part.uid_field][part.rows.user[chosen] + 1],
        histories=[item_H[event].tolist() for event in events],
        ratings=[part.inter_feat[part.rating_field][event].tolist() for event in events],
        targets=item_H[end_C].tolist(),
        ranks=ranks[chosen],
        tops=top_CV[:, :TOP_SHOWN].tolist(),
        titles=titles,
    )
