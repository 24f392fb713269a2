"""Describe what a CoreML file holds, without running it."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exporters.coreml.evaluator.mil import KNOWN
from exporters.coreml.evaluator.nn_layers import LAYERS
from exporters.coreml.evaluator.values import blob_file
from exporters.coreml.package import read_package
from exporters.support.contents import Contents


def scan(path: Path) -> Contents:
    """Return its operations or layers. Custom is what a matting network does not need. Raises ArtifactError."""
    stored = read_package(path)
    kind = stored.model.WhichOneof("Type")
    if kind == "neuralNetwork":
        layers = Counter(str(layer.WhichOneof("layer")) for layer in stored.model.neuralNetwork.layers)
        return Contents(operations=layers, custom={*layers} - {*LAYERS})
    if kind != "mlProgram":
        return Contents(operations={str(kind): 1}, custom=[str(kind)])
    found = [*_operations(stored.model.mlProgram)]
    operations = Counter(each.type for each in found)
    files = {blob_file(value) for each in found for value in each.attributes.values()}
    return Contents(
        operations=operations,
        custom={*operations} - KNOWN,
        external=[name for name in files if name is not None and name not in stored.weights],
    )


def _operations(program: Any) -> Iterator[Any]:
    """Yield the operations of all functions and of the blocks in them."""
    blocks = [block for function in program.functions.values() for block in function.block_specializations.values()]
    while blocks:
        for operation in blocks.pop().operations:
            yield operation
            blocks.extend(operation.blocks)
