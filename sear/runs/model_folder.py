"""A trained model as a folder that needs nothing else: written by every finished run of SEAR, read by sear.recommend.

model.json            what the model is: names, settings, metrics, versions, the digest of every other file and its own
weights.safetensors   the network's weights, and the texts as the semantic stream takes them and as they are matched
items.json            ids, titles and training counts, by item number from 1
texts.safetensors     the items' text embeddings, where the model has any; read when they are asked for
users.json            ids of the users, in the order of their histories
histories.safetensors their events as item numbers, with ratings; a folder without users has neither of the two

Every file is checked against its digest when it is read. Nothing is pickled, and no path of this machine is written.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from safetensors.torch import load, save
from torch import Tensor

from sear.errors import InputError
from sear.files import HOST, clear_asides, exchanged, pointed_at, require_file, write_aside, write_text

FORMAT = "sear-model-1"
MANIFEST = "model.json"
IN_RUN = "model"  # the folder's name inside a run folder
PROJECTED = "projected_text"  # beside the weights: (V, d)
PRIOR = "transition_prior."  # before the names of the counted transitions among the weights
TEXT_MATCH = "text_match."  # beside the weights, before the names of TextMatch's tensors
REMEDY = "restore it, or export the model again"
REQUIRED = ("model", "dataset", "settings", "texts", "columns", "files", "digest")


@dataclass
class UserHistories:
    """Events of many users, flat: user u's are item[offsets[u]:offsets[u + 1]], in time order.

    Attributes:
        user_ids: (users,), the data set's own.
        offsets: int64 (users + 1,).
        item: int32 (events,), item numbers from 1.
        rating: float32 (events,), NaN = none.
    """

    user_ids: list[str]
    offsets: np.ndarray
    item: np.ndarray
    rating: np.ndarray


@dataclass
class TrainedModel:
    """What a model folder holds; V items incl. padding id 0.

    Attributes:
        about: what model.json tells of the model, besides `settings`.
        settings: the keys of SEAR.yaml that the network is built by.
        weights: the network's state dict, on the CPU, and the tensors of its TextMatch where it has one.
        projected_text: (V, d), the texts as the semantic stream takes them; None without that stream.
        item_ids: (V - 1,), the data set's own ids, item number 1 first.
        titles: (V - 1,), None where an item has none.
        training_counts: int64 (V - 1,), how often each occurs among the training events.
        texts: gives float32 (V, E), the frozen text embeddings, or None where the model has none.
        users: None where they were left out.
    """

    about: dict[str, Any]
    settings: dict[str, Any]
    weights: dict[str, Tensor]
    projected_text: Tensor | None
    item_ids: list[str]
    titles: list[str | None]
    training_counts: np.ndarray
    texts: Callable[[], np.ndarray | None] = field(repr=False)
    users: UserHistories | None = None

    @cached_property
    def text_VE(self) -> np.ndarray | None:
        return self.texts()


def write_model(folder: Path, model: TrainedModel) -> None:
    """Write a model folder aside, then put it in its place; a model folder that is there already is replaced.

    Whoever looks finds the old one or the new one, except that on other systems than Linux there is none for a moment.

    Raises:
        InputError: something else lies there.
    """
    folder = Path(os.path.realpath(folder))  # a link goes on naming what it names
    if folder.exists() and not (folder.is_dir() and (is_model(folder) or not any(folder.iterdir()))):
        raise InputError(f"{folder} is there and holds no model of SEAR - name another folder, or remove it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside, old = (folder.with_name(f".{folder.name}.{HOST}-{os.getpid()}.{kind}") for kind in ("tmp", "old"))
    shutil.rmtree(aside, ignore_errors=True)  # of a killed process that had this one's number
    try:
        _write_files(aside, model)
        if not folder.exists():
            os.replace(aside, folder)
        elif not exchanged(aside, folder):
            os.replace(folder, old)
            try:
                os.replace(aside, folder)
            except BaseException:
                os.replace(old, folder)
                raise
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    clear_asides(folder.parent, folder.name)


def is_model(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()


def model_folder(path: Path) -> Path:
    """The folder with model.json: `path`, a run folder's own, or what a file of one line names, counted from it.

    Raises:
        InputError: there is no model.
    """
    path = pointed_at(path)
    for folder in (path, path / IN_RUN):
        if is_model(folder):
            return folder
    if (path / "config.yaml").is_file():
        if not (path / "metrics.json").is_file():
            raise InputError(f"{path} is a run that did not finish - go on with --resume={path}")
        from sear.settings.rules import read_settings

        model = read_settings(path / "config.yaml")[0].get("model")
        if model != "SEAR":
            raise InputError(
                f"{path} is a run of {model}, which keeps no model for use - name one of SEAR or a variant"
            )
        raise InputError(f"{path} is a run of an earlier SEAR - make a model of it with: sear export {path} FOLDER")
    raise InputError(f"{path} holds no model - name a folder that `sear export` wrote, or a finished run's")


def point_at(pointer: Path, folder: Path) -> None:
    """Make `pointer` the file that names a model's folder beside it; those who follow it see the old or the new one."""
    _ = read_model(model_folder(folder)).text_VE  # a model that cannot be read never takes the place of one that can
    write_text(pointer, f"{folder.relative_to(pointer.parent).as_posix()}\n")


