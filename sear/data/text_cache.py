"""Sentences as vectors, encoded once and kept beside the atomic files (SEAR's method: Text embedding).

A cache file holds each different sentence's vector under the sentence's hash. So it serves any order and any part of
its sentences: filters and k-cores change which items there are, not what they are.
"""

import hashlib
import json
import logging
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sear.data.text_encoder import Encoder, download, encode, find_encoder
from sear.errors import InputError
from sear.files import write_aside

logger = logging.getLogger("sear")
FORMAT = "SEAR text embedding 1"
KEY_BYTES = 16  # of a sentence's SHA-256
WANTED = '--include "*.json" --include "*.txt" --include model.safetensors'
FETCH = f"hf download sentence-transformers/all-mpnet-base-v2 {WANTED}"
REMEDY = "delete the file; the next run encodes the texts again"


def sentence_vectors(
    sentences: Sequence[str],
    model_path: str,
    cache_directory: Path | str,
    dataset_name: str,
    batch_tokens: int | None = None,
    device: str | None = None,
    ready_in: Path | None = None,
) -> np.ndarray:
    """float32 (V, E): the sentences' vectors, in their order, from the cache where there is one.

    Args:
        model_path: a sentence-transformers folder (relative: counted from the project's root) or a hub name.
        cache_directory: where `<dataset_name>-<hash>.safetensors` is looked for and written.
        batch_tokens: tokens encoded at a time, padding included; None: what suits the device.
        device: the encoder's; None leaves the choice to sentence-transformers.
        ready_in: a second folder to look in, which is not written to.

    Raises:
        InputError: a cache file is damaged or not ours, or there is neither a cache nor an encoder.
    """
    keys = [_sentence_key(sentence) for sentence in sentences]
    encoder = find_encoder(str(model_path))
    for folder in dict.fromkeys((Path(cache_directory), ready_in or Path(cache_directory))):
        vectors = _from_caches(keys, encoder, folder, dataset_name)
        if vectors is not None:
            return vectors
    if not (encoder.filled or encoder.hub_name):
        raise InputError(_missing(encoder, Path(cache_directory), len(set(keys))))
    encoder = download(encoder)
    by_key = dict(sorted(zip(keys, sentences, strict=True)))
    path = cache_path(cache_directory, dataset_name, encoder.identities[0], list(by_key))
    try:
        with write_aside(path) as aside:
            aside.touch()  # a folder that cannot be written to shows before the work, not after
            logger.info(f"encoding {len(by_key):,} different item texts with {encoder.path}")
            vectors_UE = encode(encoder, list(by_key.values()), batch_tokens, device)
            _write(aside, encoder.identities[0], list(by_key), vectors_UE)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be written ({error}) - mend the folder's permissions or free space") from error
    return _rows(vectors_UE, list(by_key), keys)


def cache_path(cache_directory: Path | str, dataset_name: str, identity: str, keys: Sequence[bytes]) -> Path:
    """Where these sentences' vectors by this encoder are kept: the name follows from both."""
    name = hashlib.sha256(f"{FORMAT}\0{identity}\0{_sentences_hash(keys)}".encode()).hexdigest()[:16]
    return Path(cache_directory) / f"{dataset_name}-{name}.safetensors"


def _sentence_key(sentence: str) -> bytes:
    return hashlib.sha256(sentence.encode()).digest()[:KEY_BYTES]


def _sentences_hash(keys: Sequence[bytes]) -> str:
    return hashlib.sha256(b"".join(sorted(set(keys)))).hexdigest()


def _rows(vectors_UE: np.ndarray, unique_keys: Sequence[bytes], keys: Sequence[bytes]) -> np.ndarray:
    row_of = {key: row for row, key in enumerate(unique_keys)}
    return vectors_UE[[row_of[key] for key in keys]]


