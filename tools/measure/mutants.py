"""Verify the mutants, which are wrong networks: each must be caught.

Writes `results/mutants_cpu.csv`, one line per mutant and format: whether it is caught, and the worst figure divided by
its limit. Exits with 1 if one is missed. Name formats on the command line to try only those.
"""

import sys
import tempfile
import time
from pathlib import Path

from parity_tests.mutants.mutant import Mutant
from parity_tests.mutants.suite import CASES
from parity_tests.mutants.trial import Court
from tools.measure.table import measure

TABLE = "mutants_cpu.csv"
COLUMNS = ["mutant", "format", "precision", "clip", "caught", "margin", "output", "seconds", "why"]


def main() -> None:
    """Try, write, judge."""
    wanted = sys.argv[1:]
    cases = [(mutant, name) for mutant, name in CASES if not wanted or name in wanted]
    with tempfile.TemporaryDirectory() as folder:
        court = Court(Path(folder))
        code = measure(TABLE, COLUMNS, cases, lambda case: [tried(court, *case)], judged=["caught"])
    sys.exit(code)


def tried(court: Court, mutant: Mutant, name: str) -> dict[str, object]:
    """Verify one mutant in one format."""
    began = time.monotonic()
    trial = court.trial(mutant, name)
    return {
        "mutant": mutant.name,
        "format": name,
        "precision": mutant.precision,
        "clip": trial.mutant.play,
        "caught": "yes" if trial.caught else "no",
        "margin": f"{trial.margin:.2g}",
        "output": trial.output,
        "seconds": f"{time.monotonic() - began:.1f}",
        "why": mutant.why,
    }


if __name__ == "__main__":
    main()
