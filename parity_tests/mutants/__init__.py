"""Wrong networks that `verify` must reject: what is wrong with each, as data, and how it is made.

A defect is one of four kinds, each a module: `rewritten.py` (another forward pass), `reweighted.py` (other weights),
`replayed.py` (another loop around a good file), `patched.py` (another number in an int8 file). The data lie in
`forward_passes.py`, `weights.py`, `loops.py` and `int8.py`; `suite.py` lists them all, `trial.py` tries one.
"""
