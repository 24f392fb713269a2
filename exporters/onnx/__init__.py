"""ONNX, built node by node from the lowered program."""

from dataclasses import dataclass, field
from pathlib import Path

from exporters.spec import FixableSpec, Format, SpecError

DEFAULT_OPSET, OPSETS = 12, range(12, 22)


@dataclass(frozen=True, kw_only=True)
class OnnxSpec(FixableSpec):
    """One ONNX file."""

    opset: int = field(default=DEFAULT_OPSET, metadata={"help": "Operator set, 12 to 21; 12 is the released files'."})
    primitive_activations: bool = field(
        default=False, metadata={"help": "Write HardSwish and HardSigmoid as Mul, Add and Clip."}
    )
    ceil_free: bool = field(
        default=False, metadata={"help": "Write the ceil-mode average pool as pad, pool and an exact correction."}
    )

    def __post_init__(self) -> None:
        if self.opset not in OPSETS:
            raise SpecError(f"opset {self.opset} is not one of {OPSETS[0]} to {OPSETS[-1]}")

    def words(self) -> list[str]:
        return [
            *super().words(),
            *([f"opset{self.opset}"] if self.opset != DEFAULT_OPSET else []),
            *(["primitive"] if self.primitive_activations else []),
            *(["ceilfree"] if self.ceil_free else []),
        ]


def recognise(path: Path) -> bool:
    """An ONNX file is a protobuf message without a signature; its first field is the IR version, a small number."""
    with path.open("rb") as file:
        head = file.read(2)
    return len(head) == 2 and head[0] == 0x08 and 3 <= head[1] <= 32


FORMAT = Format(
    title="ONNX",
    help="Export ONNX: for any batch, size and downsample ratio, or for one.",
    suffix=".onnx",
    precisions=("fp32", "fp16"),
    extra="onnx",
    packages=("onnx", "onnxruntime"),
    recognise=recognise,
    spec=OnnxSpec,
)
