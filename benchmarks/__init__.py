"""Ratios against stated peers, run by hand: python -m benchmarks.run (benchmarks/README.md)."""
