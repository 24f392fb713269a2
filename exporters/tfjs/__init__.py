"""TensorFlow.js graph models: a folder with a model.json and its weights, or that in a zip file."""

from dataclasses import dataclass
from pathlib import Path

from exporters.spec import ExportSpec, Format, RuntimeInfo
from exporters.support.archive import holds

MODEL = "model.json"

CONVERTER = "4.22.0"
"""The release of the tensorflowjs package that converts. Its pins break this environment, so no extra can name it."""


@dataclass(frozen=True, kw_only=True)
class TfjsSpec(ExportSpec):
    """One TensorFlow.js model."""

    def words(self) -> list[str]:
        return ["tfjs"]


def recognise(path: Path) -> bool:
    """By its model.json, whatever this says: what is wrong with it, `inspect` tells."""
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
        "node": RuntimeInfo(module="node_runtime", extra="tfjs", packages=()),
        "chromium-wasm": RuntimeInfo(module="chromium_wasm_runtime", extra="tfjs", packages=()),
        "chromium-webgl": RuntimeInfo(module="chromium_webgl_runtime", extra="tfjs", packages=()),
        "chromium-webgpu": RuntimeInfo(module="chromium_webgpu_runtime", extra="tfjs", packages=()),
    },
    recognise=recognise,
    spec=TfjsSpec,
)
