"""Make files: load the weights, export, prove, publish."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporters import FORMATS, load_exporter, open_artifact, require_packages
from exporters.artifact import Artifact, ArtifactError
from exporters.runtime import Exporter
from exporters.spec import ExportSpec
from parity_tests.clips import load_clip
from parity_tests.reports.parity_report import to_table, verdict
from parity_tests.verify import BUILTIN_RATIO, ParityReport, verify
from rvm_model.weights.checkpoint import Checkpoint
from tools.companions import card_of
from tools.companions.calling import how_to_call
from tools.shared.console import stderr_console, working
from tools.shared.models import maybe_seeded, open_checkpoint
from tools.shared.outputs import ExportFailed, OutputError, publish, refuse_existing, resolve_output, write_text


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Where and how files are written.

    * `output`: a file, if there is one spec, or a folder.
    * `force`: replace existing files.
    * `prove`: compare each file with PyTorch over the built-in clip before it gets its name; also the source of the
      weights, if that is an exported file.
    * `trust`: open a source that is code.
    * `card`: write a model card beside each file.
    """

    output: Path
    force: bool = False
    prove: bool = True
    trust: bool = False
    card: bool = False


def export_all(name: str, specs: Sequence[ExportSpec], source: str, options: ExportOptions) -> Iterator[Path]:
    """Export to a format, one file for each spec, and yield each file's path when it is written.

    Args:
        name: The format.
        specs: Specs of the format's class, all of one variant and refiner.
        source: A source of `open_checkpoint`.
        options: Where and how to write.

    Raises:
        UserError: a checkpoint, package or output path that cannot be used.
        ExportFailed: a file does not compute what PyTorch computes, or could not be written.
    """
    exporter = load_exporter(name)
    if options.card:
        _check_cards(options)
    _check_outputs(name, specs, source, options)
    checkpoint = open_checkpoint(source, specs[0].variant, specs[0].refiner, trust=options.trust, prove=options.prove)
    paths = _resolve_outputs(name, specs, checkpoint.seeded, options)
    for spec, path in zip(specs, paths, strict=True):
        _export_one(name, exporter, checkpoint, spec, path, options)
        yield path


def _check_cards(options: ExportOptions) -> None:
    """Raise UserError if no card can be written."""
    if not options.prove:
        raise OutputError("a card says how close the file is to PyTorch; leave --card or --no-verify out")
    require_packages("--card", ("jinja2", "pydantic"), "card")


def _check_outputs(name: str, specs: Sequence[ExportSpec], source: str, options: ExportOptions) -> None:
    """Raise OutputError for a fault that does not depend on the checkpoint, which can take long to open."""
    errors = []
    possible = maybe_seeded(source)
    for seeded in possible:
        try:
            _resolve_outputs(name, specs, seeded, options)
        except OutputError as error:
            errors.append(error)
    if len(errors) == len(possible):
        raise errors[0]


def _resolve_outputs(name: str, specs: Sequence[ExportSpec], seeded: bool, options: ExportOptions) -> list[Path]:
    """Return the path of each file. Raise OutputError if one, or its card, cannot be written."""
    output, force = options.output, options.force
    suffix, folder = specs[0].suffix(FORMATS[name].suffix), specs[0].is_folder
    if len(specs) > 1 and suffix and output.name.endswith(suffix):
        raise OutputError(f"{output} is one file, and {len(specs)} were asked for; give a folder as --output")
    paths = [resolve_output(output, spec.file_name(suffix, seeded), suffix, folder, seeded, force) for spec in specs]
    for path in paths:
        if path.is_dir() and not FORMATS[name].recognise(path):
            raise OutputError(f"{path} is a folder of something else, which is not replaced; give another --output")
        if options.card:
            refuse_existing(card_of(path), force)
            if card_of(path).is_dir():
                raise OutputError(f"{card_of(path)}, where the card goes, is a folder; give another --output")
    if len({*paths}) < len(paths):
        raise OutputError("two of the files asked for would have the same name; leave one out")
    return paths


def _export_one(
    name: str, exporter: Exporter, checkpoint: Checkpoint, spec: ExportSpec, path: Path, options: ExportOptions
) -> None:
    console = stderr_console()
    card = call = ""

    def write(staged: Path) -> None:
        try:
            with working(console, f"exporting {path.name}"):
                exporter.export(checkpoint, spec, staged)
        except ArtifactError as error:
            raise ExportFailed(f"{path.name} could not be made: {error}") from error

    def check(staged: Path) -> None:
        nonlocal card, call
        if not options.prove:
            return
        try:
            artifact, reports = _verify(staged, checkpoint)
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
        call = how_to_call(artifact)
        if options.card:
            card = _card(staged, name, spec, checkpoint, artifact, reports)

    publish(path, write, check, options.force)
    if options.card:
        write_text(card, card_of(path))
    console.print(f"how to call it: {call or f'see rvm-export info {path}'}", soft_wrap=True)


def _verify(staged: Path, checkpoint: Checkpoint) -> tuple[Artifact, list[ParityReport]]:
    """Compare a file that this command has just written with PyTorch, at each of its sizes."""
    text = f"verifying {staged.name}"
    with working(stderr_console(), text) as stage:
        artifact = open_artifact(staged, trust=True)
        ratio = BUILTIN_RATIO if artifact.baked_ratio is None else None

        def show(t: int) -> None:
            stage.update(text, f"frame {t + 1}")

        sizes = (artifact, *artifact.others)
        return artifact, [verify(each, checkpoint, load_clip(None), ratio, on_frame=show) for each in sizes]


def _card(
    staged: Path,
    name: str,
    spec: ExportSpec,
    checkpoint: Checkpoint,
    artifact: Artifact,
    reports: Sequence[ParityReport],
) -> str:
    # Their packages are needed for cards alone.
    from tools.companions.cards import to_card
    from tools.companions.describe import describe_file

    return to_card(describe_file(staged, name, spec, checkpoint, artifact, reports), checkpoint.seeded)
