"""Settings that no machine has the memory for, found before work starts: what they take at the least, in bytes.

What follows from the data alone is not counted, and of a model only what it is sure to hold.
"""

from sear.memory import in_words, machine_memory
from sear.settings.gather import Settings

WEIGHT, WITH_MOMENTS = 8, 16  # bytes: float32 and its gradient; what Adam keeps of it besides
LAYER = 10_000  # bytes of Python's own objects
WITH_POSITIONS = ("SASRec", "eSASRec", "BERT4Rec", "BSARec")  # a vector for every place in a row
FEW_TARGETS = 1000  # of a training batch; all but toy data have more
MODEL_KEYS = (
    "hidden_size", "num_layers", "n_layers", "d_state", "d_conv", "expand", "inner_size", "inner_factor",
    "embedding_size", "MAX_ITEM_LIST_LENGTH",
)  # fmt: skip


def check_memory(settings: Settings) -> None:
    """Raises InputError where the sizes take more than the machine has: key, what they take, what there is."""
    has = machine_memory()
    for thing, takes, keys in (
        ("the table of metrics", _metrics, ("topk",)),
        ("a batch of targets", _labels, ("soft_label_length",)),
        ("the model", _model, MODEL_KEYS),
    ):
        if (size := takes(settings)) > has:
            key = max(keys, key=lambda key: _beyond_default(settings, key))
            told = f"with which {thing} takes {in_words(size)} of memory or more, and this machine has {in_words(has)}"
            raise settings.fault(key, told, "lower it")


def _size(settings: Settings, key: str) -> int:
    """The largest number that a key holds; 0 for a key that the model has not, or that holds no whole number."""
    value = settings.get(key)
    return max((part for part in (value if isinstance(value, list) else [value]) if type(part) is int), default=0)


def _metrics(settings: Settings) -> int:
    """A table of the values at every cut-off by every rank up to the last cut-off."""
    return 17 * _size(settings, "topk") ** 2


def _labels(settings: Settings) -> int:
    return 8 * _size(settings, "soft_label_length") * min(_size(settings, "train_batch_size"), FEW_TARGETS)


def _model(settings: Settings) -> int:
    hidden, layers, expand, d_conv, d_state, heads, inner_size, inner_factor, embedding, length = (
        _size(settings, key)
        for key in (
            "hidden_size", "num_layers", "expand", "d_conv", "d_state", "n_heads", "inner_size", "inner_factor",
            "embedding_size", "MAX_ITEM_LIST_LENGTH",
        )
    )  # fmt: skip
    layers = layers or _size(settings, "n_layers")
    if settings.family in ("SEAR", "Mamba4Rec"):
        layers *= len(settings.get("streams")) if settings.family == "SEAR" else 1
        weights = layers * expand * hidden * (3 * hidden + d_conv + 3 * d_state)
    else:
        square = 4 if heads else 1  # attention's four maps, or a step from state to state
        weights = layers * hidden * (square * hidden + 2 * (inner_size or hidden * inner_factor)) + hidden * embedding
    if settings.family in WITH_POSITIONS:
        weights += length * hidden
    moments = str(settings.get("learner")).startswith("adam")
    return (WITH_MOMENTS if moments else WEIGHT) * weights + LAYER * layers


def _beyond_default(settings: Settings, key: str) -> float:
    """How many times its default a size is; the number itself where it has none."""
    if key not in settings.rules:
        return 0
    default = settings.rules[key].default
    default = max(default) if isinstance(default, list) else default
    return _size(settings, key) / (default or 1)
