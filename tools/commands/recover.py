"""Recover the weights of exported files, prove them against the files, and write a checkpoint."""

from collections.abc import Sequence
from pathlib import Path

import safetensors.torch

from exporters import open_artifact
from exporters.recover import recover
from tools.shared.console import stderr_console, working
from tools.shared.models import prove_recovered, say_recovered
from tools.shared.outputs import publish, refuse_file_name, refuse_place, resolve_output

SUFFIX = ".safetensors"


def recover_files(paths: Sequence[Path], output: Path, trust: bool, force: bool, prove: bool) -> Path:
    """Write the checkpoint that files were made from, as precisely as they define it, and return its path.

    Args:
        paths: Files or folders of any format, of the same weights.
        output: A `.safetensors` file, or a folder.
        trust: Open files that are code.
        force: Replace an existing file.
        prove: Compare each file with the rebuilt network before the checkpoint gets its name.

    Raises:
        UserError: a file that cannot be recovered, files that contradict each other, or an output path that cannot be
            used.
        ExportFailed: the network does not compute what a file computes.
    """
    refuse_file_name(output, SUFFIX)
    refuse_place(output)
    with working(stderr_console(), f"reading {', '.join(map(str, paths))}"):
        recovered = recover([open_artifact(path, trust=trust) for path in paths])
    checkpoint = recovered.checkpoint
    name = f"rvm_{checkpoint.variant}_recovered{'_seeded' if checkpoint.seeded else ''}{SUFFIX}"
    path = resolve_output(output, name, SUFFIX, False, checkpoint.seeded, force)
    say_recovered(recovered)

    def write(staged: Path) -> None:
        # No metadata: the same weights give the same file, whichever file they come from. Written here and not by
        # safetensors, whose error for a full disk is no OSError.
        staged.write_bytes(safetensors.torch.save(dict(checkpoint.state_dict)))

    def check(_: Path) -> None:
        if prove:
            prove_recovered(recovered)

    publish(path, write, check, force)
    return path
