"""A training epoch of SEAR against the row-per-prefix layout, its own matrix products, and RecBole's SASRec."""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.matrix_products import ProductRecorder, ProductReplay
from benchmarks.measure import Request, Row, Side, Turn, alternate, compare, say
from benchmarks.synthetic import BEAUTY, ML_1M, TOY, write_atomic_files
from benchmarks.training import Experiment

SYNTHETIC = {"ml-1m": ML_1M, "beauty": BEAUTY}
FOLDERS = {"ml-1m": "ml-1m", "beauty": "amazon-beauty"}
WINDOW_BATCHES = {"ml-100k": None, "ml-1m": 48, "beauty": 16}  # None: the whole epoch
SAMPLED = {"ml-100k": 16, "beauty": WINDOW_BATCHES["beauty"]}  # of each side, where SEAR is held against itself
TRIMMED_BATCHES = {"ml-100k": 4, "ml-1m": 4, "beauty": 8}
MOST_EVENTS = 51_200  # padded ones in a batch of prefixes, 512 rows of 100: the whole 2,048 would need some 15 GB
SASREC_BATCHES = 2
GOALS = {("ml-1m", "padded prefixes"): 40, ("beauty", "padded prefixes"): 20}
OURS, PADDED, TRIMMED, FLOOR, SASREC = "windows", "padded prefixes", "trimmed prefixes", "matrix products", "SASRec"
FLOOR_GOAL = 0.5  # an epoch in at most twice the time of its matrix products
TOY_SETTINGS = {"hidden_size": 16, "num_layers": 1, "d_state": 4, "MAX_ITEM_LIST_LENGTH": 20, "train_batch_size": 128}


def rows(request: Request, dataset: str) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="sear-benchmark-") as folder:
        say(f"epoch-{dataset}: data")
        yield from _rows(request, dataset, Path(folder))


def _rows(request: Request, dataset: str, folder: Path) -> Iterator[Row]:
    experiment = experiment_on(dataset, folder, request.quick)
    most = 640 if request.quick else MOST_EVENTS
    ours = experiment.windows(2 if request.quick else WINDOW_BATCHES[dataset])
    padded = experiment.prefixes(False, 1, most)
    trimmed = experiment.prefixes(True, TRIMMED_BATCHES[dataset], most)
    say(f"epoch-{dataset}: SASRec's data, by RecBole")
    sasrec, sasrec_scale, sasrec_batches = experiment.sasrec(1 if request.quick else SASREC_BATCHES, folder)
    train_ours = experiment.train(ours)
    with ProductRecorder() as recorder:
        train_ours()
    replay = ProductReplay(recorder)
    sides = {
        OURS: Side(train_ours, ours.scale),
        FLOOR: Side(replay.run, ours.scale),
        PADDED: Side(experiment.train(padded), padded.scale),
        TRIMMED: Side(experiment.train(trimmed), trimmed.scale),
        SASREC: Side(sasrec, sasrec_scale),
    }
    turns = alternate(sides, request)
    for baseline, note in _notes(ours, padded, trimmed, recorder, sasrec_batches, sasrec_scale).items():
        goal = FLOOR_GOAL if baseline == FLOOR else GOALS.get((dataset, baseline))
        yield compare(f"epoch, {dataset}", baseline, turns, goal, note)


def epochs_by_turns(
    name: str, sides: Mapping[str, Mapping[str, Any]], request: Request, **shared: Any
) -> Iterator[tuple[str, dict[str, list[Turn]], str]]:
    """Epochs of SEAR with the settings of each side: of each data set the name, the turns, and a note on the sample."""
    for dataset, count in SAMPLED.items():
        with tempfile.TemporaryDirectory(prefix="sear-benchmark-") as folder:
            say(f"{name}: data of {dataset}")
            data_path = synthetic_data(dataset, Path(folder), request.quick)
            toy, count = (TOY_SETTINGS, 2) if request.quick else ({}, count)
            runs = {}
            for side, settings in sides.items():
                experiment = Experiment(dataset, data_path, **{**toy, **shared, **settings})
                sample = experiment.windows(count)
                runs[side] = Side(experiment.train(sample), sample.scale)
            note = f"{len(sample.chosen)} batches of the epoch's {sample.total}, x {sample.scale:.4g}"
            yield dataset, alternate(runs, request), note


def experiment_on(dataset: str, folder: Path, quick: bool = False) -> Experiment:
    """SEAR on ml-100k as it is, or on the others' synthetic histories, written into `folder`."""
    data_path = synthetic_data(dataset, folder, quick)
    return Experiment(dataset, data_path, **(TOY_SETTINGS if quick else {}))


def synthetic_data(dataset: str, folder: Path, quick: bool = False) -> Path | None:
    """Histories with the data set's lengths, written into `folder`; None for ml-100k, which is there already."""
    if dataset not in SYNTHETIC:
        return None
    return write_atomic_files(TOY if quick else SYNTHETIC[dataset], folder, FOLDERS[dataset])


def _notes(ours, padded, trimmed, recorder, sasrec_batches, sasrec_scale) -> dict[str, str]:
    def sampled(sample) -> str:
        cut = f", cut to {MOST_EVENTS:,} padded events," if sample is not ours else ""
        return f"{len(sample.chosen)} batches{cut} of the epoch's {sample.total}, x {sample.scale:.4g}"

    run = round(sasrec_batches / sasrec_scale)
    operations = recorder.operations() * ours.scale / 1e12
    return {
        PADDED: f"windows: {sampled(ours)}; padded prefixes: {sampled(padded)}",
        TRIMMED: f"windows: {sampled(ours)}; trimmed prefixes, sorted by length: {sampled(trimmed)}",
        FLOOR: f"{len(recorder.calls)} products of {len(ours.chosen)} batches; the epoch's are {operations:.3g} TFLOP",
        SASREC: f"SASRec: {run} batches of the epoch's {sasrec_batches}, x {sasrec_scale:.4g}; "
        "without the anomaly detection that importing RecBole's models switches on",
    }
