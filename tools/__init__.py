"""The commands and scripts that people run.

It may import every other package; no other package imports it.
"""
