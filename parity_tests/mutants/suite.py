"""All mutants, and a tenth of them for `make test`."""

from parity_tests.mutants.forward_passes import FORWARD_PASSES
from parity_tests.mutants.int8 import INT8
from parity_tests.mutants.loops import LOOPS
from parity_tests.mutants.mutant import Mutant
from parity_tests.mutants.weights import WEIGHTS

MUTANTS: tuple[Mutant, ...] = (*FORWARD_PASSES, *WEIGHTS, *LOOPS, *INT8)

CASES = tuple((mutant, format_name) for mutant in MUTANTS for format_name in mutant.formats)
"""Every mutant, once for each of its formats."""

TENTH = (
    *[case for case in CASES if case[1] == "onnx" and case[0].precision == "fp32"][::9],
    *[case for case in CASES if case[1] == "torchscript"][::25],
)
"""Mostly ONNX, which takes one second each."""
