"""Ranks, metrics, groups and tests of significance."""
