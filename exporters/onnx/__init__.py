"""ONNX, built node by node from the lowered program."""

from pathlib import Path

from exporters.spec import Format


def recognise(path: Path) -> bool:
    """An ONNX file is a protobuf message without a signature; its first field is the IR version, a small number."""
    with path.open("rb") as file:
        head = file.read(2)
    return len(head) == 2 and head[0] == 0x08 and 3 <= head[1] <= 32


FORMAT = Format(
    title="ONNX",
    help="Export ONNX: dynamic batch, size and downsample ratio, opset 12.",
    suffix=".onnx",
    precisions=("fp32", "fp16"),
    extra="onnx",
    packages=("onnx", "onnxruntime"),
    recognise=recognise,
)
