"""ONNX files, built node by node from the lowered program."""

from dataclasses import dataclass, field
from pathlib import Path

from exporters.format import Format, RuntimeInfo
from exporters.onnx.profiles import PROFILES
from exporters.spec import COEFFICIENTS, FixableSpec, SpecError
from rvm_model.files import open_file

DEFAULT_OPSET, INT8_OPSET, OPSETS = 12, 13, range(12, 22)
"""DequantizeLinear supports a step per channel from opset 13 on."""


@dataclass(frozen=True, kw_only=True)
class OnnxSpec(FixableSpec):
    """One ONNX file."""

    opset: int = field(
        default=None,  # type: ignore[assignment]  # __post_init__ replaces None by the precision's default
        metadata={
            "help": "Operator set, 12 to 21. Default: 12, as in the released files; 13 for int8.",
            "usual": DEFAULT_OPSET,
        },
    )
    primitive_activations: bool = field(
        default=False, metadata={"help": "Write HardSwish and HardSigmoid as Mul, Add and Clip."}
    )
    ceil_free: bool = field(
        default=False, metadata={"help": "Write the ceil-mode average pool as pad, pool and an exact correction."}
    )
    banded: bool = field(
        default=False,
        metadata={"help": "Upsample the matte's rows by MatMul instead of Resize: faster in onnxruntime on a CPU."},
    )
    outputs: str = field(
        default="fgr,pha",
        metadata={
            "help": "Outputs besides the states: fgr, pha or fgr,pha. Or coefficients: src is the frame at internal "
            "size, and A and b give the matte at full size as A * x + b, for a shader to compute."
        },
    )
    io_dtype: str = field(
        default="same",
        metadata={"help": "Dtype of inputs and outputs: same (the file's), or fp32 for an fp16 file."},
    )

    io: str = field(
        default="nchw",
        metadata={
            "help": "Layout of src, fgr and pha. nchw: the file's dtype, (B, C, H, W) in [0, 1]. uint8-nhwc: bytes, "
            "(B, H, W, C) in 0 to 255, RGB. uint8-nhwc-bgr: bytes in OpenCV's order."
        },
    )
    simplify: bool = field(default=False, metadata={"help": "Run onnxsim on the graph."})
    calibration: str | None = field(
        default=None,
        metadata={
            "help": "For int8: a video, or a folder of pictures, whose first 16 frames set the quantisation ranges. "
            "Verification never uses these frames. Default: builtin, a drawn clip."
        },
    )

    def __post_init__(self) -> None:
        if self.opset is None:
            object.__setattr__(self, "opset", INT8_OPSET if self.precision == "int8" else DEFAULT_OPSET)
        if self.opset not in OPSETS:
            raise SpecError(f"opset {self.opset} is not one of {OPSETS[0]} to {OPSETS[-1]}")
        if self.outputs not in ("fgr,pha", "fgr", "pha", COEFFICIENTS):
            raise SpecError(f"outputs {self.outputs!r}: give fgr, pha, fgr,pha or coefficients; the states always stay")
        if self.gives_line and (self.image_bytes or self.banded):
            left_out = "--banded" if self.banded else "--io"
            raise SpecError(f"a file of coefficients has no full-size images; leave {left_out} out")
        if self.io_dtype not in ("same", "fp32"):
            raise SpecError(f"io dtype {self.io_dtype!r} is not one of same, fp32")
        if self.io not in ("nchw", "uint8-nhwc", "uint8-nhwc-bgr"):
            raise SpecError(f"io {self.io!r} is not one of nchw, uint8-nhwc, uint8-nhwc-bgr")
        if self.io_dtype == "fp32" and self.precision != "fp16":
            raise SpecError(
                f"a file of precision {self.precision} has fp32 inputs and outputs by itself; leave --io-dtype out"
            )
        if self.precision == "int8" and self.opset < INT8_OPSET:
            raise SpecError(f"int8 needs opset {INT8_OPSET} or later; leave --opset {self.opset} out")
        if self.precision == "int8" and self.simplify:
            raise SpecError("onnxsim takes int8 weights back to float32; leave --simplify out")
        if self.calibration == "":
            raise SpecError("--calibration is empty; give a video or a folder of pictures, or leave it out")
        if self.calibration is not None and self.precision != "int8":
            raise SpecError(
                f"a file of precision {self.precision} takes no calibration; leave --calibration out, or give "
                "--precision int8 alone"
            )
        if self.banded and self.fixed is not None and self.fixed.ratio == 1:
            raise SpecError(
                "a file of one size at ratio 1 brings nothing to full size; give a --downsample-ratio below 1, or "
                "leave --banded out"
            )

    @property
    def gives_line(self) -> bool:
        """Return True for a file of coefficients, see `Artifact.gives_line`."""
        return self.outputs == COEFFICIENTS

    @property
    def image_bytes(self) -> bool:
        """Return True if input and output images are bytes."""
        return self.io != "nchw"

    @property
    def bgr(self) -> bool:
        """Return True if those bytes are in OpenCV's order."""
        return self.io == "uint8-nhwc-bgr"

    def words(self) -> list[str]:
        usual = INT8_OPSET if self.precision == "int8" else DEFAULT_OPSET
        return [
            *super().words(),
            *([f"opset{self.opset}"] if self.opset != usual else []),
            *(["primitive"] if self.primitive_activations else []),
            *(["ceilfree"] if self.ceil_free else []),
            *(["banded"] if self.banded else []),
            *([self.outputs] if "," not in self.outputs else []),
            *(["io32"] if self.io_dtype == "fp32" else []),
            *([self.io.replace("-", "_")] if self.io != "nchw" else []),
            *(["simplified"] if self.simplify else []),
        ]


def recognise(path: Path) -> bool:
    """Return True if the first bytes look like ONNX.

    An ONNX file is a protobuf message without a signature. Its first field is the IR version, a small number.
    """
    if path.is_dir():
        return False
    with open_file(path) as file:
        head = file.read(2)
    return len(head) == 2 and head[0] == 0x08 and 3 <= head[1] <= 32


FORMAT = Format(
    title="ONNX",
    help="Export ONNX: for any batch, size and downsample ratio, or for one.",
    suffix=".onnx",
    precisions=("fp32", "fp16", "int8"),
    values={"fp32": "float32", "fp16": "float16", "int8": "uint8"},
    extra="onnx",
    packages=("onnx",),
    runtimes={
        "onnxruntime": RuntimeInfo(module="runtimes.onnxruntime", extra="onnx", packages=("onnx", "onnxruntime")),
        "onnxruntime-web": RuntimeInfo(module="runtimes.onnxruntime_web", extra="onnx", packages=("onnx",)),
        "openvino": RuntimeInfo(module="runtimes.openvino", extra="openvino", packages=("onnx", "openvino")),
    },
    not_run=("CUDA", "TensorRT", "WebGPU"),
    recognise=recognise,
    spec=OnnxSpec,
    profiles=PROFILES,
    call="session.run(None, {name: array})",
    first_states="zeros of shape (1, 1, 1, 1)",
)
