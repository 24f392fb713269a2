"""Make one file: load the weights, export, prove, publish."""

from pathlib import Path

from exporters import FORMATS, load_exporter, load_runtime
from exporters.spec import ArtifactError, ExportSpec
from parity_tests.clips import builtin_clip
from parity_tests.report import to_table, verdict
from parity_tests.verify import BUILTIN_RATIO, verify
from rvm_model.checkpoint import load_checkpoint
from tools.messages import stderr_console
from tools.publish import ExportFailed, publish, resolve_output


def export_one(name: str, spec: ExportSpec, source: str, output: Path, force: bool, prove: bool) -> Path:
    """Export to a format and return the file's path.

    Args:
        name: The format.
        spec: Of the format's own kind.
        source: See `load_checkpoint`.
        output: A file or a folder.
        force: Replace an existing file.
        prove: Play the built-in clip against PyTorch before the file gets its name.

    Raises:
        UserError: a checkpoint, package or place that cannot be used.
        ExportFailed: the file does not compute what PyTorch computes, or could not be written.
    """
    console = stderr_console()
    exporter = load_exporter(name)
    checkpoint = load_checkpoint(source, spec.variant, spec.refiner)
    file_name = spec.file_name(FORMATS[name].suffix, checkpoint.seeded)
    path = resolve_output(output, file_name, checkpoint.seeded, force)

    def write(staged: Path) -> None:
        with console.status(f"exporting {path.name}"):
            exporter.export(checkpoint, spec, staged)

    def check(staged: Path) -> None:
        if not prove:
            return
        try:
            with console.status(f"verifying {path.name}"):
                report = verify(load_runtime(name).inspect(staged), checkpoint, builtin_clip(), BUILTIN_RATIO)
        except ArtifactError as error:
            raise ExportFailed(f"the export is not usable, and was not kept: {error}") from error
        console.print(to_table(report))
        for line in verdict(report):
            console.print(line, soft_wrap=True)
        if not report.ok:
            raise ExportFailed(f"{path.name} does not compute what PyTorch computes, and was not kept")

    publish(path, write, check, force)
    return path
