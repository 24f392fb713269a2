"""TensorFlow.js graph models: a folder with a model.json and its weights, or such a folder in a zip file."""

from dataclasses import dataclass, field
from pathlib import Path

from exporters.format import Format, RuntimeInfo
from exporters.spec import COEFFICIENTS, ExportSpec, SpecError
from exporters.support.archive import holds

MODEL = "model.json"

CONVERTER = "4.22.0"
"""The version of the tensorflowjs package, the converter. Its pins break this environment, so no extra can name it."""


@dataclass(frozen=True, kw_only=True)
class TfjsSpec(ExportSpec):
    """One TensorFlow.js model."""

    outputs: str = field(
        default="fgr,pha",
        metadata={
            "help": "Outputs besides the states: fgr,pha. Or coefficients: src is the frame at internal size, and A "
            "and b give the matte at full size as A * x + b, which shaders of full_size.js compute."
        },
    )

    def __post_init__(self) -> None:
        if self.outputs not in ("fgr,pha", COEFFICIENTS):
            raise SpecError(f"outputs {self.outputs!r}: give fgr,pha or coefficients; the states always stay")

    @property
    def gives_line(self) -> bool:
        """Return True for a model of coefficients, see `Artifact.gives_line`."""
        return self.outputs == COEFFICIENTS

    def words(self) -> list[str]:
        return ["tfjs", *([self.outputs] if self.gives_line else [])]


def recognise(path: Path) -> bool:
    """Return True if it has a model.json, whatever its content: `inspect` reports what is wrong with it."""
    return holds(path, MODEL)


FORMAT = Format(
    title="TensorFlow.js",
    help="Export TensorFlow.js: a graph model for browsers and Node, NHWC.",
    suffix=".zip",
    precisions=("int8", "fp16", "fp32"),
    values=dict.fromkeys(("int8", "fp16", "fp32"), "float32"),
    extra="tfjs",
    packages=("tensorflow", "packaging", "tensorflowjs"),
    afterwards=f"pip install --no-deps tensorflowjs=={CONVERTER}",
    runtimes={
        "node": RuntimeInfo(module="node", extra="tfjs", packages=()),
        "chromium-wasm": RuntimeInfo(module="chromium", options={"backend": "wasm"}, extra="tfjs", packages=()),
        "chromium-webgl": RuntimeInfo(module="chromium", options={"backend": "webgl"}, extra="tfjs", packages=()),
        "chromium-webgpu": RuntimeInfo(module="chromium", options={"backend": "webgpu"}, extra="tfjs", packages=()),
    },
    not_run=("GPU",),
    recognise=recognise,
    spec=TfjsSpec,
    call="model.execute({name: tensor}, outputs), or matting.draw(frame, canvas) of rvm.js,",
    first_states="a scalar zero",
)
