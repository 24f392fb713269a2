"""Say whether a file fits the programs that call it."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten

from rvm_model.errors import UserError
from tools.doctor.contracts import read_contracts
from tools.shared.console import stderr_console

_LONGEST_REASON = 600


def examine_file(path: Path, names: Sequence[str]) -> int:
    """Print a line for each program, and return the exit code: 1 if the file does not fit one of them.

    Args:
        path: An ONNX file.
        names: Names of contracts; all if there is none.

    Raises:
        UserError: no such contract, or no ONNX file that can be played.
    """
    contracts = read_contracts()
    unknown = [name for name in names if name not in contracts]
    if unknown:
        raise UserError(f"--as {unknown[0]}: give one of {', '.join(contracts)}")
    from tools.doctor.examine import examine  # onnxruntime is imported for a right name alone

    console, fits = stderr_console(), True
    for finding in examine(path, [contracts[name] for name in names or contracts]):
        fits = fits and finding.fits
        verdict = "fits" if finding.fits else "does NOT fit"
        reason = shorten(finding.reason, _LONGEST_REASON)  # a file's names may be of any length
        advice = "" if finding.fits else f"; a file that does: {finding.contract.command}"
        console.print(f"{finding.contract.name}: {verdict}: {reason}{advice}", soft_wrap=True)
    return 0 if fits else 1
