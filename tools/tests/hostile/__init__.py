"""Hostile files, hostile circumstances, and one judgement of what the command does with them.

* `good_files.py` writes a good file of every kind, and `commands.py` lists the commands that open each kind.
* `mutants.py` draws a spoiled file from a number, by the ways in `spoil_*.py`. `constructions/` builds attacks on
  purpose. `faults.py` spoils the circumstances: limits, signals, streams, names.
* `runner.py` runs commands on such files in a process that may die, `play.py` restarts it, and `trial.py` watches one
  command. `strace.py` watches what Python does not see.
* `judgement.py` says what is wrong with an outcome.
"""
