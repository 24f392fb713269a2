"""All mutants, and a tenth of them that is quickly tried."""

from parity_tests.mutants.forward_passes import FORWARD_PASSES
from parity_tests.mutants.int8 import INT8
from parity_tests.mutants.loops import LOOPS
from parity_tests.mutants.mutant import FAST, Mutant
from parity_tests.mutants.weights import WEIGHTS

MUTANTS: tuple[Mutant, ...] = (*FORWARD_PASSES, *WEIGHTS, *LOOPS, *INT8)

CASES = tuple((mutant, format_name) for mutant in MUTANTS for format_name in mutant.formats)
"""Every mutant in each of its formats."""

TENTH = tuple(case for case in CASES if case[1] in FAST and case[0].precision == "fp32")[::10]
"""For `make test`, in the formats that are exported in no time."""
