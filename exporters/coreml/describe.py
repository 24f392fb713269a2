"""Write names, descriptions and licence into a CoreML file, for people and apps, but no date or machine.

The messages are CoreML's specification. This module imports nothing for them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from exporters.support.licence import LICENCE
from rvm_model import __version__

AUTHOR = "Shanchuan Lin, Linjie Yang, Imran Saleemi, Soumyadip Sengupta"
ABOUT = (
    "Robust Video Matting: foreground and alpha of people in video, frame by frame, with recurrent states. "
    "See the paper, Robust High-Resolution Video Matting with Temporal Guidance (arXiv:2108.11515)."
)

_TOOL = "com.github.apple.coremltools"

_IMAGES = {
    "src": "Source frame",
    "fgr": "Foreground prediction, not premultiplied",
    "pha": "Alpha prediction, 0 is background",
}
_LINE = {"A": "Slope", "b": "Offset"}


def describe(model: Any, metadata: Mapping[str, str], *, optional_states: bool) -> None:
    """Write the descriptions into a specification, and remove what depends on a clock or a build.

    Args:
        model: A `Model` message, with one function or several.
        metadata: From `exporters.support.metadata.identity`.
        optional_states: True if the states may be left out on the first frame.
    """
    words = model.description.metadata
    words.shortDescription, words.author, words.license = ABOUT, AUTHOR, LICENCE
    words.versionString = __version__
    words.userDefined.clear()
    words.userDefined.update(metadata)
    words.userDefined[f"{_TOOL}.version"] = metadata["coremltools_version"]
    words.userDefined[f"{_TOOL}.source"] = f"torch=={metadata['torch_version']}"
    words.userDefined[f"{_TOOL}.source_dialect"] = "TorchScript"
    for function in (model.description, *model.description.functions):
        for feature in (*function.input, *function.output, *function.state):
            feature.shortDescription = _feature(feature, optional_states)
    if model.HasField("mlProgram"):
        for build in _build_versions(model.mlProgram):
            build.values[:] = [value.partition("+")[0] for value in build.values]


def give_images(model: Any, width: int, height: int) -> None:
    """Turn fgr and pha of a neural network into images, since coremltools 9.0 converts them only as tensors."""
    for output in model.description.output:
        colour = {"fgr": "RGB", "pha": "GRAYSCALE"}.get(output.name)
        if colour is not None:
            image = output.type.imageType
            image.width, image.height = width, height
            image.colorSpace = image.ColorSpace.Value(colour)


def _feature(feature: Any, optional_states: bool) -> str:
    if feature.name in _LINE:
        return f"{_LINE[feature.name]} of the line A * x + b, (1, 4, h, w): red, green, blue and alpha"
    if feature.name in _IMAGES:
        tensor = feature.type.WhichOneof("Type") == "multiArrayType"
        return _IMAGES[feature.name] + (f", {_tensor(feature.name)}" if tensor else "")
    k = feature.name[1]
    if feature.type.WhichOneof("Type") == "stateType":
        return f"Recurrent state {k}, kept by the model; a new state for every clip."
    if feature.name.endswith("i"):
        omitted = ", or left out," if optional_states else ""
        return f"Recurrent state {k}. All zero{omitted} before the first frame, then r{k}o of the frame before."
    return f"Recurrent state {k}. To be passed as r{k}i with the next frame."


def _tensor(name: str) -> str:
    return f"(1, {1 if name == 'pha' else 3}, height, width) in [0, 1]{'' if name == 'pha' else ', RGB'}"


def _build_versions(program: Any) -> Iterable[Any]:
    """Yield the lists of strings that name the tools that wrote the program."""
    for pair in program.attributes["buildInfo"].immediateValue.dictionary.values:
        yield pair.value.immediateValue.tensor.strings
