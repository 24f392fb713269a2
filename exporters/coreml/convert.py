"""Run coremltools in a separate process: `python -m exporters.coreml.convert REQUEST FOLDER`.

coremltools imports TensorFlow and more if they are installed, only to see what it could convert. It prints while it
works, and earlier traces change its names. A separate process isolates all of that.
"""

import math
import pickle
import shutil
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from exporters.artifact import INPUTS, LINE, OUTPUTS
from exporters.coreml import CoremlSpec, function_name
from exporters.coreml.describe import describe, give_images
from exporters.coreml.package import DIGEST, digest
from exporters.spec import Fixed
from exporters.support.fresh_process import run_module
from rvm_model.full_size import fitted
from rvm_model.network.matting_network import MattingNetwork
from rvm_model.state import state_shapes
from rvm_model.weights.checkpoint import Checkpoint

_UNUSED = ("tensorflow", "sklearn", "xgboost", "libsvm", "transformers", "executorch", "torchao")
_STATES = ("r1", "r2", "r3", "r4")
_TARGETS = {"ios14": "iOS14", "ios16": "iOS16", "ios18": "iOS18"}

_LEVELS = 255
"""The largest value of an image's channel. CoreML scales an input image, but does not scale an output image."""

_FEWEST_TO_QUANTISE = 512
"""A tensor with more weights than this is stored in eight bits. Smaller ones gain nothing, and cost accuracy."""


def convert(checkpoint: Checkpoint, spec: CoremlSpec, metadata: Mapping[str, str], folder: Path) -> None:
    """Write `folder`, which must not exist: `model.mlmodel`, and `weights` beside it for an ML program.

    Raises:
        ArtifactError: coremltools failed. The message ends with its last line.
    """
    folder.mkdir()
    request = folder / "request"
    request.write_bytes(pickle.dumps((checkpoint, spec, metadata)))
    run_module("exporters.coreml.convert", request, folder, failure="coremltools could not convert")


def main(request: Path, folder: Path) -> None:
    """Convert the request, in the separate process."""
    for package in _UNUSED:
        sys.modules[package] = None  # type: ignore[assignment]
    import coremltools as ct

    # Our own pickle, just written by the process that waits for this one.
    checkpoint: Checkpoint
    spec: CoremlSpec
    checkpoint, spec, metadata = pickle.loads(request.read_bytes())  # noqa: S301
    make = _neural_network if spec.is_neural_network else _ml_program
    models = [make(ct, checkpoint.network(), spec, size) for size in spec.sizes]
    model = _together(ct, models, spec, folder) if spec.multifunction else models[0]
    specification = model.get_spec()
    if spec.is_neural_network and not spec.has_tensors:
        give_images(specification, spec.sizes[0].width, spec.sizes[0].height)
    describe(specification, metadata, optional_states=spec.is_neural_network)
    files = {}
    if not spec.is_neural_network:
        weights = shutil.copytree(model.weights_dir, folder / "weights")
        files = {f"weights/{file.name}": file.read_bytes() for file in weights.iterdir()}
    specification.description.metadata.userDefined[DIGEST] = digest(specification, files)
    (folder / "model.mlmodel").write_bytes(specification.SerializeToString(deterministic=True))


def _ml_program(ct: Any, network: MattingNetwork, spec: CoremlSpec, size: Fixed) -> Any:
    src, *states = _shapes(network, spec, size)
    given, frame = [_source(ct, spec, src)], _frame(network, spec, size)
    matte = [ct.ImageType("fgr"), ct.ImageType("pha", color_layout=ct.colorlayout.GRAYSCALE)]
    if spec.has_tensors:
        matte = [*map(ct.TensorType, _first_outputs(spec))]
    if spec.stateful:
        traced = _traced(_Stateful(frame, states), [src])
        tensors = [ct.TensorType(shape=shape, dtype=np.float16) for shape in states]
        kept = {"states": [ct.StateType(tensor, name) for tensor, name in zip(tensors, _STATES, strict=True)]}
    else:
        traced = _traced(frame, [src, *states])
        given += [ct.TensorType(name, shape) for name, shape in zip(INPUTS[1:5], states, strict=True)]
        matte += [*map(ct.TensorType, OUTPUTS[2:])]
        kept = {}
    model = ct.convert(
        traced,
        convert_to="mlprogram",
        minimum_deployment_target=getattr(ct.target, _TARGETS[spec.system]),
        compute_precision=_compute_precision(ct, spec),
        inputs=given,
        outputs=matte,
        **kept,
        skip_model_load=True,
    )
    if spec.precision != "int8":
        return model
    coreml = ct.optimize.coreml
    symmetric = coreml.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=_FEWEST_TO_QUANTISE)
    return coreml.linear_quantize_weights(model, coreml.OptimizationConfig(global_config=symmetric))


def _neural_network(ct: Any, network: MattingNetwork, spec: CoremlSpec, size: Fixed) -> Any:
    src, *states = _shapes(network, spec, size)
    model = ct.convert(
        _traced(_frame(network, spec, size), [src, *states]),
        convert_to="neuralnetwork",
        minimum_deployment_target=getattr(ct.target, _TARGETS[spec.system]),
        inputs=[
            _source(ct, spec, src),
            *(
                ct.TensorType(name, shape, default_value=np.zeros(shape, np.float32))
                for name, shape in zip(INPUTS[1:5], states, strict=True)
            ),
        ],
        outputs=[*map(ct.TensorType, (*_first_outputs(spec), *OUTPUTS[2:]))],
        skip_model_load=True,
    )
    quantisation = ct.models.neural_network.quantization_utils
    if spec.precision == "fp16":
        return quantisation.quantize_weights(model, 16)
    if spec.precision == "int8":
        selector = _large_convolutions(quantisation)
        return quantisation.quantize_weights(model, 8, "linear_symmetric", selector=selector)
    return model


