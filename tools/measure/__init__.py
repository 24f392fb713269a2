"""Measurements for maintainers: each writes a table into `results/`. They are no part of the wheel."""
