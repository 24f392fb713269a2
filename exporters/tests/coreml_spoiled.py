"""Edited CoreML files, as a user might pass them, damaged or repaired."""

import shutil

from exporters.coreml.package import DIGEST
from exporters.coreml.protobufs import protobuf_module

SPECIFICATION = "Data/com.apple.CoreML/model.mlmodel"
WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"
FRACTION = 1e-4
"""The number that coremltools adds to a length, so that the floor of a float32 product is the length."""


def read(path):
    return protobuf_module("Model").Model.FromString((path / SPECIFICATION if path.is_dir() else path).read_bytes())


def edited(source, path, edit):
    """Return a copy whose specification was changed by `edit`, which gets the message."""
    if source.is_dir():
        shutil.copytree(source, path)
    model = read(source)
    edit(model)
    (path / SPECIFICATION if source.is_dir() else path).write_bytes(model.SerializeToString())
    return path


def spoiled(source, path, place, change):
    """Return a copy of a package in which `change` was applied to the bytes of one file."""
    shutil.copytree(source, path)
    (path / place).write_bytes(change((path / place).read_bytes()))
    return path


def flipped(content, bit):
    damaged = bytearray(content)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def block(model, function="main"):
    """Return the operations of a program's function."""
    message = model.mlProgram.functions[function]
    return message.block_specializations[message.opset]


def operation(model, kind):
    return next(each for each in block(model).operations if each.type == kind)


def with_half_pixels(model, sizes):
    """Replace every resize by aligned corners by one by half pixels, as in iOS 14.

    Args:
        model: The model of a neural network.
        sizes: (height, width) of each resize's input, by name.
    """
    model.specificationVersion = 5
    for layer in model.neuralNetwork.layers:
        if layer.WhichOneof("layer") == "resizeBilinear":
            target = tuple(layer.resizeBilinear.targetSize)
            before = sizes[layer.input[0]]
            layer.upsample.mode = layer.upsample.BILINEAR
            layer.upsample.linearUpsampleMode = layer.upsample.ALIGN_CORNERS_FALSE
            layer.upsample.fractionalScalingFactor[:] = [
                (after + FRACTION) / length for after, length in zip(target, before, strict=True)
            ]


def unsigned(model):
    """Remove the digest, which detects any edit of our files."""
    model.description.metadata.userDefined.pop(DIGEST)


def two_sources(model):
    description = model.description.functions[0] if model.description.functions else model.description
    description.input.add().CopyFrom(next(each for each in description.input if each.name == "src"))


def _factor(model):
    """Return the constant by which a program resizes its source."""
    made = {output.name: each for each in block(model).operations for output in each.outputs}
    name = operation(model, "upsample_bilinear").inputs["scale_factor_height"].arguments[0].name
    return made[name].attributes["val"]


def factor_of_text(model):
    value = _factor(model)
    value.type.tensorType.dataType = protobuf_module("MIL").DataType.Value("STRING")
    value.immediateValue.tensor.strings.values[:] = ["half"]


def factor_of_two_numbers(model):
    value = _factor(model)
    value.type.tensorType.rank = 1
    value.type.tensorType.dimensions.add().constant.size = 2
    value.immediateValue.tensor.floats.values[:] = [0.5, 0.5]


def _writes(model):
    for function in model.mlProgram.functions.values():
        for each in function.block_specializations[function.opset].operations:
            if each.type == "write_state":
                yield each


def two_written(model):
    for each in _writes(model):
        each.inputs["data"].arguments.add().CopyFrom(each.inputs["data"].arguments[0])


def none_written(model):
    for each in _writes(model):
        del each.inputs["data"].arguments[:]
