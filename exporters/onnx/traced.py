"""Export the network through torch's own exporter at opset 12, as RVM v1.0.0's files were made.

The file has no metadata, its states share names of axes, and the exporter folds batch norm. Every file of ours is timed
against it, and tests use it in place of the released files.
"""

import warnings
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional as F

from exporters.artifact import INPUTS, OUTPUTS
from rvm_model.network.matting_network import MattingNetwork

interpolate = F.interpolate
_IMAGE = {0: "batch_size", 2: "height", 3: "width"}
_STATE = {0: "batch_size", 1: "channels", 2: "height", 3: "width"}


def export_traced(network: MattingNetwork, path: Path) -> None:
    """Write the file, in the network's dtype. The network should always refine, since a trace has no branches."""
    dtype = next(network.parameters()).dtype
    states = [torch.zeros(1, 1, 1, 1, dtype=dtype)] * 4
    arguments = (torch.rand(1, 3, 96, 128).to(dtype), *states, torch.tensor([0.5]))
    images = dict.fromkeys(("src", "fgr", "pha"), _IMAGE)
    with warnings.catch_warnings(), mock.patch.object(F, "interpolate", _interpolate):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            arguments,
            path,
            dynamo=False,
            opset_version=12,
            input_names=INPUTS,
            output_names=OUTPUTS,
            dynamic_axes=images | dict.fromkeys((*INPUTS[1:5], *OUTPUTS[2:]), _STATE),
        )


def _interpolate(x: Tensor, *arguments: Any, scale_factor: Any = None, **options: Any) -> Tensor:
    if isinstance(scale_factor, Tensor):
        resized: Tensor = _ResizeBy.apply(x, scale_factor)  # type: ignore[no-untyped-call]
        return resized
    return interpolate(x, *arguments, scale_factor=scale_factor, **options)  # type: ignore[misc]


class _ResizeBy(torch.autograd.Function):
    """A resize whose ratio is an input of the graph, which torch.onnx does not support."""

    @staticmethod
    def forward(ctx: object, x: Tensor, ratio: Tensor) -> Tensor:  # noqa: ARG004
        return interpolate(x, scale_factor=ratio.item(), mode="bilinear", recompute_scale_factor=False)

    @staticmethod
    def symbolic(g: Any, x: Any, ratio: Any) -> Any:
        none = g.op("Constant", value_t=torch.empty(0))
        scales = g.op("Concat", g.op("Constant", value_t=torch.ones(2)), ratio, ratio, axis_i=0)
        return g.op("Resize", x, none, scales, coordinate_transformation_mode_s="half_pixel", mode_s="linear")
