"""A sentence encoder of a few thousand random weights, its files laid out as all-mpnet-base-v2's are at the hub."""

import json
from pathlib import Path

WORDS = "here is what known about this item title kind year salt pepper thyme toy story golden eye n a".split()
SPECIAL = {"<s>": 0, "<pad>": 1, "</s>": 2, "[UNK]": 3, "<mask>": 4}
MODULES = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
POOLING = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")


def make_tiny_encoder(folder: Path, seed: int = 0, width: int = 16, pooling: str = "mean_tokens") -> Path:
    """An MPNet of one layer whose tokenizer knows WORDS and single letters."""
    (folder / "1_Pooling").mkdir(parents=True)
    words = [*WORDS, *map(chr, range(33, 127)), *("##" + chr(letter) for letter in range(33, 127))]
    vocabulary = SPECIAL | {word: len(SPECIAL) + row for row, word in enumerate(dict.fromkeys(words))}
    _write_tokenizer(folder, vocabulary)
    _write_weights(folder, seed, width, len(vocabulary))
    modules = [
        {"idx": idx, "name": str(idx), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for idx, (path, kind) in enumerate(MODULES.items())
    ]
    write_json(folder / "modules.json", modules)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 40, "do_lower_case": False})
    write_json(folder / "config_sentence_transformers.json", {"__version__": {"sentence_transformers": "2.0.0"}})
    modes = {f"pooling_mode_{mode}": mode == pooling for mode in POOLING}
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": width} | modes)
    (folder / "README.md").write_text("A tiny encoder.\n")
    return folder


def write_json(path: Path, content) -> None:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def _write_tokenizer(folder: Path, vocabulary: dict[str, int]) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    names = {"bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>"}
    names |= {"unk_token": "[UNK]", "pad_token": "<pad>", "mask_token": "<mask>"}
    settings = {"do_lower_case": True, "model_max_length": 64, "tokenizer_class": "MPNetTokenizer"}
    write_json(folder / "tokenizer_config.json", names | settings)


def _write_weights(folder: Path, seed: int, width: int, words: int) -> None:
    import torch
    from transformers import MPNetConfig, MPNetModel

    config = MPNetConfig(
        vocab_size=words,
        hidden_size=width,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=66,
        initializer_range=0.5,  # wide enough that sentences lie apart
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        MPNetModel(config).save_pretrained(folder)
