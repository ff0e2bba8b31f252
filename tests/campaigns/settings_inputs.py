"""Sound settings, as YAML files and as command lines, and what the program makes of damaged ones, short of training."""

import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from sear.cli import main as cli
from sear.settings import gather
from sear.settings.recbole_config import build_config, effective_settings
from tests.campaigns.inputs import Files, Input, Outcome, program, write_files
from tests.campaigns.mutations import MUTATIONS

MODELS = ("SEAR", "SASRec", "GRU4Rec", "BERT4Rec", "Pop", "NARM")
VALUES = ["", "~", "null", "0", "1", "-1", "2", "1.5", "1e400", ".inf", ".nan", "True", "no", "yes", "text", "[1,2]"]
VALUES += ["[]", "{}", "{a: 1}", "[[1]]", "9" * 5_000, "[" * 2_000, "*a", "&a [*a]", "!!python/object:os.system x"]
VALUES += ["!!binary aGk=", "!!set {a}", "2024-01-01", "0x1F", "1_000", "1:30", "=", "'", '"', "'a", "a: b", "- a", "#"]
VALUES += ["é", "\ud83d", "\x00", "a\tb", "\ufeff", "x" * 70_000, "../..", "/", "~/x", "%", "[1,", "1,2,3", ",", "1,,2"]
VALUES += [
    "10000000001",
    "1e-400",
    "-0",
    "+1",
    "٣",
    "ＳＥＡＲ",
    "SEAR",
    "sear",
    "ml-100k",
    "tiny",
    "none",
    "None",
    "a,a",
]
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def settings_inputs(place: Path) -> list[Input]:
    """Files of settings, and command lines.

    Args:
        place: holds `config`, which the program reads here, and the data set `tiny`.
    """
    sound = (place / "toy.yaml").read_bytes()
    whole = (place / "config" / "model" / "SEAR.yaml").read_bytes()
    data = (place / "config" / "data" / "tiny.yaml").read_bytes() + b"user_inter_num_interval: '[5,inf)'\n"
    model = b"model: SEAR\nhidden_size: 16\nstreams: [semantic, collaborative]\n"
    inputs = [Input("command line", {"words": b"--epochs=2\0--seed=1"}, partial(_words, place), 8, _other_words)]
    for kind, file, content in (
        ("--config", "my.yaml", sound),
        ("whole config", "my.yaml", whole),
        ("config/data", "config/data/mine.yaml", b"dataset: tiny\n" + data),
        ("config/model", "config/model/Mine.yaml", model),
    ):
        inputs.append(Input(kind, {file: content}, partial(_file, place, kind), 3, _other_yaml))
    return inputs


def _other_words(files: Files, rng: random.Random) -> Files:
    """One to four words: known keys with odd values, and the odd forms of both."""
    keys = [*gather.rules_of("SEAR", "SEAR"), "dataset", "model", "seed", "ablate", "config", "resume", "evaluate"]
    keys += ["help", "debug", "lr", "", "-", "=", "a b", "é", "\ud83d"]
    words = []
    for _ in range(rng.choice([1, 1, 2, 4])):
        key, value = rng.choice(keys), rng.choice(VALUES)
        form = rng.choice(["--{}={}"] * 8 + ["--{} {}", "-{}={}", "{}={}", "--{}", "{}", "--{}=={}", "--{}={},{}"])
        words += form.format(key, value, rng.choice(VALUES)).split(" ", 1 if form == "--{} {}" else 0)
    return {"words": "\0".join(words).encode("utf-8", "surrogatepass")}


def _other_yaml(files: Files, rng: random.Random) -> Files:
    """Bytes changed anyhow, a line with an odd value, or a mapping that unfolds without end."""
    ((name, data),) = files.items()
    how = rng.random()
    if how < 0.4:
        return {name: rng.choice(MUTATIONS)(rng, data)}
    lines = data.decode("utf-8", "replace").split("\n")
    keyed = [place for place, line in enumerate(lines) if ":" in line and not line.startswith("#")]
    if how < 0.8 and keyed:
        place = rng.choice(keyed)
        lines[place] = f"{lines[place].partition(':')[0]}: {rng.choice(VALUES)}"
    elif how < 0.9:
        lines.insert(rng.randrange(len(lines)), BOMB + f"{rng.choice(['epochs', 'streams', 'load_col'])}: *i")
    else:
        odd = [f"{rng.choice(VALUES)}: 1", "? [a]: b", "<<: {epochs: 1}", "<<: 3", "---", "...", "%YAML 9", "[1, 2]"]
        lines.insert(rng.randrange(len(lines)), rng.choice(odd))
    return {name: "\n".join(lines).encode("utf-8", "surrogatepass")}


def _file(place: Path, kind: str, files: Files, rng: random.Random, folder: Path) -> Outcome:
    ((name, data),) = files.items()
    base = place if name.startswith("config/") else folder
    write_files(base, {name: data})
    words = {
        "config/data": ["--dataset=mine", "--model=Pop"],
        "config/model": ["--dataset=tiny", "--model=Mine", f"--config={place / 'toy.yaml'}"],
    }.get(kind, ["--dataset=tiny", f"--model={rng.choice(MODELS)}", f"--config={place / 'toy.yaml'},{folder / name}"])
    try:
        return _asked(words)
    finally:
        if base == place:
            (place / name).unlink()


def _words(place: Path, files: Files, rng: random.Random, folder: Path) -> Outcome:
    words = [word for word in files["words"].decode("utf-8", "surrogatepass").split("\0") if word]
    if not any(word.startswith(("--dataset", "--resume", "--evaluate")) for word in words):
        words = ["--dataset=tiny", *words]
    if not any(word.startswith(("--config", "--resume", "--evaluate")) for word in words):
        words.append(f"--config={place / 'toy.yaml'}")
    return _asked(words)


def _asked(words: Sequence[str]) -> Outcome:
    """The program up to where a run would begin: every setting gathered, checked and given to RecBole."""

    def build(request, runs) -> int:
        for planned in runs[:3]:
            overrides = request.overrides_of(planned)
            config = build_config(planned.dataset, planned.model, overrides, request.config_files, cli.PLACE)
            effective_settings(config)
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "_run_grid", build)
        patch.setattr(cli, "_run_one", lambda request, planned: build(request, [planned]))
        return program(cli.main, words)
