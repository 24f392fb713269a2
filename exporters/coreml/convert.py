"""coremltools in a process of its own, run as `python -m exporters.coreml.convert REQUEST FOLDER`.

It imports TensorFlow and more where they are installed, only to see what it could convert; it talks while it works; and
what was traced before leaks into names. Nothing of that leaves this process.
"""

import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from exporters.coreml import CoremlSpec
from exporters.spec import INPUTS, OUTPUTS, ArtifactError, Fixed
from rvm_model.checkpoint import Checkpoint
from rvm_model.network import MattingNetwork
from rvm_model.state import state_shapes

ENVIRONMENT = {"PYTHONHASHSEED": "0", "TZ": "UTC"}

_UNUSED = ("tensorflow", "sklearn", "xgboost", "libsvm", "transformers", "executorch", "torchao")
_STATES = ("r1", "r2", "r3", "r4")

_LEVELS = 255
"""The largest value of an image's channel: CoreML scales what comes in, and takes what goes out as it is."""

_FEWEST_TO_QUANTISE = 512
"""Weights of a tensor, above which it is stored in eight bits. Smaller ones gain nothing, and cost accuracy."""


def convert(checkpoint: Checkpoint, spec: CoremlSpec, size: Fixed, folder: Path) -> None:
    """Make `folder`, which must not be there: `model.mlmodel`, and `weights` where it is an ML program.

    The specification is as coremltools leaves it, without what people read.

    Raises:
        ArtifactError: it gave up; its last line says why.
    """
    folder.mkdir()
    run("exporters.coreml.convert", (checkpoint, spec, size), folder)


def run(module: str, request: Any, folder: Path) -> None:
    """Let a module with coremltools in it answer a request into a folder. Raises ArtifactError."""
    place = folder / "request"
    place.write_bytes(pickle.dumps(request))
    done = subprocess.run(  # noqa: S603 (our own module)
        [sys.executable, "-m", module, place.resolve(), folder.resolve()],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        env=os.environ | ENVIRONMENT,
    )
    place.unlink()
    if done.returncode != 0:
        last = done.stderr.strip().rpartition("\n")[2]
        raise ArtifactError(f"coremltools could not convert: {last or f'exit code {done.returncode}'}")


def coremltools() -> Any:
    """The package, without what it would import only to look at."""
    for package in _UNUSED:
        sys.modules.setdefault(package, None)  # type: ignore[arg-type]
    import coremltools as ct

    return ct


def main(request: Path, folder: Path) -> None:
    """In the process of its own."""
    # Our own pickle, written a moment ago by the process that waits for this one.
    checkpoint: Checkpoint
    spec: CoremlSpec
    size: Fixed
    checkpoint, spec, size = pickle.loads(request.read_bytes())  # noqa: S301
    ct = coremltools()
    make = _neural_network if spec.is_neural_network else _ml_program
    make(ct, checkpoint.network(), spec, size, folder)


def _ml_program(ct: Any, network: MattingNetwork, spec: CoremlSpec, size: Fixed, folder: Path) -> None:
    src, *states = _shapes(network, size)
    level = 1 if spec.tensor_io else _LEVELS
    image, matte = ct.ImageType("src", src, scale=1 / _LEVELS), [ct.ImageType("fgr"), ct.ImageType("pha", color_layout="G")]
    if spec.tensor_io:
        image, matte = ct.TensorType("src", src), [ct.TensorType("fgr"), ct.TensorType("pha")]
    if spec.stateful:
        traced = _traced(_Stateful(network, size, level, states), [src])
        more = {
            "inputs": [image],
            "outputs": matte,
            "states": [ct.StateType(ct.TensorType(shape=shape), name) for name, shape in zip(_STATES, states, strict=True)],
        }
    else:
        traced = _traced(_Frame(network, size, level), [src, *states])
        more = {
            "inputs": [image, *(ct.TensorType(name, shape) for name, shape in zip(INPUTS[1:5], states, strict=True))],
            "outputs": [*matte, *map(ct.TensorType, OUTPUTS[2:])],
        }
    model = ct.convert(
        traced,
        convert_to="mlprogram",
        minimum_deployment_target=_target(ct, spec),
        compute_precision=_compute_precision(ct, spec),
        skip_model_load=True,
        **more,
    )
    if spec.precision == "int8":
        quantiser = ct.optimize.coreml.OpLinearQuantizerConfig(
            mode="linear_symmetric", granularity="per_channel", weight_threshold=_FEWEST_TO_QUANTISE
        )
        model = ct.optimize.coreml.linear_quantize_weights(
            model, ct.optimize.coreml.OptimizationConfig(global_config=quantiser)
        )
    (folder / "model.mlmodel").write_bytes(model.get_spec().SerializeToString(deterministic=True))
    Path(model.weights_dir).rename(folder / "weights")


