"""Verify the wrong networks: each must be caught.

Writes `results/mutants_cpu.csv`, one line per mutant and format: whether it is caught, and the worst figure
divided by its limit. Exits with 1 if one is missed. Name formats on the command line to try only those.
"""

import csv
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track

from parity_tests.mutants.suite import CASES
from parity_tests.mutants.trial import Court

RESULTS = Path(__file__).parent / "results" / "mutants_cpu.csv"
COLUMNS = ["mutant", "format", "precision", "clip", "caught", "margin", "output", "seconds", "why"]


def main() -> None:
    """Try, write, judge."""
    console = Console(stderr=True)
    wanted = sys.argv[1:]
    cases = [(mutant, name) for mutant, name in CASES if not wanted or name in wanted]
    missed = []
    with RESULTS.open("w", newline="", buffering=1) as file, tempfile.TemporaryDirectory() as folder:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        court = Court(Path(folder))
        for mutant, name in track(cases, console=console, description="trying"):
            began = time.monotonic()
            trial = court.trial(mutant, name)
            writer.writerow(
                [
                    *(mutant.name, name, mutant.precision, trial.mutant.play),
                    *("yes" if trial.caught else "no", f"{trial.margin:.2g}", trial.output),
                    *(f"{time.monotonic() - began:.1f}", mutant.why),
                ]
            )
            if not trial.caught:
                missed.append(f"{mutant.name} in {name}: {trial.margin:.2g} of the limit of {trial.output}")
    for line in missed:
        console.print(f"MISSED: {line}", highlight=False, soft_wrap=True)
    console.print(f"{len(cases) - len(missed)} of {len(cases)} caught", highlight=False)
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
