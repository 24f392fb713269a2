"""LiteRT models, .tflite: for one size each, converted from the lowered program by TensorFlow."""

from dataclasses import dataclass, field
from pathlib import Path

from exporters.format import Format, RuntimeInfo
from exporters.spec import COEFFICIENTS, FixableSpec, SpecError
from exporters.support.whole_sizes import refuse_fractions
from rvm_model.files import open_file

MAGIC = b"TFL3"
"""The file identifier of the flatbuffer, at byte 4."""

METADATA = "rvm_export"
"""The name of the metadata entry that holds ours, as JSON."""

INT8 = ("mix", "weights")
"""The ways to use eight bits: for all weights, and in `mix` also to compute the decoder's costly convolutions."""


@dataclass(frozen=True, kw_only=True)
class LitertSpec(FixableSpec):
    """One LiteRT model, for one size."""

    outputs: str = field(
        default="fgr,pha",
        metadata={
            "help": "Outputs besides the states: fgr, pha or fgr,pha. Or coefficients: src is the frame at internal "
            "size, and A and b give the matte at full size as A * x + b, for a shader to compute."
        },
    )
    int8: str = field(
        default="mix",
        metadata={
            "help": "For int8: mix (int8 weights, and int8 arithmetic in the decoder's large convolutions), or weights "
            "(float arithmetic throughout)."
        },
    )
    calibration: str | None = field(
        default=None,
        metadata={
            "help": "For int8: a video, or a folder of pictures, whose first 16 frames set the quantisation ranges. "
            "Verification never uses these frames. Default: builtin, a drawn clip."
        },
    )

    def __post_init__(self) -> None:
        if self.fixed is None:
            raise SpecError(
                "a LiteRT file is for one size; give --resolution, such as 1280x720, and --downsample-ratio"
            )
        if self.outputs not in ("fgr,pha", "fgr", "pha", COEFFICIENTS):
            raise SpecError(f"outputs {self.outputs!r}: give fgr, pha, fgr,pha or coefficients; the states always stay")
        if self.int8 not in INT8:
            raise SpecError(f"--int8 {self.int8!r} is not one of {', '.join(INT8)}")
        if self.int8 != "mix" and self.precision != "int8":
            raise SpecError(f"a file of precision {self.precision} has no eight bits; leave --int8 out")
        if self.calibration == "":
            raise SpecError("--calibration is empty; give a video or a folder of pictures, or leave it out")
        if self.calibration is not None and not self.is_calibrated:
            what = f"of precision {self.precision}" if self.precision != "int8" else "of int8 weights"
            raise SpecError(
                f"a file {what} takes no calibration; leave --calibration out, or give --precision int8 alone"
            )
        if self.fixed.batch != 1:
            raise SpecError(f"LiteRT files take one frame at a time, not {self.fixed.batch}; leave --batch out")
        if not self.gives_line:
            refuse_fractions(self.fixed, "LiteRT")

    @property
    def gives_line(self) -> bool:
        """Return True for a file of coefficients, see `Artifact.gives_line`."""
        return self.outputs == COEFFICIENTS

    @property
    def is_calibrated(self) -> bool:
        """Return True if ranges of values are measured for it."""
        return self.precision == "int8" and self.int8 == "mix"

    def words(self) -> list[str]:
        outputs = [] if "," in self.outputs else [self.outputs]
        return [*super().words(), *outputs, *([] if self.int8 == "mix" else [self.int8])]


def recognise(path: Path) -> bool:
    """Return True if it has the identifier of LiteRT's flatbuffers."""
    if path.is_dir():
        return False
    with open_file(path) as file:
        return file.read(8)[4:] == MAGIC


FORMAT = Format(
    title="LiteRT",
    help="Export LiteRT (TensorFlow Lite): for one size.",
    suffix=".tflite",
    precisions=("fp32", "fp16", "int8"),
    values={"fp32": "float32", "fp16": "float32", "int8": "uint8"},
    ratio_dtype="float64",  # a quotient of whole sizes
    extra="litert",
    packages=("tensorflow", "ai_edge_litert"),
    runtimes={"litert": RuntimeInfo(module="runtime", extra="litert", packages=("ai_edge_litert",))},
    not_run=("GPU", "NPU", "ARM"),
    recognise=recognise,
    spec=LitertSpec,
    one_size=True,
    call='interpreter.get_signature_runner("serving_default")(src=frame, ...)',
)