def _neural_network(ct: Any, network: MattingNetwork, spec: CoremlSpec, size: Fixed, folder: Path) -> None:
    """Images go out of a neural network only if its description says so afterwards: given so, coremltools fails."""
    src, *states = _shapes(network, size)
    level = 1 if spec.tensor_io else _LEVELS
    model = ct.convert(
        _traced(_Frame(network, size, level), [src, *states]),
        convert_to="neuralnetwork",
        minimum_deployment_target=_target(ct, spec),
        inputs=[
            ct.TensorType("src", src) if spec.tensor_io else ct.ImageType("src", src, scale=1 / _LEVELS),
            *(
                ct.TensorType(name, shape, default_value=torch.zeros(shape).numpy())
                for name, shape in zip(INPUTS[1:5], states, strict=True)
            ),
        ],
        outputs=[*map(ct.TensorType, OUTPUTS)],
        skip_model_load=True,
    )
    bits = {"fp32": 32, "fp16": 16, "int8": 8}[spec.precision]
    if bits < 32:
        model = ct.models.neural_network.quantization_utils.quantize_weights(model, bits, "linear_symmetric")
    specification = model.get_spec()
    for output in specification.description.output:
        shape = (src[0], {"fgr": 3, "pha": 1}[output.name], *src[2:])
        output.type.multiArrayType.shape.extend(shape)
    (folder / "model.mlmodel").write_bytes(specification.SerializeToString(deterministic=True))


def _shapes(network: MattingNetwork, size: Fixed) -> list[tuple[int, ...]]:
    """Of src and the four states."""
    return [(1, 3, size.height, size.width), *state_shapes(network.variant, size.height, size.width, size.ratio)]


def _target(ct: Any, spec: CoremlSpec) -> Any:
    return getattr(ct.target, spec.system.replace("ios", "iOS"))


def _compute_precision(ct: Any, spec: CoremlSpec) -> Any:
    if spec.precision == "fp32":
        return ct.precision.FLOAT32
    if not spec.preprocess_fp32:
        return ct.precision.FLOAT16
    return ct.transform.FP16ComputePrecision(op_selector=_is_behind_the_first_convolution)


def _is_behind_the_first_convolution(operation: Any) -> bool:
    """Whether an operation of a program is not one of those that the first convolution needs."""
    first = next(each for each in operation.enclosing_block.operations if each.op_type == "conv")
    waiting, needed = [first], set()
    while waiting:
        for given in waiting.pop().inputs.values():
            for variable in given if isinstance(given, (list, tuple)) else [given]:
                if variable.op is not None and variable.op not in needed:
                    needed.add(variable.op)
                    waiting.append(variable.op)
    return operation not in needed


class _Frame(nn.Module):
    """One frame of one size: the network with its ratio baked in, and its images from 0 to `level`."""

    def __init__(self, network: MattingNetwork, size: Fixed, level: int) -> None:
        super().__init__()
        self.network, self.ratio, self.level = network, size.ratio, level

    def forward(self, src: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        fgr, pha, *after = self.network(src, *states, self.ratio)
        return (*(image if self.level == 1 else image * self.level for image in (fgr, pha)), *after)


class _Stateful(_Frame):
    """The same, its states held inside."""

    def __init__(self, network: MattingNetwork, size: Fixed, level: int, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__(network, size, level)
        for name, shape in zip(_STATES, shapes, strict=True):
            self.register_buffer(name, torch.zeros(shape))

    def forward(self, src: Tensor) -> tuple[Tensor, ...]:
        states = [self.get_buffer(name) for name in _STATES]
        fgr, pha, *after = super().forward(src, *states)
        for state, new in zip(states, after, strict=True):
            state[:] = new  # the one way of assignment that coremltools takes for a state's
        return fgr, pha


def _traced(module: nn.Module, shapes: Sequence[tuple[int, ...]]) -> Any:
    """Inlined, and no value inside called as an output is: a neural network's layers need names of their own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.jit as a whole, and of the branches that are baked in on purpose
        traced = torch.jit.trace(module.eval(), tuple(map(torch.zeros, shapes)), check_trace=False)
    torch._C._jit_pass_inline(traced.graph)
    for node in traced.graph.nodes():
        for value in node.outputs():
            if value.debugName() in (*INPUTS, *OUTPUTS, *_STATES):
                value.setDebugName(f"{value.debugName()}_inside")
    return traced


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
