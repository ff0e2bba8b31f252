"""Inputs of all programs damaged at random: `python -m tests.campaigns.mutated_inputs --count=1000 --seed=1`.

Small sound inputs (dumps of every format, YAML files, command lines, atomic files, text embeddings, the files of run
folders) are changed in bytes, lines, columns, encoding, packing and nesting, given to the programs in this process
under a limit of time and memory, and counted: accepted, refused in one line, or ESCAPED. What was accepted must be
right as far as that can be known: files that can be read, metrics that the ranks bear out, the same end of a run. An
input is made again by its number: `--only=NUMBER` with the same seed. The exit code is 1 where anything escaped.
"""

import argparse
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
from tabulate import tabulate

import sear  # noqa: F401  (before torch, for its thread settings)

# isort: split
import torch

from tests.campaigns.dumps import dumps
from tests.campaigns.inputs import ACCEPTED, ESCAPED, REFUSED, Files, Input, Outcome, outcome
from tests.campaigns.mutations import MUTATIONS
from tests.campaigns.run_inputs import run_inputs
from tests.campaigns.settings_inputs import settings_inputs
from tests.conftest import TOY, fake_sentence_vectors, random_histories, tiny_config_root, write_atomic_files

MEMORY = 6 << 30  # bytes above what the process has at its start


def mutated(given: Input, rng: random.Random) -> Files:
    """The files, one to three times changed."""
    if given.mutate:
        return given.mutate(dict(given.files), rng)
    files = dict(given.files)
    for _ in range(rng.choice([1, 1, 2, 3])):
        name = rng.choice(sorted(files))
        files[name] = rng.choice(MUTATIONS)(rng, files[name])
        if rng.random() < 0.05 and "/" not in name:
            others = [f"{name}.gz", name.upper(), f"{name}.zip", f"part-0000{len(files)}.csv"]
            files[rng.choice(others)] = files.pop(name)
    return files


def in_folder_of_its_own(given: Input, files: Files, rng: random.Random) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="mutated-") as folder:
        before = Path.cwd()
        os.chdir(folder)  # what is written to the working directory must not stay
        try:
            return outcome(given, files, rng, Path(folder))
        finally:
            os.chdir(before)


def limit_memory() -> None:
    """A program that wants much more than small inputs need is told that there is no more."""
    if sys.platform == "linux":
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))


def all_inputs(place: Path) -> list[Input]:
    """Every input as often as its weight says."""
    write_atomic_files(place, "tiny", random_histories(users=12, items=15, longest=12), items=15)
    with open(tiny_config_root(place) / "data" / "tiny.yaml", "a", encoding="utf-8") as file:
        file.write("load_col: {inter: [user_id, item_id, rating, timestamp], item: [item_id, title, kind]}\n")
    toy = TOY | {"epochs": 1, "threads": 1, "text_init": False, "item_inter_num_interval": "[1,inf)"}
    (place / "toy.yaml").write_text(json.dumps(toy), encoding="utf-8")
    made = (make() for make in (dumps, lambda: settings_inputs(place), lambda: run_inputs(place)))
    return [given for inputs in made for given in inputs for _ in range(given.weight)]


def campaign(asked: argparse.Namespace, inputs: list[Input]) -> tuple[Counter, dict[int, tuple[str, str]]]:
    """(count by kind and outcome, what escaped by number)."""
    counts: Counter = Counter()
    escaped = {}
    for number in [asked.only] if asked.only is not None else range(asked.count):
        rng = random.Random(f"{asked.seed}:{number}")
        given = inputs[number % len(inputs)]
        files = mutated(given, rng)
        kind, told = in_folder_of_its_own(given, files, rng)
        counts[given.kind, kind.split(":")[0]] += 1
        if kind.startswith(ESCAPED):
            escaped[number] = (given.kind, kind)
            print(f"--seed={asked.seed} --only={number}: {given.kind}, {kind}: {told.strip()[-200:]!r}", flush=True)
        if asked.only is not None:
            changed = {name: data for name, data in files.items() if given.files.get(name) != data}
            shown = "".join(f"\n{name}: {data[:300]!r}" for name, data in changed.items())
            print(f"{given.kind}: {kind}{shown}\n{told}")
    return counts, escaped


def main() -> int:
    name = "python -m tests.campaigns.mutated_inputs"
    parser = argparse.ArgumentParser(prog=name, description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=1_000, help="how many inputs (default 1000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="this input alone, with what was said of it")
    parser.add_argument("--kind", default="", help="only inputs whose kind holds this text")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    start = time.time()
    with tempfile.TemporaryDirectory(prefix="mutated-place-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sear.settings.gather.CONFIG_ROOT", Path(folder) / "config")
        patch.setattr("sear.data.text_cache.sentence_vectors", fake_sentence_vectors)
        inputs = [given for given in all_inputs(Path(folder)) if asked.kind in given.kind]
        for sound in {id(given): given for given in inputs}.values():
            kind, told = in_folder_of_its_own(sound, dict(sound.files), random.Random(0))
            assert kind == ACCEPTED, f"{sound.kind}: {kind}: {told}"
        limit_memory()
        counts, escaped = campaign(asked, inputs)
    kinds = (ACCEPTED, REFUSED, ESCAPED)
    rows = [(name, *(counts[name, kind] for kind in kinds)) for name in dict.fromkeys(given.kind for given in inputs)]
    rows.append(("all", *(sum(row[place] for row in rows) for place in (1, 2, 3))))
    print(tabulate(rows, ("input", *kinds), "github"))
    print(f"{sum(rows[-1][1:]):,} inputs, seed {asked.seed}, {time.time() - start:.0f} s")
    return int(bool(escaped))


if __name__ == "__main__":
    sys.exit(main())
