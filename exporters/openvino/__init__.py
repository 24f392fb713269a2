"""OpenVINO IR: a graph as XML and its weights, in a folder or a zip file, converted from our ONNX graph."""

from dataclasses import dataclass, field
from pathlib import Path

from exporters.format import Format, RuntimeInfo
from exporters.spec import FixableSpec
from exporters.support.archive import holds

GRAPH, WEIGHTS = "model.xml", "model.bin"
"""The two files. OpenVINO finds the second by the name of the first."""

STATES = ("r1", "r2", "r3", "r4")
"""The names of the variables of a stateful model."""

_PACKAGES = ("defusedxml", "onnx", "openvino")


@dataclass(frozen=True, kw_only=True)
class OpenvinoSpec(FixableSpec):
    """One IR: for one size, or for any batch, size and downsample ratio."""

    stateful: bool = field(
        default=False, metadata={"help": "Keep the states in the model as OpenVINO's variables: outputs fgr and pha."}
    )
    zip: bool = field(default=False, metadata={"help": "Write one zip file instead of a folder."})

    def words(self) -> list[str]:
        return [*super().words(), *(["stateful"] if self.stateful else [])]

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
    recognise=recognise,
    spec=OpenvinoSpec,
)
