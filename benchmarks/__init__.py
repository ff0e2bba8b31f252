"""Ratios against stated baselines, run by hand: python -m benchmarks.run (benchmarks/README.md)."""

import sear  # noqa: F401  sets how OpenMP threads wait, before torch is imported, as for every user
