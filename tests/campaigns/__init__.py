"""Long tests, run by hand: python -m tests.campaigns.NAME --help."""
