"""Sound atomic files, text embeddings and run folders, and what the programs make of damaged ones."""

import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sear import statistics
from sear.cli.main import main as train
from sear.data import text_cache
from sear.data.text_encoder import PUBLISHED
from sear.errors import InputError
from sear.report.__main__ import main as report
from tests.campaigns.inputs import ACCEPTED, ESCAPED, REFUSED, Files, Input, Outcome, program, write_files
from tests.campaigns.mutations import MUTATIONS, flip

READ = ("metrics.json", "history.csv", "cases.csv.gz", "config.yaml", "examples.json")  # by a report
sentence_vectors = text_cache.sentence_vectors  # trainings here do without
SENTENCES = [f"title: item {number}" for number in range(12)]


def run_inputs(place: Path) -> list[Input]:
    """Everything that runs read and leave.

    Args:
        place: holds the data set `tiny` and the settings toy.yaml; a run is trained in it.
    """
    atomic = {f"data/tiny/tiny.{kind}": (place / "tiny" / f"tiny.{kind}").read_bytes() for kind in ("inter", "item")}
    inputs = [
        Input("atomic files, statistics", atomic, _statistics, 3),
        Input("atomic files, training", atomic, partial(_trained, place), 2),
    ]
    done, stopped = _finished_run(place), _stopped_run(place)
    files = {f"run/tiny/SEAR/{done.name}/{path.name}": path.read_bytes() for path in done.iterdir() if path.is_file()}
    for name in READ:
        inputs.append(Input(f"{name}, report", files, partial(_reported, done.name), 2, partial(_one, name)))
    for name in ("best.pth", "config.yaml"):
        inputs.append(Input(f"{name}, --evaluate", files, partial(_evaluated, done.name), 1, partial(_one, name)))
    left = {f"run/tiny/SEAR/{stopped.name}/{path.name}": path.read_bytes() for path in stopped.iterdir()}
    for name in ("last.pth", "best.pth"):
        inputs.append(Input(f"{name}, --resume", left, partial(_resumed, done, stopped.name), 1, partial(_one, name)))
    inputs.append(Input("text embeddings", _embeddings(place), _embedded, 2))
    return inputs


def _one(name: str, files: Files, rng: random.Random) -> Files:
    """One file of a run damaged, the others whole."""
    (path,) = [path for path in files if path.endswith(f"/{name}")]
    return files | {path: rng.choice([flip, *MUTATIONS])(rng, files[path])}


def _finished_run(place: Path) -> Path:
    words = ["--dataset=tiny", f"--config={place / 'toy.yaml'}", f"--results_path={place / 'results'}", "--epochs=1"]
    kind, told = program(train, words)
    assert kind == ACCEPTED, told
    (folder,) = [path for path in (place / "results" / "tiny" / "SEAR").iterdir() if (path / "metrics.json").exists()]
    return folder


def _stopped_run(place: Path) -> Path:
    """The same run, stopped when everything was trained."""
    (done,) = [path for path in (place / "results" / "tiny" / "SEAR").iterdir() if (path / "metrics.json").exists()]
    folder = place / "stopped" / "tiny" / "SEAR" / done.name
    shutil.copytree(done, folder, ignore=shutil.ignore_patterns("metrics.json", "cases*", "examples*", "model"))
    return folder


def _statistics(files: Files, rng: random.Random, folder: Path) -> Outcome:
    write_files(folder, files)
    return program(statistics.main, ["tiny", f"--data_path={folder / 'data'}"])


def _trained(place: Path, files: Files, rng: random.Random, folder: Path) -> Outcome:
    """Training of what counts, so that events, histories, titles, ranks and a run's files come in."""
    write_files(folder, files)
    words = ["--dataset=tiny", "--model=Pop", f"--config={place / 'toy.yaml'}", f"--data_path={folder / 'data'}"]
    kind, told = program(train, [*words, f"--results_path={folder / 'results'}"])
    left = (folder / "results").exists()
    return (f"{ESCAPED}: refused, and a folder is left", told) if kind == REFUSED and left else (kind, told)


def _reported(run: str, files: Files, rng: random.Random, folder: Path) -> Outcome:
    """A report without figures; what it says of a run must be what the run's ranks say."""
    write_files(folder, files)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sear.report.sections._figures", lambda *_: {})
        kind, told = program(report, [str(folder / "run"), f"--out={folder / 'report'}"])
    if kind == ACCEPTED:
        table = pd.read_csv(folder / "report" / "tables" / "tiny-models.csv")
        ranks = pd.read_csv(folder / "run" / "tiny" / "SEAR" / run / "cases.csv.gz")["rank"]
        if not np.isclose(table["hit@10"][0], (ranks <= 10).mean()):
            return f"{ESCAPED}: other values than the ranks bear out", str(table)
    return kind, told


def _evaluated(run: str, files: Files, rng: random.Random, folder: Path) -> Outcome:
    """A test of the checkpoint again; its table must be that of the sound one."""
    write_files(folder, files)
    return _same(program(train, [f"--evaluate={folder / 'run' / 'tiny' / 'SEAR' / run}"]), lambda: "", "")


def _resumed(done: Path, run: str, files: Files, rng: random.Random, folder: Path) -> Outcome:
    """Gone on with; its end must be that of the run that nobody stopped."""
    write_files(folder, files)
    place = folder / "run" / "tiny" / "SEAR" / run
    came = program(train, [f"--resume={place}"])
    return _same(came, lambda: (place / "cases.csv.gz").read_bytes(), (done / "cases.csv.gz").read_bytes())


def _same(came: Outcome, found: Callable[[], object], wanted: object) -> Outcome:
    if came[0] == ACCEPTED and found() != wanted:
        return f"{ESCAPED}: accepted, with another end", came[1]
    return came


def _embeddings(place: Path) -> Files:
    """A file of text embeddings by the published encoder."""
    identity, keys = PUBLISHED["all-mpnet-base-v2"], [text_cache._sentence_key(text) for text in SENTENCES]
    path = text_cache.cache_path(place, "tiny", identity, keys)
    path.touch()
    vectors = np.random.default_rng(1).standard_normal((len(keys), 24)).astype(np.float32)
    text_cache._write(path, identity, keys, vectors)
    return {path.name: path.read_bytes()}


def _embedded(files: Files, rng: random.Random, folder: Path) -> Outcome:
    """The vectors of the sentences; there is no encoder that could make them again."""
    write_files(folder, files)
    try:
        vectors = sentence_vectors(SENTENCES, str(folder / "all-mpnet-base-v2"), folder, "tiny")
    except InputError as error:
        one_line = "\n" not in str(error) and len(str(error)) < 3_000
        return (REFUSED if one_line else f"{ESCAPED}: not one line"), str(error)
    wanted = np.random.default_rng(1).standard_normal(vectors.shape).astype(np.float32)
    return _same((ACCEPTED, ""), vectors.tobytes, wanted.tobytes())