def _large_convolutions(quantisation: Any) -> Any:
    """Select the weights that an ML program quantises too. By default, coremltools selects all."""

    class Selector(quantisation.QuantizedLayerSelector):  # type: ignore[misc]
        def do_quantize(self, layer: Any, weight_param: str | None = None) -> bool:
            if layer.WhichOneof("layer") != "convolution" or weight_param == "bias":
                return False
            shape = (layer.convolution.outputChannels, layer.convolution.kernelChannels, *layer.convolution.kernelSize)
            return bool(math.prod(shape) > _FEWEST_TO_QUANTISE)

    return Selector()


def _together(ct: Any, models: Sequence[Any], spec: CoremlSpec, folder: Path) -> Any:
    """Return one program with a function for each size. The functions share their weights."""
    functions = ct.utils.MultiFunctionDescriptor()
    for size, model in zip(spec.sizes, models, strict=True):
        functions.add_function(model.package_path, "main", function_name(size))
    functions.default_function_name = function_name(spec.sizes[0])
    path = str(folder / "together.mlpackage")
    ct.utils.save_multifunction(functions, path)
    return ct.models.MLModel(path, skip_model_load=True)


def _shapes(network: MattingNetwork, spec: CoremlSpec, size: Fixed) -> list[tuple[int, ...]]:
    """Return the shapes of src and the four states."""
    source = size.internal() if spec.gives_line else size
    return [(1, 3, source.height, source.width), *state_shapes(network.variant, size.height, size.width, size.ratio)]


def _source(ct: Any, spec: CoremlSpec, shape: tuple[int, ...]) -> Any:
    return ct.TensorType("src", shape) if spec.has_tensors else ct.ImageType("src", shape, scale=1 / _LEVELS)


def _first_outputs(spec: CoremlSpec) -> tuple[str, ...]:
    """Return the names of the outputs before the states."""
    return LINE if spec.gives_line else OUTPUTS[:2]


def _frame(network: MattingNetwork, spec: CoremlSpec, size: Fixed) -> nn.Module:
    return _Line(network) if spec.gives_line else _Frame(network, size, 1 if spec.tensor_io else _LEVELS)


def _compute_precision(ct: Any, spec: CoremlSpec) -> Any:
    if spec.precision == "fp32":
        return ct.precision.FLOAT32
    if spec.preprocess_fp32:
        return ct.transform.FP16ComputePrecision(op_selector=_is_behind_the_first_convolution)
    return ct.precision.FLOAT16


def _is_behind_the_first_convolution(operation: Any) -> bool:
    """Return True unless an operation is one of those that the program's first convolution needs."""
    waiting = [next(each for each in operation.enclosing_block.operations if each.op_type == "conv")]
    needed = {*waiting}
    while waiting:
        for given in waiting.pop().inputs.values():
            for variable in given if isinstance(given, (list, tuple)) else [given]:
                if variable.op is not None and variable.op not in needed:
                    needed.add(variable.op)
                    waiting.append(variable.op)
    return operation not in needed or operation.op_type == "conv"


class _Frame(nn.Module):
    """One frame of one size: the network with its ratio baked in, and images from 0 to `level`."""

    def __init__(self, network: MattingNetwork, size: Fixed, level: int) -> None:
        super().__init__()
        self.network, self.ratio, self.level = network, size.ratio, level

    def forward(self, src: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        fgr, pha, *after = self.network(src, *states, self.ratio)
        return (*(image if self.level == 1 else image * self.level for image in (fgr, pha)), *after)


class _Line(nn.Module):
    """One frame at the internal size: the network without its full-size steps."""

    def __init__(self, network: MattingNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, src: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        return (*fitted(self.network, src, states, refines=True),)


class _Stateful(nn.Module):
    """A `_Frame` or `_Line` that holds its states inside."""

    def __init__(self, frame: nn.Module, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__()
        self.frame = frame
        for name, shape in zip(_STATES, shapes, strict=True):
            self.register_buffer(name, torch.zeros(shape))

    def forward(self, src: Tensor) -> tuple[Tensor, ...]:
        states = [self.get_buffer(name) for name in _STATES]
        first, second, *after = self.frame(src, *states)
        for state, new in zip(states, after, strict=True):
            state[:] = new  # the only assignment that coremltools supports
        return first, second


def _traced(module: nn.Module, shapes: Sequence[tuple[int, ...]]) -> Any:
    """Trace and inline a module, and rename inner values that have the name of an input or output.

    A neural network's layers need names of their own.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # for all of torch.jit, and for branches that are baked in on purpose
        examples = tuple(map(torch.zeros, shapes))
        traced = torch.jit.trace(module.eval(), examples, check_trace=False)  # type: ignore[no-untyped-call]
    torch._C._jit_pass_inline(traced.graph)
    for node in traced.graph.nodes():
        for value in node.outputs():
            if value.debugName() in (*INPUTS, *LINE, *OUTPUTS, *_STATES):
                value.setDebugName(f"{value.debugName()}_inside")
    return traced


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