def _write_files(folder: Path, model: TrainedModel) -> None:
    files = {
        "weights.safetensors": save(_plain(model.weights | _given(PROJECTED, model.projected_text))),
        "items.json": orjson.dumps(
            {"ids": model.item_ids, "titles": model.titles, "training_counts": model.training_counts.tolist()}
        ),
    }
    if model.text_VE is not None:
        files["texts.safetensors"] = save({"text": torch.from_numpy(np.ascontiguousarray(model.text_VE))})
    if model.users is not None:
        files["users.json"] = orjson.dumps(model.users.user_ids)
        arrays = {name: torch.from_numpy(getattr(model.users, name)) for name in ("offsets", "item", "rating")}
        files["histories.safetensors"] = save(arrays)
    told = {key: value for key, value in model.about.items() if key not in ("format", "digest")}
    about = {"format": FORMAT, **told, "settings": model.settings}
    about["files"] = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    files[MANIFEST] = orjson.dumps(about | {"digest": _digest(about)}, option=orjson.OPT_INDENT_2)
    for name, content in files.items():
        with write_aside(folder / name) as path:
            path.write_bytes(content)


def _given(name: str, tensor: Tensor | None) -> dict[str, Tensor]:
    return {} if tensor is None else {name: tensor}


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _digest(about: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(about, option=orjson.OPT_SORT_KEYS)).hexdigest()


def read_model(folder: Path | str) -> TrainedModel:
    """The model in a folder, every file but the texts read and checked; those when they are asked for.

    Raises:
        InputError: a file is missing, truncated or changed, or was written by a later SEAR.
    """
    folder = Path(folder)
    about = read_about(folder)
    weights = _tensors(folder, about, "weights.safetensors")
    items = _json(folder, about, "items.json")
    users = None
    if "users.json" in about["files"]:
        arrays = {name: tensor.numpy() for name, tensor in _tensors(folder, about, "histories.safetensors").items()}
        users = UserHistories(_json(folder, about, "users.json"), **arrays)
    return TrainedModel(
        about={key: value for key, value in about.items() if key not in ("settings", "files")},
        settings=about["settings"],
        projected_text=weights.pop(PROJECTED, None),
        weights=weights,
        item_ids=items["ids"],
        titles=items["titles"],
        training_counts=np.array(items["training_counts"], dtype=np.int64),
        texts=lambda: _texts(folder, about),
        users=users,
    )


def _texts(folder: Path, about: Mapping[str, Any]) -> np.ndarray | None:
    if "texts.safetensors" not in about["files"]:
        return None
    return _tensors(folder, about, "texts.safetensors")["text"].numpy()


def read_about(folder: Path) -> dict[str, Any]:
    """What model.json holds, checked; raises InputError as `read_model`."""
    path = require_file(folder / MANIFEST)
    try:
        about = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path} is missing - name a folder that `sear export` wrote, or a finished run's") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}) - {REMEDY}") from None
    told = about.get("format") if isinstance(about, dict) else None
    if told != FORMAT:
        if isinstance(told, str) and told.startswith("sear-model-"):
            by = f"SEAR {about['versions'].get('sear')}" if isinstance(about.get("versions"), dict) else "a later SEAR"
            raise InputError(f"{path} is in the format {told} of {by}, this SEAR reads {FORMAT} - update SEAR")
        raise InputError(f"{path} describes no model of SEAR ({FORMAT}) - name a folder that `sear export` wrote")
    missing = [key for key in REQUIRED if key not in about]
    if missing or about["digest"] != _digest({key: value for key, value in about.items() if key != "digest"}):
        raise InputError(f"{path} is damaged: its content does not match its digest - {REMEDY}")
    return about


def _content(folder: Path, about: Mapping[str, Any], name: str) -> bytes:
    path = require_file(folder / name)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} is missing - {REMEDY}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error}) - {REMEDY}") from None
    if hashlib.sha256(content).hexdigest() != about["files"].get(name):
        raise InputError(f"{path} is damaged: its content does not match its digest in {MANIFEST} - {REMEDY}")
    return content


def _json(folder: Path, about: Mapping[str, Any], name: str) -> Any:
    return orjson.loads(_content(folder, about, name))


def _tensors(folder: Path, about: Mapping[str, Any], name: str) -> dict[str, Tensor]:
    found = load(_content(folder, about, name))
    return {key: tensor.clone() for key, tensor in found.items()}  # aligned alike wherever the file holds them
