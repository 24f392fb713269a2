"""Take the weights out of exported files again, prove them against the files, and write a checkpoint."""

from collections.abc import Sequence
from pathlib import Path

import safetensors.torch

from exporters.recover import Recovered, recover
from parity_tests.recovered import describe, verify_recovered
from parity_tests.reports.parity_report import to_table, verdict
from rvm_model.weights.checkpoint import Checkpoint
from tools.shared.console import stderr_console, working
from tools.shared.outputs import ExportFailed, publish, refuse_file_name, refuse_place, resolve_output

SUFFIX = ".safetensors"


def recover_files(paths: Sequence[Path], output: Path, trust: bool, force: bool, prove: bool) -> Path:
    """Write the checkpoint that files were made from, as far as they tell, and give its path.

    Args:
        paths: Files or folders of any format, of the same weights.
        output: A `.safetensors` file, or a folder.
        trust: Open files that are code.
        force: Replace an existing file.
        prove: Play each file against the rebuilt network before the checkpoint gets its name.

    Raises:
        UserError: a file that cannot be recovered, or files that contradict each other, or a place that is not there.
        ExportFailed: the network does not compute what a file computes.
    """
    refuse_file_name(output, SUFFIX)
    refuse_place(output)
    with working(stderr_console(), f"reading {', '.join(map(str, paths))}"):
        recovered = recover(paths, trust=trust)
    checkpoint = recovered.checkpoint
    name = f"rvm_{checkpoint.variant}_recovered{'_seeded' if checkpoint.seeded else ''}{SUFFIX}"
    path = resolve_output(output, name, SUFFIX, False, checkpoint.seeded, force)
    say_recovered(recovered)

    def write(staged: Path) -> None:
        # No metadata: the same weights give the same file, wherever they were found.
        safetensors.torch.save_file(dict(checkpoint.state_dict), staged)

    def check(_: Path) -> None:
        if prove:
            prove_recovered(recovered)

    publish(path, write, check, force)
    return path


def say_recovered(recovered: Recovered) -> None:
    """What it is, and what was done for it, on stderr."""
    console = stderr_console()
    checkpoint: Checkpoint = recovered.checkpoint
    console.print(f"recovered from {checkpoint.name}: {checkpoint.variant} with {checkpoint.refiner}", soft_wrap=True)
    for remark in recovered.remarks:
        console.print(f"  {remark}", soft_wrap=True)
    for path, quirks in recovered.quirks.items():
        for line in describe(quirks):
            console.print(f"  {path}: {line}", soft_wrap=True)


def prove_recovered(recovered: Recovered) -> None:
    """Raises ExportFailed if the network does not compute what a file computes."""
    console = stderr_console()
    with working(console, f"verifying {recovered.checkpoint.name}"):
        reports = [*verify_recovered(recovered)]
    for report in reports:
        console.print(to_table(report))
        for line in verdict(report):
            console.print(line, soft_wrap=True)
    wrong = [report.place for report in reports if not report.ok]
    if wrong:
        raise ExportFailed(
            f"the network rebuilt from {wrong[0]} does not compute what that computes: it was changed in a way that "
            "does not show in its convolutions; its weights were not kept"
        )
