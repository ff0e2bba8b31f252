"""What a warm start brings: python -m benchmarks.warm_start --dataset=ml-100k [--share=0.9] [--seeds=1,2,3] --out=FILE.

The events up to a date make the older data, all events the newer ones. A model is trained on the older data; on the
newer ones the same model is trained from scratch and from the older one's weights. Writes JSON: seconds of training,
epochs, validation and test of both. `--key=value` words are settings of all three.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from benchmarks.measure import say, write_json
from sear.cli.arguments import parse
from sear.files import CHECKOUT, PROJECT_ROOT
from sear.runs.machine import commit


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.warm_start", description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="ml-100k", help="name of a config/data/*.yaml (default: ml-100k)")
    parser.add_argument("--model", default="SEAR", help="SEAR or a variant of it (default: SEAR)")
    parser.add_argument("--share", type=float, default=0.9, help="share of the events that are older (default: 0.9)")
    parser.add_argument("--seeds", default="1", help="commas between (default: 1)")
    parser.add_argument("--out", type=Path, help="JSON file to write (default: standard output)")
    asked, words = parser.parse_known_args(arguments)
    settings = parse([f"--dataset={asked.dataset}", f"--model={asked.model}", *words]).overrides
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    with redirect_stdout(sys.stderr):  # standard output is for the JSON alone
        found = [compare(asked.dataset, asked.model, asked.share, seed, settings) for seed in seeds]
    about = {"dataset": asked.dataset, "model": asked.model, "settings": settings, "share": asked.share}
    write_json(about | {"commit": commit(CHECKOUT), "runs": found}, asked.out)
    return 0


def compare(dataset: str, model: str, share: float, seed: int, settings: Mapping[str, Any]) -> dict:
    """`{"seed": …, "older": {…}, "from scratch": {…}, "warm start": {…}}` of one seed."""
    from sear import run_sear
    from sear.settings.recbole_config import build_config

    own = build_config(dataset, model, settings)
    source, name = Path(own["data_path"]), own["dataset"]
    with tempfile.TemporaryDirectory() as work:
        older = Path(work, "older", name)
        shutil.copytree(source, older)
        bundled = PROJECT_ROOT / "dataset" / name
        for path in bundled.glob("*.safetensors") if bundled.is_dir() and bundled != source else ():
            shutil.copy(path, older)  # ready text embeddings
        cut_at_date(older / f"{name}.inter", own["TIME_FIELD"], share)
        common = {**settings, "seed": seed, "mask_history": True, "results_path": str(Path(work, "results"))}

        def train(**changes) -> dict:
            started = process_time()
            run = run_sear(dataset, model, **common | changes)
            return run | {"cpu_seconds": process_time() - started}

        first = train(data_path=str(older.parent))
        scratch, warm = train(), train(warm_start=first["run_folder"])
    say(f"seed {seed}: from scratch {scratch['test']}, warm start {warm['test']}")
    return {"seed": seed, "older": told(first), "from scratch": told(scratch), "warm start": told(warm)}


def told(run: dict) -> dict:
    """What is compared of a finished run. CPU seconds are those of the whole run, seconds those of its training."""
    each = run["seconds"]["train"] / run["epochs"]
    return {
        "statistics": run["statistics"],
        "epochs": run["epochs"],
        "best epoch": run["best_epoch"],
        "seconds": run["seconds"]["train"],
        "seconds to the best epoch": each * (run["best_epoch"] + 1),
        "CPU seconds": run["cpu_seconds"],
        "valid": run["valid"],
        "test": run["test"],
        "test, seen items filtered": run["test_history_masked"],
    }


def cut_at_date(path: Path, time_field: str, share: float) -> None:
    """Keep the lines of an `.inter` file up to the time that `share` of them do not pass."""
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    column = [name.partition(":")[0] for name in header.split("\t")].index(time_field)
    times = np.array([float(line.split("\t")[column]) for line in lines])
    last = np.quantile(times, share)
    kept = [line for line, time in zip(lines, times, strict=True) if time <= last]
    path.write_text("\n".join([header, *kept]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
