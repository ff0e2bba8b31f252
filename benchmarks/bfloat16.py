"""A training epoch of SEAR with `enable_amp: True` (autocast to bfloat16) against the same in float32."""

from collections.abc import Iterator

from benchmarks.epoch import epochs_by_turns
from benchmarks.measure import Request, Row, compare


def rows(request: Request) -> Iterator[Row]:
    sides = {"bfloat16": {"enable_amp": True}, "float32": {"enable_amp": False}}
    for dataset, turns, note in epochs_by_turns("bfloat16", sides, request):
        yield compare(f"epoch in bfloat16, {dataset}", "float32", turns, note=note)
