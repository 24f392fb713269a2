"""What it is to open a network, or a file of it, at its layers: points that have the same names on every side.

A point is a convolution, under its module's name (`decoder.decode3.conv.0`), with the batch norm behind it, which files
have folded in; or a GRU's new state (`decoder.decode3.gru`); or an output (`fgr`, `pha`).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from exporters.runtime import Frame
from exporters.spec import OUTPUTS, Artifact
from rvm_model.network.matting_network import MattingNetwork

Array = NDArray[Any]
Values = Mapping[str, Array]
"""What one frame leaves at every point, (B, C, h, w) each."""
LayerStep = Callable[[Frame, tuple[Array, ...], float], Values]
"""A frame (B, 3, H, W), the states r1..r4 before it and the downsample ratio to the values at every point."""

STATES = {f"decoder.decode{k}.gru": name for k, name in enumerate(OUTPUTS[2:], start=1)}
"""The modules whose output is a state, and the state's name in files."""

SEGMENTATION = "project_seg.conv"
"""The one convolution that a matte does not need, and that no file has."""

BOX_FILTER = "refiner.box_filter"
"""The one module that the network calls several times for a frame."""

# Parts of the network that a graph may compute by other convolutions than the network: split, merged or left out.
_REGROUPED = re.compile(r"/?(decoder[./]decode\d[./]gru|refiner)([./]|$)")


@dataclass(frozen=True, kw_only=True, eq=False)
class Layers:
    """One side of a comparison. `parts` are convolutions of a file that are none of the network's own."""

    step: LayerStep
    parts: tuple[str, ...] = ()


class Opener(Protocol):
    def open_layers(self, artifact: Artifact, network: MattingNetwork) -> Layers:
        """A file, ready to run on the CPU with the values of all its points.

        `network` has the weights that the file should hold. Raises ArtifactError if the convolutions of the file are
        not the network's, one to one, or if it does not run.
        """


def regrouped(name: str) -> bool:
    """Whether a convolution may lack a counterpart of its own: one of a GRU or of the refiner."""
    return _REGROUPED.match(name) is not None


def call_name(module: str, call: int) -> str:
    """A point's name, with the number of the call where a module is called more than once for a frame."""
    return module if call == 0 else f"{module}#{call + 1}"


def module_of(point: str) -> str:
    """The module of a point that `call_name` named."""
    return point.partition("#")[0]


@dataclass(frozen=True, kw_only=True)
class Step:
    """Rounding to eight bits: a value becomes `scale * (stored - zero)`, with `stored` an integer in 0..255."""

    scale: float
    zero: int


@dataclass(frozen=True, kw_only=True)
class ConvSteps:
    """The rounding of what a convolution is given and of what it results in, behind its ReLU where it has one."""

    given: Step
    result: Step
