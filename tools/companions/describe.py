"""Describe a file that was just made, from itself and from its comparisons with PyTorch."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from exporters.artifact import Artifact, TensorInfo
from exporters.spec import ExportSpec
from exporters.support.licence import LICENCE
from parity_tests.verify import ParityReport
from rvm_model.weights.checkpoint import Checkpoint
from tools.companions.content import size_and_sha256
from tools.companions.entry import Alpha, DescribedFile, MatteErrors, OutputErrors, Parity, Tensor, Truth
from tools.companions.versions import tools_of


def describe_file(
    path: Path, name: str, spec: ExportSpec, checkpoint: Checkpoint, artifact: Artifact, reports: Iterable[ParityReport]
) -> DescribedFile:
    """Return the description of a file or folder that was just made.

    Args:
        path: Where it lies now; its name is the final one.
        name: Its format.
        spec: The options that it was made with.
        checkpoint: Its weights.
        artifact: The file, opened.
        reports: Its comparisons with PyTorch.
    """
    size, sha256 = size_and_sha256(path)
    return DescribedFile(
        file=path.name,
        bytes=size,
        sha256=sha256,
        format=name,
        spec=json.loads(json.dumps(asdict(spec))),
        checkpoint_sha256=checkpoint.sha256,
        weights_sha256=checkpoint.weights_sha256,
        licence=LICENCE,
        tools=tools_of(name),
        inputs=tuple(map(_tensor, artifact.inputs)),
        outputs=tuple(map(_tensor, artifact.outputs)),
        parity=tuple(map(parity_of, reports)),
    )


def parity_of(report: ParityReport) -> Parity:
    """Return a report's figures in the form of the manifest."""
    height, width = report.size
    return Parity(
        function=report.function,
        runtime=report.runtime,
        clip=report.clip,
        frames=report.comparison.frames,
        width=width,
        height=height,
        downsample_ratio=report.ratio,
        outputs={
            name: OutputErrors(
                max_abs=drift.max_abs,
                mean_abs=drift.mean_abs,
                high_abs=drift.high_abs,
                limit_max_abs=report.limits[name].max_abs,
                limit_mean_abs=report.limits[name].mean_abs,
                limit_high_abs=report.limits[name].high_abs,
                yardsticks=report.multiples[name],
            )
            for name, drift in report.comparison.outputs.items()
        },
        alpha=Alpha(**asdict(report.comparison.alpha)),
        truth=_truth(report),
    )


def _truth(report: ParityReport) -> Truth | None:
    quality = report.quality
    if quality is None:
        return None
    pytorch, file = (
        MatteErrors(mad=each.mad, mse=each.mse, grad=each.grad, conn=each.conn, dtssd=each.dtssd)
        for each in (quality.pytorch, quality.file)
    )
    return Truth(pytorch=pytorch, file=file)


def _tensor(tensor: TensorInfo) -> Tensor:
    return Tensor(name=tensor.name, dtype=tensor.dtype, shape=tensor.shape)
