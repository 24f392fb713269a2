"""Say whether a file fits the programs that call it: play it their way and ours, and compare the mattes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from exporters import FORMATS, describe, load_runtime, recognise, require_packages
from exporters.artifact import Artifact, ArtifactError
from exporters.full_size import at_full_size
from exporters.onnx.load import read_model
from exporters.onnx.runtimes.session import ERRORS, session_options
from rvm_model.errors import first_line
from rvm_model.video.synthetic.clip import draw_frames
from tools.doctor.contracts import Contract
from tools.doctor.play import Array, Misfit, play

FRAMES = 4
LIMIT = 1e-4
"""The largest difference of the alpha that comes from another order of sums, as between whole and broadcast zeros."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The verdict for one program; `reason` says what was found in a clause."""

    contract: Contract
    fits: bool
    reason: str


def examine(path: Path, contracts: Iterable[Contract], portable: bytes | None = None) -> Iterator[Finding]:
    """Yield a finding for each contract.

    Args:
        path: An ONNX file, of any exporter.
        contracts: The programs.
        portable: The same model in onnxruntime's own format, to be played their way in place of the file.

    Raises:
        ArtifactError: no ONNX file, or one that is damaged.
    """
    name = recognise(path)
    if name != "onnx":
        raise ArtifactError(f"{path} is {FORMATS[name].title}; doctor plays ONNX files")
    require_packages("doctor", FORMATS[name].runtimes["onnxruntime"].packages, "onnx")
    model = read_model(path)
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    content = model.SerializeToString()  # what was checked, and not what the path may lead to by now
    try:
        session = ort.InferenceSession(portable or content, session_options(), providers=["CPUExecutionProvider"])
    except ERRORS as error:
        raise ArtifactError(f"{path} does not load in onnxruntime: {first_line(error)}") from error
    artifact = _described(path)
    for contract in contracts:
        try:
            yield Finding(contract=contract, fits=True, reason=_fit(session, contract, artifact, opset))
        except Misfit as error:
            yield Finding(contract=contract, fits=False, reason=str(error))


def _described(path: Path) -> Artifact | None:
    """Return the description of a file with the names of the released ones; None for any other."""
    try:
        return describe(path)
    except ArtifactError:
        return None


def _fit(session: ort.InferenceSession, contract: Contract, artifact: Artifact | None, opset: int) -> str:
    """Return what was found in a file that fits. Raises Misfit for any other."""
    least, most = contract.opsets or (opset, opset)
    if not least <= opset <= most:
        raise Misfit(f"it reads the operator sets {least} to {most}, and the file has {opset}")
    frames = [*draw_frames(FRAMES, contract.width, contract.height)]
    mattes = play(session, contract, frames)
    played = f"{FRAMES} frames of {contract.width}x{contract.height} played"
    if artifact is None:
        return f"{played}; its names are not the released ones, so the alpha was not compared"
    error = max(float(np.abs(a - b).max()) for a, b in zip(mattes, _own(artifact, contract, frames), strict=True))
    if not error <= LIMIT:
        raise Misfit(f"the alpha that it shows is off by {error:.2g} from what the file computes when called right")
    return f"{played}, the alpha within {error:.1e} of what the file computes when called right"


def _own(artifact: Artifact, contract: Contract, frames: Sequence[NDArray[np.uint8]]) -> Iterator[Array]:
    """Yield the alpha of each frame, called as the file wants it."""
    ratio = artifact.baked_ratio or contract.ratio or 1
    with load_runtime("onnx", "onnxruntime").load(artifact, "cpu", ratio) as file_step:
        step, state = at_full_size(artifact, ratio, file_step), None
        for frame in frames:
            src = frame.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
            matte, state = step(src, state if contract.feeds_back else None)
            if matte.pha is None:
                raise Misfit("it has no alpha to compare with")
            yield matte.pha
