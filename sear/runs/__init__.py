"""One run, its folder, and grids of runs."""
