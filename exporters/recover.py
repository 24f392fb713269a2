"""Recover the network's weights from exported files: any format, ours or released, one file or several.

From one file it takes the weights that the file computes with. Each file bounds every weight by an interval, because
each rounds in its own way. From several files it intersects the intervals and takes the middle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporters import load_recovery
from exporters.artifact import Artifact
from exporters.layers import SEGMENTATION
from exporters.lowering.folding import folded_convs, folded_state_dict
from exporters.recovery.architecture import architecture
from exporters.recovery.dataflow import Interval, RecoveryError
from exporters.recovery.match import Weights, match
from rvm_model.network.matting_network import MattingNetwork
from rvm_model.state import REFINERS, VARIANTS
from rvm_model.weights.checkpoint import Checkpoint, Origin, expected_shapes, weights_sha256

_SLACK = 1e-5
"""The relative error that float32 arithmetic adds to a rounded number."""

_LISTED = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Recovered:
    """Weights recovered from files, and remarks on how.

    `quirks` are those of each file, see `dataflow.Dataflow`. `weights` are the numbers of each file, with their
    intervals.
    """

    checkpoint: Checkpoint
    remarks: tuple[str, ...]
    artifacts: tuple[Artifact, ...]
    quirks: Mapping[Path, frozenset[str]]
    weights: Mapping[Path, Weights]


def recover(artifacts: Sequence[Artifact]) -> Recovered:
    """Recover the weights that files hold.

    Args:
        artifacts: Opened files or folders of any format, of the same weights.

    Raises:
        ArtifactError: a file is damaged.
        RecoveryError: a file is not a matting network as we know it, or files contradict each other.
        MissingPackage: a package that a format needs is not installed.
        Untrusted: a file is code, and was not opened as trusted.
    """
    read: list[tuple[Path, Weights]] = []
    quirks: dict[Path, frozenset[str]] = {}
    for artifact in artifacts:
        path, reader = artifact.path, load_recovery(artifact.format)
        try:
            graph = reader.dataflow(artifact)
            weights, state_dict = (match(graph), None) if graph.named is None else _named(graph.named)
        except RecoveryError as error:
            raise RecoveryError(f"{path} cannot be recovered: {error}") from error
        quirks[path] = weights.quirks
        read.append((path, weights))
    if len(read) > 1 or state_dict is None:
        weights = read[0][1] if len(read) == 1 else _intersected(read)
        state_dict = _state_dict(weights)
    origin: Origin = "seeded" if artifacts[0].metadata.get("checkpoint") == "seeded" else "file"
    checkpoint = Checkpoint(
        variant=weights.architecture.variant,
        refiner=weights.architecture.refiner,
        origin=origin,
        name=" and ".join(str(each.path) for each in artifacts),
        # No checkpoint file exists to hash. The hash of the weights is the same for every file of these weights.
        sha256=weights_sha256(state_dict),
        state_dict=state_dict,
    )
    absent = not state_dict[f"{SEGMENTATION}.weight"].any()
    remarks = [
        *weights.remarks,
        *_dequantised(weights),
        *([f"{SEGMENTATION.partition('.')[0]} is not in it, and is zeros"] if absent else []),
    ]
    return Recovered(
        checkpoint=checkpoint, remarks=tuple(remarks), artifacts=tuple(artifacts), quirks=quirks, weights=dict(read)
    )


def _named(arrays: Mapping[str, NDArray[Any]]) -> tuple[Weights, dict[str, Tensor] | None]:
    """Return the weights and state dict of a file that kept the network's own names, with batch norm unfolded."""
    given = {key: tuple(array.shape) for key, array in arrays.items()}
    pairs = [(variant, refiner) for variant in VARIANTS for refiner in REFINERS]
    found = next((pair for pair in pairs if expected_shapes(*pair) == given), None)
    if found is None:
        raise RecoveryError("it has the names of a checkpoint, but not all that a matting network has, or other shapes")
    state_dict: dict[str, Tensor] = {}
    for key, array in arrays.items():
        tensor = torch.from_numpy(np.array(array))
        state_dict[key] = tensor.float() if tensor.is_floating_point() else tensor
    for key, tensor in state_dict.items():
        if not torch.isfinite(tensor).all() or (key.endswith("running_var") and (tensor < 0).any()):
            raise RecoveryError(f"its {key} holds a value that is not finite, or a negative variance")
    network = MattingNetwork(*found)
    network.load_state_dict(state_dict)
    stored = next(str(array.dtype) for key, array in arrays.items() if key.endswith(".weight"))
    half = {"float16": 2.0**-11, "float32": 2.0**-24}.get(stored, 0.0)

    def interval(values: NDArray[np.float64]) -> Interval:
        return Interval(values=values, half=np.abs(values) * half, stored=stored)

    convs = folded_convs(network)
    weights = Weights(
        architecture=architecture(*found),
        kernels={name: interval(conv.weight) for name, conv in convs.items()},
        offsets={name: None if conv.bias is None else interval(conv.bias) for name, conv in convs.items()},
        remarks=("it has the network's own names, and batch norm as it was trained",),
    )
    return weights, state_dict


