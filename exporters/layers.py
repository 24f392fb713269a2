"""Open a network, or a file of it, at its layers, under names that are the same for all formats.

A point is one of these:

* a convolution with its batch norm, which files fold into it, under its module's name (`decoder.decode3.conv.0`);
* the new state of a GRU (`decoder.decode3.gru`);
* an output (`fgr`, `pha`).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from exporters.artifact import OUTPUTS, Artifact
from exporters.runtime import Frame
from rvm_model.network.matting_network import MattingNetwork

Array = NDArray[Any]
Values = Mapping[str, Array]
"""The values of one frame at every point, (B, C, h, w) each."""
LayerStep = Callable[[Frame, tuple[Array, ...], float], Values]
"""Maps a frame (B, 3, H, W), the states r1..r4 before it and the downsample ratio to the values at every point."""

STATES = {f"decoder.decode{k}.gru": name for k, name in enumerate(OUTPUTS[2:], start=1)}
"""The modules whose output is a state, and the state's name in files."""

SEGMENTATION = "project_seg.conv"
"""The only convolution that a matte does not need. No file contains it."""

BOX_FILTER = "refiner.box_filter"
"""The only module that the network calls several times per frame."""

# Parts of the network that a graph may compute by other convolutions than the network: split, merged or left out.
_REGROUPED = re.compile(r"/?(decoder[./]decode\d[./]gru|refiner)([./]|$)")


@dataclass(frozen=True, kw_only=True, eq=False)
class Layers:
    """One side of a comparison. `parts` are convolutions of a file that have no counterpart in the network."""

    step: LayerStep
    parts: tuple[str, ...] = ()


class Opener(Protocol):
    def open_layers(self, artifact: Artifact, network: MattingNetwork) -> Layers:
        """Return a file ready to run on the CPU with the values of all its points.

        `network` has the weights that the file should hold. Raises ArtifactError if the file's convolutions do not map
        one to one to the network's, or if it does not run.
        """


def regrouped(name: str) -> bool:
    """Return True if a convolution may have no counterpart: it belongs to a GRU or to the refiner."""
    return _REGROUPED.match(name) is not None


def call_name(module: str, call: int) -> str:
    """Return a point's name, with the number of the call if a frame calls the module more than once."""
    return module if call == 0 else f"{module}#{call + 1}"


def module_of(point: str) -> str:
    """Return the module of a point that `call_name` named."""
    return point.partition("#")[0]


@dataclass(frozen=True, kw_only=True)
class Step:
    """Rounding to eight bits: a value becomes `scale * (stored - zero)`, with `stored` an integer in 0..255."""

    scale: float
    zero: int


@dataclass(frozen=True, kw_only=True)
class ConvSteps:
    """The rounding of a convolution's input and of its output, after its ReLU if it has one."""

    given: Step
    result: Step
