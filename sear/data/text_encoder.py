"""The sentence encoder: where it is, what it is, and running it (SEAR's method: Text embedding).

An encoder is known by the content of its files, not by where they lie: a folder may be moved, and other weights under
the same name are another encoder. The published all-mpnet-base-v2 is known even where its folder is empty, so
embeddings made with it are found without it. An encoder of the hub is known by its name and revision.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sear.errors import InputError
from sear.files import PROJECT_ROOT, file_sha256, known_digest

# name -> `folder_identity` of the files sentence-transformers/all-mpnet-base-v2 publishes
PUBLISHED = {"all-mpnet-base-v2": "05d6fb75955ac39957d4af6aa6eedc4c43dbee18fc80d81786f1b0ecfed50c6b"}
PUBLISHED_WEIGHTS = {"all-mpnet-base-v2": "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"}  # SHA-256
HUB_NAME = re.compile(r"(?P<name>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[\w./-]+))?")
WEIGHTS = {".safetensors", ".bin"}
SETTINGS = {".json", ".txt", ".model"}  # tokenizers too
NOT_OF_THE_MODEL = {"data_config.json"}  # what it was trained on
LFS_POINTER = b"version https://git-lfs"
ABOUT_ITS_MAKING = {"_name_or_path", "transformers_version", "__version__"}  # settings that change no vector


@dataclass(frozen=True)
class Encoder:
    """An encoder by the path a user gave.

    `identities` are those its embeddings may bear, the likeliest first; `folder` is None while it is at the hub.
    """

    path: str
    identities: tuple[str, ...]
    folder: Path | None
    filled: bool = False
    hub_name: str | None = None
    revision: str | None = None


def find_encoder(model_path: str) -> Encoder:
    """The encoder at a folder (relative: counted from the project's root) or of a hub name, `owner/model[@revision]`.

    An empty or absent folder cannot encode, but the published encoder's has an identity all the same. No download.

    Raises:
        InputError: the folder holds part of an encoder, or is a file.
    """
    folder = PROJECT_ROOT / Path(model_path).expanduser()
    if folder.is_file():
        remedy = "name the folder of one, or see docs/recipes.md on vectors of your own"
        raise InputError(f"item_sem_embedding_model_path: {folder} is a file, no sentence encoder - {remedy}")
    if folder.is_dir() and any(file.suffix in WEIGHTS or file.name == "modules.json" for file in folder.iterdir()):
        return Encoder(model_path, (folder_identity(folder),), folder, filled=True)
    hub = HUB_NAME.fullmatch(model_path)
    if hub and not folder.exists():
        owner, name = hub["name"].split("/")
        published = owner == "sentence-transformers" and name in PUBLISHED and not hub["revision"]
        identities = (PUBLISHED[name], f"hub:{model_path}") if published else (f"hub:{model_path}",)
        return Encoder(model_path, identities, None, hub_name=hub["name"], revision=hub["revision"])
    return Encoder(model_path, (PUBLISHED[folder.name],) if folder.name in PUBLISHED else (), folder)


def folder_identity(folder: Path) -> str:
    """SHA-256 over the files that decide an encoder's vectors: weights, settings, tokenizer, pooling."""
    modules = folder / "modules.json"
    if not modules.is_file():
        remedy = "save it as a sentence-transformers folder (all-mpnet-base-v2/README.md says how)"
        raise InputError(f"{folder}: no pooling known, for there is no modules.json - {remedy}")
    digest = hashlib.sha256()
    for file in _deciding_files(folder, _module_folders(modules)):
        digest.update(f"{file.relative_to(folder).as_posix()}\0{_file_digest(file)}\n".encode())
    return digest.hexdigest()


def encoder_checksums(model_path: str) -> dict[str, str | None]:
    """What tells an encoder apart: `path` as it was given, SHA-256 of its `weights`, and of all `files` that decide its
    vectors; None where its files are not here.
    """
    encoder = find_encoder(model_path)
    name = Path(model_path).name
    weights = PUBLISHED_WEIGHTS.get(name) if PUBLISHED.get(name) in encoder.identities else None
    if encoder.filled and encoder.folder:
        own = [
            file
            for file in _deciding_files(encoder.folder, _module_folders(encoder.folder / "modules.json"))
            if file.suffix in WEIGHTS
        ]
        digests = [_file_digest(file) for file in own]
        weights = digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
    files = next((known for known in encoder.identities if not known.startswith("hub:")), None)
    return {"path": model_path, "weights": weights, "files": files}


def _module_folders(modules: Path) -> list[Path]:
    try:
        return [modules.parent / module["path"] for module in json.loads(modules.read_bytes()) if module["path"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InputError(f"{modules} is not a list of modules with their paths - fill the folder anew") from None


def _deciding_files(folder: Path, module_folders: list[Path]) -> list[Path]:
    files = {file for part in module_folders for file in part.rglob("*")} | set(folder.iterdir())
    kept = {
        file
        for file in files
        if file.is_file()
        and file.suffix in SETTINGS | WEIGHTS
        and file.name not in NOT_OF_THE_MODEL
        and not file.name.lower().startswith((".", "readme", "license"))
    }
    safe = {file.parent for file in kept if file.suffix == ".safetensors"}
    kept -= {file for file in kept if file.suffix == ".bin" and file.parent in safe}  # the same weights once more
    return sorted(kept, key=lambda file: file.relative_to(folder).as_posix())


def _file_digest(file: Path) -> str:
    return known_digest(_digest_of, file)  # a grid asks again and again


def _digest_of(file: Path) -> str:
    if file.suffix == ".json":
        return hashlib.sha256(_settings_only(file.read_bytes())).hexdigest()
    with open(file, "rb") as stream:
        if stream.read(len(LFS_POINTER)) == LFS_POINTER:
            raise InputError(f"{file} is a Git LFS pointer, not the file itself - run git lfs pull in its folder")
    return file_sha256(file)


def _settings_only(content: bytes) -> bytes:
    """JSON without layout and without notes on who wrote it with which version."""
    try:
        settings = json.loads(content)
    except (ValueError, RecursionError):
        return content  # loading it will say what is wrong
    if isinstance(settings, dict):
        settings = {key: value for key, value in settings.items() if key not in ABOUT_ITS_MAKING}
    return json.dumps(settings, sort_keys=True).encode()


def download(encoder: Encoder) -> Encoder:
    """The encoder with its files here: a folder as it is, the hub's from the hub's local cache or the network."""
    if encoder.folder:
        return encoder
    import huggingface_hub

    assert encoder.hub_name, "an encoder is of a folder or of the hub"
    try:
        for weights in ("*.safetensors", "*.bin"):  # an older model has its weights only in pickled form
            wanted = [weights, *(f"*{suffix}" for suffix in SETTINGS)]
            folder = huggingface_hub.snapshot_download(
                encoder.hub_name, revision=encoder.revision, allow_patterns=wanted
            )
            if any(Path(folder).glob(weights)):
                break
    except Exception as error:  # network, name, licence: the hub's errors have no common type
        raise InputError(
            f"{encoder.path} is no folder, and the hub does not give it ({_first_line(error)})"
            " - mend item_sem_embedding_model_path, or fetch the files elsewhere into a folder"
        ) from error
    own = folder_identity(Path(folder))
    identity = own if own in encoder.identities else encoder.identities[-1]
    return Encoder(encoder.path, (identity,), Path(folder), filled=True)


def encode(
    encoder: Encoder, sentences: list[str], batch_tokens: int | None, device: str | None = None, model=None
) -> np.ndarray:
    """float32 (sentences, E): what the encoder's own pipeline makes of each, pooling and normalisation included.

    model: the encoder as `load_encoder` gave it, where it is there already.

    Sentences with alike numbers of tokens share a batch of about `batch_tokens`, so little of a batch is padding.
    The longest come first: memory that does not suffice shows at once.
    """
    model = model or load_encoder(encoder, device)
    if batch_tokens is None:
        # a CPU's cache holds no more (4096 took a tenth longer on one core); a GPU wants to be filled
        batch_tokens = 512 if model.device.type == "cpu" else 16384
    lengths = np.concatenate([_token_counts(model, sentences[i : i + 1024]) for i in range(0, len(sentences), 1024)])
    order = np.argsort(-lengths, kind="stable")
    vectors_UE: np.ndarray | None = None
    with tqdm(total=len(sentences), desc="encode item texts", unit="text", disable=None) as bar:  # on a terminal only
        for rows in token_batches(order, lengths, batch_tokens):
            batch_BE = model.encode([sentences[row] for row in rows], batch_size=len(rows), show_progress_bar=False)
            if vectors_UE is None:
                vectors_UE = np.empty((len(sentences), batch_BE.shape[1]), dtype=np.float32)
            vectors_UE[rows] = batch_BE
            bar.update(len(rows))
    assert vectors_UE is not None, "there is no sentence"
    if not np.isfinite(vectors_UE).all():
        raise InputError(f"{encoder.folder} gives vectors that are not finite - its weights are damaged, fill it anew")
    return vectors_UE


def token_batches(order: np.ndarray, lengths: np.ndarray, batch_tokens: int) -> list[np.ndarray]:
    """`order` cut in pieces of at most `batch_tokens` tokens, padding included; a longer sentence stands alone."""
    pieces, start = [], 0
    while start < len(order):
        count = max(1, batch_tokens // int(lengths[order[start]]))  # the first of a piece is its longest
        pieces.append(order[start : start + count])
        start += count
    return pieces


def load_encoder(encoder: Encoder, device: str | None):
    """The encoder as a SentenceTransformer. Raises InputError where its folder is not whole."""
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()  # one bar is enough
    try:
        model = SentenceTransformer(str(encoder.folder), device=device, local_files_only=True)
        model.encode(["probe"], show_progress_bar=False)  # without tokenizer files it loads, but encodes nothing
        return model
    except Exception as error:  # each module, tokenizer and weights file fails in its own way
        raise InputError(f"{encoder.folder} is not a whole encoder ({_first_line(error)}) - fill it anew") from error


def _token_counts(model, sentences: list[str]) -> np.ndarray:
    features = model.preprocess(sentences)
    if "attention_mask" not in features:  # word-vector models do not pad
        return np.array([max(1, len(sentence.split())) for sentence in sentences])
    return features["attention_mask"].sum(dim=1).numpy()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