def _state_dict(weights: Weights) -> dict[str, Tensor]:
    kernels = {name: interval.values for name, interval in weights.kernels.items()}
    offsets = {name: None if interval is None else interval.values for name, interval in weights.offsets.items()}
    return folded_state_dict(weights.architecture.variant, weights.architecture.refiner, kernels, offsets)


def _intersected(read: Sequence[tuple[Path, Weights]]) -> Weights:
    """Intersect the intervals of several files into one set of weights."""
    first_path, first = read[0]
    for path, weights in read[1:]:
        if weights.architecture.variant != first.architecture.variant:
            raise RecoveryError(
                f"{first_path} is a {first.architecture.variant}, {path} a {weights.architecture.variant}; give files "
                "of the same weights"
            )
    refiner = min(weights.architecture.refiner for _, weights in read)  # the deep guided filter, if one has it
    expected = architecture(first.architecture.variant, refiner)
    kernels: dict[str, Interval] = {}
    offsets: dict[str, Interval | None] = {}
    contradictions: list[str] = []
    count = total = 0
    for module in expected.modules:
        for target, tables in ((kernels, "kernels"), (offsets, "offsets")):
            given = [each for _, weights in read if (each := getattr(weights, tables).get(module)) is not None]
            target[module], wrong = _middle(given) if given else (None, 0)  # type: ignore[assignment]
            total += given[0].values.size if given else 0
            count += wrong
            if wrong:
                contradictions.append(f"{module} in {wrong} of {given[0].values.size}")
    if contradictions:
        more = f" and {len(contradictions) - _LISTED} more" if len(contradictions) > _LISTED else ""
        raise RecoveryError(
            f"{' and '.join(str(path) for path, _ in read)} are not of the same weights: they contradict each other in "
            f"{count} of {total} numbers, {', '.join(contradictions[:_LISTED])}{more}"
        )
    remarks = [f"{path}: {remark}" for path, weights in read for remark in (*weights.remarks, *_dequantised(weights))]
    return Weights(architecture=expected, kernels=kernels, offsets=offsets, remarks=tuple(remarks))


def _middle(given: Sequence[Interval]) -> tuple[Interval, int]:
    """Return the middle of the intersection of intervals, and the number of weights whose intersection is empty."""
    slack = [_SLACK * np.abs(each.values) + _SLACK * each.half for each in given]
    low = np.max([each.values - each.half for each in given], axis=0)
    high = np.min([each.values + each.half for each in given], axis=0)
    wrong = int((low - high > np.max(slack, axis=0)).sum())
    middle = Interval(values=(low + high) / 2, half=np.maximum(high - low, 0) / 2, stored="intervals")
    return middle, wrong


def _dequantised(weights: Weights) -> list[str]:
    """Return remarks on how kernels and offsets were stored, other than in float32 or as intersected intervals."""
    intervals = [each for each in (*weights.kernels.values(), *weights.offsets.values()) if each is not None]
    kinds: dict[str, int] = {}
    for each in intervals:
        kinds[each.stored] = kinds.get(each.stored, 0) + 1
    said = {kind: count for kind, count in kinds.items() if kind not in ("float32", "intervals")}
    return [f"{count} of {len(intervals)} tensors were stored in {kind}" for kind, count in said.items()]
