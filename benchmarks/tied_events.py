"""How much the order of events in the same second matters: python -m benchmarks.tied_events --dataset=ml-100k.

Which of a user's tied events is the last, and so the test case, is the order of the file. The lines of the data set's
`.inter` are put into random orders, which changes nothing but the order of tied events, and a model is trained and
tested on each. `--runs RUN_DIR,…` instead splits the test cases of finished runs by how long after the event before
the target came: in the same second, on the same day, or later.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.measure import say
from sear.evaluation.metrics import metrics_by_row, summarise

DAY = 86_400  # seconds
PROTOCOLS = {"rank": "kept", "rank_history_masked": "filtered"}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tied_events", description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="ml-100k", help="name of a config/data/*.yaml (default: ml-100k)")
    parser.add_argument("--model", default="SequentialRules", help="model to train (default: SequentialRules)")
    parser.add_argument("--orders", type=int, default=10, help="random orders of the file (default: 10)")
    parser.add_argument("--runs", help="folders of finished runs, commas between: splits their test cases")
    asked = parser.parse_args(arguments)
    if asked.runs:
        found = [{"run": folder, **split_by_gap(Path(folder))} for folder in asked.runs.split(",")]
    else:
        found = [shuffled_orders(asked.dataset, asked.model, asked.orders)]
    for one in found:
        print(json.dumps(one, indent=1))
    return 0


def shuffled_orders(dataset: str, model: str, orders: int) -> dict:
    """Test metrics of the file as it is, and their mean and standard deviation over random orders of its lines."""
    from sear import run_sear
    from sear.settings.recbole_config import build_config

    own = build_config(dataset, model)
    source, name = Path(own["data_path"]), own["dataset"]
    with tempfile.TemporaryDirectory() as work:
        results = []
        for number in range(orders + 1):
            folder = Path(work, "data", name)
            shutil.copytree(source, folder)
            if number:
                shuffle_lines(folder / f"{name}.inter", seed=number)
            places = {"data_path": str(folder.parent), "results_path": str(Path(work, "results"))}
            with redirect_stdout(sys.stderr):  # standard output is for the JSON alone
                done = run_sear(dataset, model, mask_history=True, **places)
            results.append({"kept": done["test"], "filtered": done["test_history_masked"]})
            say(f"order {number}: {results[-1]}")
            shutil.rmtree(folder)
    summary: dict = {"dataset": dataset, "model": model, "orders": orders}
    for protocol in PROTOCOLS.values():
        for metric in results[0][protocol]:
            values = [result[protocol][metric] for result in results[1:]]
            summary[f"{metric}, {protocol}"] = {
                "as the file is": results[0][protocol][metric],
                "mean": float(np.mean(values)),
                "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
            }
    return summary


def shuffle_lines(path: Path, seed: int) -> None:
    """Put the lines below the header into a random order."""
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    order = np.random.default_rng(seed).permutation(len(lines))
    path.write_text("\n".join([header, *(lines[i] for i in order)]) + "\n", encoding="utf-8")


def split_by_gap(run_folder: Path) -> dict:
    """Number of test cases and metrics by the time between the target and the event before it, of a finished run."""
    from sear.data.dataset import SEARDataset
    from sear.settings.recbole_config import config_from_settings
    from sear.settings.rules import read_settings

    settings, _ = read_settings(run_folder / "config.yaml")
    cases = pd.read_csv(run_folder / "cases.csv.gz", dtype={"user": str, "target": str}, keep_default_na=False)
    events = SEARDataset(config_from_settings(settings, str(run_folder))).events
    last = events.offsets[1:] - 1
    of_user = dict(zip(events.user_tokens[1:], last, strict=True))
    target = np.array([of_user[user] for user in cases["user"]])
    if not (events.item_tokens[events.item[target]] == cases["target"].to_numpy()).all():
        raise SystemExit(f"error: {run_folder}: its targets are not those of the data - it was tested on other data")
    return by_gap(cases, events.time[target] - events.time[target - 1])


def by_gap(cases: pd.DataFrame, gap_seconds: np.ndarray) -> dict:
    """`{"same second": {"cases": …, "kept": {…}, "filtered": {…}}, …}`."""
    masks = {
        "same second": gap_seconds == 0,
        "same day, later second": (gap_seconds > 0) & (gap_seconds < DAY),
        "another day": gap_seconds >= DAY,
    }
    return {
        name: {"cases": int(mask.sum())}
        | {
            protocol: summarise(metrics_by_row(cases[column].to_numpy()[mask]))
            for column, protocol in PROTOCOLS.items()
            if column in cases
        }
        for name, mask in masks.items()
    }


if __name__ == "__main__":
    sys.exit(main())
