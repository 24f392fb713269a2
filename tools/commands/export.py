"""Make files: load the weights, export, prove, publish."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from exporters import FORMATS, load_exporter, open_artifact
from exporters.artifact import ArtifactError
from exporters.runtime import Exporter
from exporters.spec import ExportSpec
from parity_tests.clips import load_clip
from parity_tests.reports.parity_report import to_table, verdict
from parity_tests.verify import BUILTIN_RATIO, verify
from rvm_model.weights.checkpoint import Checkpoint
from tools.shared.console import stderr_console, working
from tools.shared.models import maybe_seeded, open_checkpoint
from tools.shared.outputs import ExportFailed, OutputError, publish, resolve_output


def export_all(
    name: str, specs: Sequence[ExportSpec], source: str, output: Path, force: bool, prove: bool, trust: bool = False
) -> Iterator[Path]:
    """Export to a format, one file for each spec, and yield each file's path when it is written.

    Args:
        name: The format.
        specs: Specs of the format's class, all of one variant and refiner.
        source: A source of `open_checkpoint`.
        output: A file, if there is one spec, or a folder.
        force: Replace existing files.
        prove: Compare each file with PyTorch over the built-in clip before it gets its name; also the source, if it is
            an exported file.
        trust: Open a source that is code.

    Raises:
        UserError: a checkpoint, package or output path that cannot be used.
        ExportFailed: a file does not compute what PyTorch computes, or could not be written.
    """
    exporter = load_exporter(name)
    _check_outputs(name, specs, source, output, force)
    checkpoint = open_checkpoint(source, specs[0].variant, specs[0].refiner, trust=trust, prove=prove)
    paths = _resolve_outputs(name, specs, output, checkpoint.seeded, force)
    for spec, path in zip(specs, paths, strict=True):
        _export_one(exporter, checkpoint, spec, path, force, prove)
        yield path


def _check_outputs(name: str, specs: Sequence[ExportSpec], source: str, output: Path, force: bool) -> None:
    """Raise OutputError for a fault that does not depend on the checkpoint, which can take long to open."""
    errors = []
    possible = maybe_seeded(source)
    for seeded in possible:
        try:
            _resolve_outputs(name, specs, output, seeded, force)
        except OutputError as error:
            errors.append(error)
    if len(errors) == len(possible):
        raise errors[0]


def _resolve_outputs(name: str, specs: Sequence[ExportSpec], output: Path, seeded: bool, force: bool) -> list[Path]:
    """Return the path of each file. Raise OutputError if one cannot be written."""
    suffix, folder = specs[0].suffix(FORMATS[name].suffix), specs[0].is_folder
    if len(specs) > 1 and suffix and output.name.endswith(suffix):
        raise OutputError(f"{output} is one file, and {len(specs)} were asked for; give a folder as --output")
    paths = [resolve_output(output, spec.file_name(suffix, seeded), suffix, folder, seeded, force) for spec in specs]
    for path in paths:
        if path.is_dir() and not FORMATS[name].recognise(path):
            raise OutputError(f"{path} is a folder of something else, which is not replaced; give another --output")
    if len({*paths}) < len(paths):
        raise OutputError("two of the files asked for would have the same name; leave one out")
    return paths


def _export_one(
    exporter: Exporter, checkpoint: Checkpoint, spec: ExportSpec, path: Path, force: bool, prove: bool
) -> None:
    console = stderr_console()

    def write(staged: Path) -> None:
        try:
            with working(console, f"exporting {path.name}"):
                exporter.export(checkpoint, spec, staged)
        except ArtifactError as error:
            raise ExportFailed(f"{path.name} could not be made: {error}") from error

    def check(staged: Path) -> None:
        if not prove:
            return
        try:
            text = f"verifying {path.name}"
            with working(console, text) as stage:
                artifact = open_artifact(staged, trust=True)  # which we have just written
                ratio = BUILTIN_RATIO if artifact.baked_ratio is None else None
                reports = [
                    verify(
                        each,
                        checkpoint,
                        load_clip(None),
                        ratio,
                        on_frame=lambda t: stage.update(text, f"frame {t + 1}"),
                    )
                    for each in (artifact, *artifact.others)
                ]
        except ArtifactError as error:
            raise ExportFailed(f"the export is not usable, and was not kept: {error}") from error
        for report in reports:
            console.print(to_table(report))
            for line in verdict(report):
                console.print(line, soft_wrap=True)
        if not all(report.ok for report in reports):
            raise ExportFailed(
                f"{path.name} does not compute what PyTorch computes, and was not kept; see the lines above"
            )

    publish(path, write, check, force)
