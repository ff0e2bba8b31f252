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
from collections.abc import Sequence, Set
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sear.data.text_encoder import Encoder, download, encode, find_encoder
from sear.errors import InputError
from sear.files import clear_asides, shown, write_aside

logger = logging.getLogger("sear")
FORMAT = "SEAR text embedding 1"
KEY_BYTES = 16  # of a sentence's SHA-256
SHIPPED = ("ml-100k-138af42654bb4f7c.safetensors",)  # part of SEAR: never removed
WANTED = '--include "*.json" --include "*.txt" --include model.safetensors'
FETCH = f"hf download sentence-transformers/all-mpnet-base-v2 {WANTED}"
REMEDY = "delete the file; the next run encodes the texts again"
Vectors = dict[bytes, np.ndarray]  # a sentence's key -> its vector


def sentence_vectors(
    sentences: Sequence[str],
    model_path: str,
    cache_directory: Path | str,
    dataset_name: str,
    batch_tokens: int | None = None,
    device: str | None = None,
    ready_in: Path | None = None,
) -> np.ndarray:
    """float32 (V, E): the sentences' vectors, in their order, from the cache as far as they are in it.

    Sentences that are new are encoded, they alone; the file that then holds all takes the place of those it came from.

    Args:
        sentences: [0] = padding's.
        model_path: a sentence-transformers folder (relative: counted from the project's root) or a hub name.
        cache_directory: where `<dataset_name>-<hash>.safetensors` is looked for and written.
        batch_tokens: tokens encoded at a time, padding included; None: what suits the device.
        device: the encoder's; None leaves the choice to sentence-transformers.
        ready_in: a second folder to look in, which is not written to.

    Raises:
        InputError: a cache file is damaged or not ours, or there is neither a cache nor an encoder.
    """
    text_of = {_sentence_key(sentence): sentence for sentence in sentences}
    keys, folder = [_sentence_key(sentence) for sentence in sentences], Path(cache_directory)
    places = list(dict.fromkeys((folder, ready_in or folder)))
    encoder = find_encoder(str(model_path))
    known: Vectors = {}
    for identity in encoder.identities:
        known = _known(_read_caches(set(keys), identity, places, dataset_name))
        if text_of.keys() <= known.keys():
            return np.stack([known[key] for key in keys])
    if not (encoder.filled or encoder.hub_name):
        raise InputError(_missing(encoder, folder, text_of.keys() - known.keys(), keys[0]))
    encoder = download(encoder)
    caches = _read_caches(set(keys), encoder.identities[0], places, dataset_name)
    known = _known(caches)
    new = {key: text_of[key] for key in sorted(text_of.keys() - known.keys())}
    unused = known.keys() - text_of.keys()
    kept = sorted(text_of.keys() | (unused if len(unused) <= len(text_of) else set()))  # else most are of no use
    path = cache_path(folder, dataset_name, encoder.identities[0], kept)
    try:
        clear_asides(folder)  # a killed run's own file may have had another name
        with write_aside(path) as aside:
            aside.touch()  # a folder that cannot be written to shows before the work, not after
            logger.info(f"encoding {len(new):,} {'new' if known else 'different'} item texts with {encoder.path}")
            known |= dict(zip(new, encode(encoder, list(new.values()), batch_tokens, device), strict=True))
            _write(aside, encoder.identities[0], kept, np.stack([known[key] for key in kept]))
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be written ({error}) - mend the folder's permissions or free space") from error
    _clear([old for old, _ in caches if old != path and old.parent == folder], path)
    return np.stack([known[key] for key in keys])


def _known(caches: Sequence[tuple[Path, Vectors]]) -> Vectors:
    return {key: vector for _, vectors in reversed(caches) for key, vector in vectors.items()}


def _clear(old: Sequence[Path], new: Path) -> None:
    """Remove the caches that a new file was made of; one that is shipped with SEAR stays."""
    for path in old:
        if path.name not in SHIPPED:
            path.unlink(missing_ok=True)  # another process may have been faster
            logger.info(f"removed {shown(path)}: what is still of use in it is in {new.name}")


def cache_path(cache_directory: Path | str, dataset_name: str, identity: str, keys: Sequence[bytes]) -> Path:
    """Where these sentences' vectors by this encoder are kept: the name follows from both."""
    name = hashlib.sha256(f"{FORMAT}\0{identity}\0{_sentences_hash(keys)}".encode()).hexdigest()[:16]
    return Path(cache_directory) / f"{dataset_name}-{name}.safetensors"


def _sentence_key(sentence: str) -> bytes:
    return hashlib.sha256(sentence.encode()).digest()[:KEY_BYTES]


def _sentences_hash(keys: Sequence[bytes]) -> str:
    return hashlib.sha256(b"".join(sorted(set(keys)))).hexdigest()


def _missing(encoder: Encoder, cache_directory: Path, keys: Set[bytes], padding: bytes) -> str:
    too = ", padding's among them" if padding in keys else ""  # else the count would be one above that of the items
    return (
        f"{encoder.folder} has no encoder, and {cache_directory} no embeddings by it of these {len(keys)} texts{too}"
        " - fill it:"
        f" {FETCH} --local-dir {shlex.quote(str(encoder.folder))} (all-mpnet-base-v2/README.md says more),"
        " or name another: --item_sem_embedding_model_path=FOLDER"
    )


def _read_caches(
    keys: set[bytes], identity: str, folders: Sequence[Path], dataset_name: str
) -> list[tuple[Path, Vectors]]:
    """The files by this encoder that hold some of the sentences, each with its vectors by sentence: the one named
    after these very sentences first.
    """
    pattern = re.compile(re.escape(dataset_name) + r"-[0-9a-f]{16}\.safetensors")
    found = []
    for folder in folders:
        named = cache_path(folder, dataset_name, identity, list(keys))
        present = (path for path in folder.glob("*.safetensors") if pattern.fullmatch(path.name))
        for path in sorted(present, key=lambda path: (path != named, path)):
            vectors = _read(path, dataset_name, identity, keys)
            if vectors:
                found.append((path, vectors))
                if keys <= vectors.keys():
                    return [found[-1]]
    return found


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


def _read(path: Path, dataset_name: str, identity: str, keys: set[bytes]) -> Vectors | None:
    """All vectors of one file by sentence; None where it is by another encoder, holds none of `keys`, or is gone."""
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
            if metadata["encoder"] != identity or keys.isdisjoint(unique_keys):
                return None
            vectors_UE = file.get_tensor("embedding")
    except (SafetensorError, OSError) as error:
        if not path.exists():  # another process has just put it into a newer one
            return None
        raise InputError(f"{path} cannot be read ({error}) - {REMEDY}") from None
    _verify(path, metadata, keys_UB, vectors_UE)
    return dict(zip(unique_keys, vectors_UE, strict=True))


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
