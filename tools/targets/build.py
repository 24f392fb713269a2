"""Make the folder of a target: the file, proved; its card, golden frames, and a project that plays it."""

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from exporters import FORMATS, load_exporter, open_artifact
from exporters.artifact import Artifact, ArtifactError
from exporters.spec import ExportSpec, Fixed
from exporters.support.licence import licence_text
from parity_tests.clips import load_clip
from parity_tests.reports.parity_report import verdict
from rvm_model.weights.checkpoint import Checkpoint
from tools.companions import GOLDEN, card_of
from tools.companions.calling import how_to_call
from tools.companions.cards import to_card
from tools.companions.describe import describe_file
from tools.companions.golden import FRAMES, SIZES, Size, pack, vectors
from tools.doctor.contracts import read_contracts
from tools.doctor.examine import examine
from tools.shared.console import Stage
from tools.shared.outputs import ExportFailed
from tools.shared.prove import prove
from tools.targets.targets import Target

README = "README.md"
_RELEASED = "rvm_mobilenetv3_fp32.onnx"
"""The name of the model in the programs, which are those of the docs."""

_FEW_FRAMES = 2
"""Golden frames of a file of one size, whose frames are large."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """The file of a folder. `portable` is the name of its copy in onnxruntime's own format, or empty."""

    path: Path
    spec: ExportSpec
    artifact: Artifact
    portable: str = ""
    finding: str = ""


def build(target: Target, size: Fixed | None, checkpoint: Checkpoint, folder: Path, stage: Stage) -> None:
    """Write a folder, which must not exist.

    Args:
        target: The consumer.
        size: The size of its file, or None for any.
        checkpoint: The weights, of the targets' variant.
        folder: The folder to make.
        stage: Shows what is being made.

    Raises:
        UserError: a package is missing.
        ExportFailed: the file does not compute what PyTorch computes, or does not fit its consumer.
    """
    folder.mkdir()
    model = _model(target, size, checkpoint, folder, stage)
    stage.update("computing golden frames")
    sizes = SIZES if size is None else (Size(width=size.width, height=size.height, ratio=size.ratio),)
    frames = FRAMES if size is None else _FEW_FRAMES
    pack(vectors([checkpoint], sizes, frames), folder / GOLDEN)
    _project(target, model, folder)
    text = f"{frames} frames of {' and of '.join(map(str, sizes))}"
    (folder / README).write_text(_readme(target, model, checkpoint.seeded, text))
    (folder / "LICENSE").write_text(licence_text())


def _model(target: Target, size: Fixed | None, checkpoint: Checkpoint, folder: Path, stage: Stage) -> Model:
    """Export the file, prove it, and write its card."""
    spec = target.spec(size)
    name = spec.file_name(spec.suffix(FORMATS[target.format].suffix), checkpoint.seeded)
    path = folder / name
    try:
        stage.update(f"exporting {name}")
        load_exporter(target.format).export(checkpoint, spec, path)
        stage.update(f"verifying {name}")
        proof = prove(open_artifact(path, trust=True), checkpoint, load_clip(None))
    except ArtifactError as error:
        raise ExportFailed(f"{name} could not be made: {error}") from error
    failures = [line for report in proof.reports if not report.ok for line in verdict(report)]
    if failures:
        raise ExportFailed("; ".join(failures))
    entry = describe_file(path, target.format, spec, checkpoint, proof.artifact, proof.reports)
    card_of(path).write_text(to_card(entry, checkpoint.seeded))
    portable = ""
    if target.portable:
        from exporters.onnx.ort_format import write_ort  # onnxruntime is for targets that have it

        portable = path.with_suffix(".ort").name
        write_ort(path, folder / portable)
    finding = _finding(target, path, folder / portable if portable else None, stage)
    return Model(path=path, spec=spec, artifact=proof.artifact, portable=portable, finding=finding)


def _finding(target: Target, path: Path, portable: Path | None, stage: Stage) -> str:
    """Return how the file fits the target's program; empty if there is no contract. Raises ExportFailed."""
    if not target.contract:
        return ""
    stage.update(f"playing {path.name} as {target.contract} does")
    contract = read_contracts()[target.contract]
    kinds = [None, *([portable.read_bytes()] if portable else [])]
    findings = [each for kind in kinds for each in examine(path, [contract], kind)]
    for finding in findings:
        if not finding.fits:
            raise ExportFailed(f"{path.name} does not fit {contract.title}: {finding.reason}")
    return findings[0].reason


def _project(target: Target, model: Model, folder: Path) -> None:
    """Copy the programs, with the model's name in them."""
    examples = Path(__file__).parent / "examples"
    for file in target.files:
        place = folder / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text((examples / file.source).read_text("utf-8").replace(_RELEASED, model.path.name), "utf-8")


def _readme(target: Target, model: Model, seeded: bool, sizes: str) -> str:
    # S701: it is Markdown, not HTML.
    environment = Environment(  # noqa: S701
        loader=PackageLoader("tools.targets", ""),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    names = {"{file}": model.path.name, "{portable}": model.portable}
    if size := model.artifact.fixed:
        names |= {"{width}": f"{size.width}", "{height}": f"{size.height}", "{ratio}": f"{size.ratio}"}
    steps = list(target.steps)
    for key, value in names.items():
        steps = [step.replace(key, value) for step in steps]
    return environment.get_template("readme.md.jinja").render(
        target=target,
        file=model.path.name,
        portable=model.portable,
        sizes=sizes,
        steps=steps,
        call=how_to_call(model.artifact),
        finding=model.finding,
        contract=read_contracts().get(target.contract),
        seeded=seeded,
    )
