"""Ways to spoil a CoreML file: the layers of a neural network, the operations of a program."""

from random import Random
from typing import Any

from exporters.coreml.protobufs import protobuf_module
from tools.tests.hostile.home import SECRET, Home
from tools.tests.hostile.spoil_bytes import Mutation

ODD = (0, 1, 3, 2**31 - 1, 2**31, 2**40, 2**62)


def spoil_convolution(content: bytes, random: Random, home: Home) -> bytes:
    """Spoil a convolution of a neural network: its sizes, its weights."""
    model = _unsigned(content)
    layer = random.choice([each for each in model.neuralNetwork.layers if each.WhichOneof("layer") == "convolution"])
    convolution, odd = layer.convolution, random.choice(ODD)
    action = random.randrange(6)
    if action == 0:
        convolution.outputChannels = odd
    elif action == 1:
        convolution.kernelSize[:] = random.choice(([], [3], [3, 3, 3], [odd, 3]))
    elif action == 2:
        convolution.stride[:] = random.choice(([0, 0], [2], [2, 1, 1], [odd, odd]))
    elif action == 3:
        convolution.nGroups = odd
    elif action == 4:
        convolution.weights.rawValue = bytes(random.randrange(20))
    else:
        convolution.isDeconvolution = True
    return bytes(model.SerializeToString())


def spoil_layer(content: bytes, random: Random, home: Home) -> bytes:
    """Spoil a layer of a neural network: its wiring, its kind."""
    model = _unsigned(content)
    layers = model.neuralNetwork.layers
    layer = random.choice([each for each in layers if each.input])
    action = random.randrange(4)
    if action == 0:
        layer.input[0] = random.choice((layers[-1].output[0], layer.output[0], "nowhere"))
    elif action == 1:
        layer.ClearField("output")
    elif action == 2:
        layer.ClearField(layer.WhichOneof("layer") or "name")
    else:
        layer.custom.className = "Foreign"
    return bytes(model.SerializeToString())


def spoil_description(content: bytes, random: Random, home: Home) -> bytes:
    """Spoil the inputs, outputs, version or metadata of a model."""
    model = _unsigned(content)
    action = random.randrange(5)
    features = model.description.functions[0] if model.description.functions else model.description
    port = random.choice((*features.input, *features.output))
    if action == 0:
        port.name = random.choice(("", "src", "\x1b[2J", "x" * 100_000))
    elif action == 1:
        port.type.multiArrayType.shape[:] = random.choice(([], [2**62], [-1, 3, 2, 2], [2**31, 2**31, 4]))
    elif action == 2:
        model.specificationVersion = random.choice((0, 1, 99, 2**31 - 1))
    elif action == 3:
        model.description.metadata.userDefined[random.choice(("downsample_ratio", "variant", "\x1b[2J"))] = (
            "\x1b]52;c;\n"
        )
    else:
        del features.output[random.randrange(len(features.output)) :]
    return bytes(model.SerializeToString())


def spoil_operation(content: bytes, random: Random, home: Home) -> bytes:
    """Spoil an operation of a program: its kind, its arguments, its constant."""
    model = _unsigned(content)
    operation = random.choice(operations(model))
    action = random.randrange(5)
    if action == 0:
        operation.type = random.choice(("", "nonsense", "while_loop", "conv", "const", "reshape", "tile", "pyfunc"))
    elif action == 1 and operation.inputs:
        binding = operation.inputs[random.choice(sorted(operation.inputs))]
        binding.arguments[0].name = random.choice((operation.outputs[0].name, "nowhere", ""))
    elif action == 2:
        operation.ClearField(random.choice(("inputs", "outputs", "attributes")))
    elif action == 3:
        kind = operation.outputs[0].type.tensorType if operation.outputs else None
        for dimension in kind.dimensions[:1] if kind else ():
            dimension.constant.size = random.choice(ODD)
    else:
        operation.attributes.pop("val", None)
    return bytes(model.SerializeToString())


def spoil_blob(content: bytes, random: Random, home: Home) -> bytes:
    """Spoil where a program's weights lie: another place in the file, another file."""
    model = _unsigned(content)
    values = [each.attributes["val"] for each in operations(model) if "val" in each.attributes]
    value = random.choice([each for each in values if each.WhichOneof("value") == "blobFileValue"])
    if random.random() < 0.5:
        value.blobFileValue.offset = random.choice((0, 1, 63, 2**31, 2**62, 2**64 - 1))
    else:
        name = random.choice(
            (f"@model_path/../../../../outside/{SECRET}", str(home.secret), "", "@model_path/", "\x00")
        )
        value.blobFileValue.fileName = name
    return bytes(model.SerializeToString())


def operations(model: Any) -> list[Any]:
    """Return all operations of a program."""
    functions = model.mlProgram.functions.values()
    return [each for one in functions for block in one.block_specializations.values() for each in block.operations]


def _unsigned(content: bytes) -> Any:
    """Parse a model, and remove the digest, which would detect any edit."""
    model = protobuf_module("Model").Model.FromString(content)
    model.description.metadata.userDefined.pop("graph_sha256", None)
    return model


NETWORK: tuple[Mutation, ...] = (spoil_convolution, spoil_convolution, spoil_layer, spoil_description)
PROGRAM: tuple[Mutation, ...] = (spoil_operation, spoil_operation, spoil_blob, spoil_description)
