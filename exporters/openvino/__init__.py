"""OpenVINO IR: a graph as XML and its weights, in a folder or a zip file, converted from our ONNX graph."""

from dataclasses import dataclass, field
from pathlib import Path

from exporters.format import Format, RuntimeInfo
from exporters.spec import FixableSpec, SpecError
from exporters.support.archive import holds

GRAPH, WEIGHTS = "model.xml", "model.bin"
"""The two files. OpenVINO finds the second by the name of the first."""

STATES = ("r1", "r2", "r3", "r4")
"""The names of the variables of a stateful model."""

OMZ = {**{f"{state}i": state for state in STATES}, **{f"{state}o": f"r{state}" for state in STATES}}
"""The names that Open Model Zoo gives to our inputs and outputs. `src`, `fgr` and `pha` keep theirs."""

_PACKAGES = ("defusedxml", "onnx", "openvino")


@dataclass(frozen=True, kw_only=True)
class OpenvinoSpec(FixableSpec):
    """One IR: for one size, or for any batch, size and downsample ratio."""

    stateful: bool = field(
        default=False, metadata={"help": "Keep the states in the model as OpenVINO's variables: outputs fgr and pha."}
    )
    contract: str = field(
        default="",
        metadata={
            "help": "omz: names and preprocessing of Open Model Zoo's robust-video-matting-mobilenetv3, for one size."
        },
    )
    zip: bool = field(default=False, metadata={"help": "Write one zip file instead of a folder."})

    def __post_init__(self) -> None:
        if self.contract not in ("", "omz"):
            raise SpecError(f"contract {self.contract!r} is not omz; leave --contract out for our own names")
        if self.contract and self.stateful:
            raise SpecError("Open Model Zoo's programs hold the states themselves; leave --stateful or --contract out")
        if self.contract and self.fixed is None:
            raise SpecError(
                "Open Model Zoo's programs take a file of one size; give --resolution and --downsample-ratio, "
                "such as 1280x720 and 0.4"
            )

    def words(self) -> list[str]:
        stateful = ["stateful"] if self.stateful else []
        return [*super().words(), *stateful, *([self.contract] if self.contract else [])]

    def suffix(self, usual: str) -> str:
        return f"{usual}.zip" if self.zip else usual

    @property
    def is_folder(self) -> bool:
        return not self.zip


def recognise(path: Path) -> bool:
    """Return True if it has a graph of OpenVINO's, whatever its content: `inspect` reports what is wrong with it."""
    return holds(path, GRAPH)


FORMAT = Format(
    title="OpenVINO",
    help="Export OpenVINO IR: for any batch, size and downsample ratio, or for one.",
    suffix=".openvino",
    other_suffixes=(".zip",),
    precisions=("fp32", "fp16"),
    values={"fp32": "float32", "fp16": "float32"},
    extra="openvino",
    packages=_PACKAGES,
    runtimes={"openvino": RuntimeInfo(module="runtime", extra="openvino", packages=_PACKAGES)},
    not_run=("GPU", "NPU"),
    call="request.infer({name: array})",
    first_states="zeros of shape (1, 1, 1, 1)",
    recognise=recognise,
    spec=OpenvinoSpec,
)
