"""Measurements for maintainers. Each writes a table into `results/`. The wheel does not contain them."""
