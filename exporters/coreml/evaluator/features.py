"""A model's inputs and outputs according to its description: images of eight bits, and tensors."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporters.artifact import ArtifactError
from exporters.coreml.protobufs import protobuf_module

_CHANNELS = {"RGB": 3, "BGR": 3, "GRAYSCALE": 1}
_DTYPES = {"FLOAT32": "float32", "FLOAT16": "float16"}
_LEVELS = 255


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One input, output or state.

    `shape` is (1, channels, height, width) for an image. For a tensor it is that of the description, or () if an output
    has none. `dtype` is numpy's name, uint8 for an image. `colour` is RGB, BGR or GRAYSCALE for an image, and empty for
    a tensor. `default` fills an optional input that the caller leaves out.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    colour: str = ""
    optional: bool = False
    default: float = 0

    @property
    def is_image(self) -> bool:
        return self.colour != ""


def feature(message: Any) -> Feature:
    """Return the feature of a `FeatureDescription` message.

    Raises ArtifactError if it is neither an image nor a tensor of floats.
    """
    kind = message.type.WhichOneof("Type")
    if kind == "imageType":
        return _image(message)
    if kind == "multiArrayType":
        return _tensor(message, message.type.multiArrayType)
    if kind == "stateType":
        return _tensor(message, message.type.stateType.arrayType)
    raise ArtifactError(f"it has {message.name[:100]!r}, a {kind}; a matting network has images, tensors and states")


def _image(message: Any) -> Feature:
    image = message.type.imageType
    spaces = protobuf_module("FeatureTypes").ImageFeatureType.ColorSpace
    colour = spaces.Name(image.colorSpace) if image.colorSpace in spaces.values() else str(image.colorSpace)
    if colour not in _CHANNELS or min(image.width, image.height) < 1:
        raise ArtifactError(f"its image {message.name[:100]!r} is {colour}, {image.width}x{image.height}")
    return Feature(
        name=message.name,
        shape=(1, _CHANNELS[colour], image.height, image.width),
        dtype="uint8",
        colour=colour,
        optional=message.type.isOptional,
    )


def _tensor(message: Any, array: Any) -> Feature:
    kinds = protobuf_module("FeatureTypes").ArrayFeatureType.ArrayDataType
    dtype = kinds.Name(array.dataType) if array.dataType in kinds.values() else str(array.dataType)
    if dtype not in _DTYPES or min(array.shape, default=1) < 1:
        raise ArtifactError(
            f"its {message.name[:100]!r} is {dtype} {tuple(array.shape)}; float16 and float32 are known"
        )
    return Feature(
        name=message.name,
        shape=tuple(array.shape),
        dtype=_DTYPES[dtype],
        optional=message.type.isOptional,
        default=array.floatDefaultValue,
    )


def to_tensor(feature: Feature, given: NDArray[Any] | None) -> Tensor:
    """Convert a caller's input to the program's tensor.

    Args:
        feature: An input.
        given: For an image, uint8 (height, width, 3) RGB or (height, width) gray; or floats from 0 to 255, not rounded,
            (1, channels, height, width), channels in the order RGB. For a tensor, floats of its shape. None for an
            optional input's default.

    Raises:
        ValueError: a required input is None, or an input has another shape or dtype.
    """
    if given is None:
        if not feature.optional:
            raise ValueError(f"{feature.name} is not given, and has no default")
        return torch.full(feature.shape, feature.default)
    if feature.is_image and given.dtype == np.uint8:
        planes = given[None, None] if given.ndim == 2 else np.moveaxis(given, -1, 0)[None]
    elif np.issubdtype(given.dtype, np.floating):
        planes = given if feature.is_image else given.astype(feature.dtype)
    else:
        raise ValueError(f"{feature.name} cannot be made of {given.dtype}")
    if planes.shape != feature.shape:
        raise ValueError(f"{feature.name} has the shape {given.shape}; {feature.shape} is needed")
    tensor = torch.from_numpy(planes.astype(np.float32, order="C"))
    return tensor.flip(1) if feature.colour == "BGR" else tensor


def to_array(feature: Feature, value: Tensor, rounded: bool) -> NDArray[Any]:
    """Convert an output of the program to an array that belongs to the caller.

    Args:
        feature: An output.
        value: Its value.
        rounded: True returns an image as uint8, (height, width, 3) RGB or (height, width) gray, rounded to the nearest
            level. False returns float32, (1, channels, height, width), channels in the order RGB, neither rounded nor
            clipped. A tensor has its own dtype either way.

    Raises:
        ArtifactError: an image to be rounded contains NaN.
    """
    if not feature.is_image:
        return value.numpy().astype(feature.dtype, copy=True)
    planes = (value.flip(1) if feature.colour == "BGR" else value).numpy().astype(np.float32, copy=True)
    if not rounded:
        return planes
    if np.isnan(planes).any():
        raise ArtifactError(f"its image {feature.name!r} has values that are no numbers")
    levels = np.rint(planes.clip(0, _LEVELS)).astype(np.uint8)
    return np.ascontiguousarray(levels[0, 0] if len(levels[0]) == 1 else np.moveaxis(levels[0], 0, -1))