def _missing(encoder: Encoder, cache_directory: Path, count: int) -> str:
    return (
        f"{encoder.folder} has no encoder, and {cache_directory} no embeddings by it of these {count} texts - fill it:"
        f" {FETCH} --local-dir {shlex.quote(str(encoder.folder))} (all-mpnet-base-v2/README.md says more),"
        " or name another: --item_sem_embedding_model_path=FOLDER"
    )


def _from_caches(keys: list[bytes], encoder: Encoder, directory: Path, dataset_name: str) -> np.ndarray | None:
    """The vectors from the file named after these very sentences, else from one that holds them among others."""
    pattern = re.compile(re.escape(dataset_name) + r"-[0-9a-f]{16}\.safetensors")
    present = sorted(path for path in directory.glob("*.safetensors") if pattern.fullmatch(path.name))
    for identity in encoder.identities:
        named = cache_path(directory, dataset_name, identity, keys)
        for path in sorted(present, key=lambda path: path != named):
            vectors = _read(path, dataset_name, identity, keys)
            if vectors is not None:
                return vectors
    return None


def _write(path: Path, identity: str, unique_keys: list[bytes], vectors_UE: np.ndarray) -> None:
    keys_UB = np.frombuffer(b"".join(unique_keys), dtype=np.uint8).reshape(-1, KEY_BYTES)
    metadata = {
        "format": FORMAT,
        "encoder": identity,
        "sentences": _sentences_hash(unique_keys),
        "shape": json.dumps(vectors_UE.shape),
        "content": _content_hash(keys_UB, vectors_UE),
    }
    mode = path.stat().st_mode
    save_file({"sentence": keys_UB, "embedding": vectors_UE}, path, metadata)
    os.chmod(path, mode)  # safetensors lets nobody else read its files


def _content_hash(keys_UB: np.ndarray, vectors_UE: np.ndarray) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(keys_UB).data)
    digest.update(np.ascontiguousarray(vectors_UE).data)
    return digest.hexdigest()


def _read(path: Path, dataset_name: str, identity: str, keys: list[bytes]) -> np.ndarray | None:
    """The vectors of `keys` from one file; None where it is by another encoder or lacks one of them."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise InputError(f"{path} is not a file of text embeddings ({FORMAT!r}) - move it elsewhere")
            if set(file.keys()) != {"sentence", "embedding"}:
                raise InputError(f"{path} does not hold the tensors sentence and embedding - {REMEDY}")
            keys_UB = file.get_tensor("sentence")
            unique_keys = [key.tobytes() for key in keys_UB]
            if path != cache_path(path.parent, dataset_name, metadata.get("encoder", ""), unique_keys):
                raise InputError(f"{path} was made for other texts or by another encoder than its name says - {REMEDY}")
            if metadata["encoder"] != identity or not set(keys) <= set(unique_keys):
                return None
            vectors_UE = file.get_tensor("embedding")
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}) - {REMEDY}") from None
    _verify(path, metadata, keys_UB, vectors_UE)
    return _rows(vectors_UE, unique_keys, keys)


def _verify(path: Path, metadata: dict[str, str], keys_UB: np.ndarray, vectors_UE: np.ndarray) -> None:
    if vectors_UE.dtype != np.float32 or vectors_UE.ndim != 2 or len(vectors_UE) != len(keys_UB):
        shape = f"{vectors_UE.dtype} {vectors_UE.shape}"
        raise InputError(f"{path} holds {shape}, not one float32 vector for each of {len(keys_UB)} texts - {REMEDY}")
    if metadata.get("shape") != json.dumps(vectors_UE.shape):
        raise InputError(f"{path} holds {vectors_UE.shape}, its metadata says {metadata.get('shape')} - {REMEDY}")
    if not np.isfinite(vectors_UE).all():
        raise InputError(f"{path} holds vectors that are not finite - {REMEDY}")
    if metadata.get("content") != _content_hash(keys_UB, vectors_UE):
        raise InputError(f"{path} is damaged: its content does not match its checksum - {REMEDY}")
