"""The examples of a data set, side by side for all models (sear/evaluation/examples.py says what a run keeps)."""

from collections.abc import Sequence

from sear.evaluation.examples import EXAMPLES
from sear.report.rows import Row


def shared_examples(rows: Sequence[Row], most: int = EXAMPLES) -> list[dict]:
    """The examples of one data set with every row's answer, of each row's first seed that has any.

    Returns:
        [{user, history, target, answers: [{label, rank, top}]}], answers in the order of the rows.
    """
    found: dict[tuple[str, str], dict] = {}
    for row in rows:
        for example in next((run.examples for run in row.runs if run.examples), []):
            case = {key: example[key] for key in ("user", "history", "target")}
            case = found.setdefault((case["user"], case["target"]), case | {"answers": []})
            case["answers"].append({"label": row.label, "rank": example["rank"], "top": example["top"]})
    return list(found.values())[:most]
