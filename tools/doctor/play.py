"""Play frames through an ONNX file exactly as a contract says."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from exporters.onnx.runtimes.session import ERRORS
from rvm_model.errors import first_line
from rvm_model.state import state_shapes
from tools.doctor.contracts import Contract, Order

Array = NDArray[np.float32]
_FLOAT = "tensor(float)"
_STATES = 4
_MOST_VALUES = 1 << 24
"""The values of the largest state or buffer; those of a whole frame at ratio 1 are fewer."""


class Misfit(Exception):
    """A file that a program cannot call its way. The message says why, as a clause about the file."""


def play(session: ort.InferenceSession, contract: Contract, frames: Sequence[NDArray[np.uint8]]) -> list[Array]:
    """Return the alpha of each frame, (1, 1, H, W), as the program sees it.

    Args:
        session: The file, opened.
        contract: How the program calls it.
        frames: (H, W, 3), RGB, of the contract's size.

    Raises:
        Misfit: the file cannot be called so.
    """
    inputs = _names(session.get_inputs(), contract, "inputs")
    outputs = _names(session.get_outputs(), contract, "outputs")
    states = _first_states(session, contract, inputs)
    ratio = [] if contract.ratio is None else [np.array([contract.ratio], np.float32)]
    mattes: list[Array] = []
    for frame in frames:
        feeds = dict(zip(inputs, (_image(frame, contract), *states, *ratio), strict=True))
        if not mattes:
            _check_tensors(session, feeds, outputs)
        results = dict(zip(contract.outputs, _run(session, contract, feeds, outputs), strict=True))
        mattes.append(_matte(results, contract))
        if contract.feeds_back:
            states = [*results.values()][-_STATES:]
    return mattes


def _names(tensors: Sequence[Any], contract: Contract, kind: Order) -> list[str]:
    """Return the file's own names of what the program feeds or fetches, in the program's order."""
    wanted, own = getattr(contract, kind), [tensor.name for tensor in tensors]
    listed = f"its {kind} are {', '.join(own)}"
    if kind in contract.by_position:
        taken = own[contract.skipped :] if kind == "outputs" else own
        if len(taken) != len(wanted):
            raise Misfit(f"it takes {len(wanted) + len(own) - len(taken)} {kind} by position, and {listed}")
        return taken
    missing = [name for name in wanted if name not in own]
    if missing:
        raise Misfit(f"it asks for {kind[:-1]} {missing[0]} by name, and {listed}")
    unfed = [name for name in own if name not in wanted]
    if kind == "inputs" and unfed:
        raise Misfit(f"it does not feed {unfed[0]}, and {listed}")
    return list(wanted)


def _first_states(session: ort.InferenceSession, contract: Contract, inputs: Sequence[str]) -> list[Array]:
    shapes: list[Any] = [(1, 1, 1, 1)] * _STATES
    if contract.first_states == "full":
        shapes = [*state_shapes("mobilenetv3", contract.height, contract.width, contract.ratio or 1)]
    elif contract.first_states == "declared":
        declared = {tensor.name: tensor.shape for tensor in session.get_inputs()}
        shapes = [declared[name] for name in inputs[1 : 1 + _STATES]]
        for name, shape in zip(inputs[1:], shapes, strict=False):
            if not (all(isinstance(axis, int) for axis in shape) and 0 < math.prod(shape) <= _MOST_VALUES):
                raise Misfit(f"it makes states of the declared shapes, and {name} declares {_text(shape)}")
    return [np.zeros(shape, np.float32) for shape in shapes]


def _image(frame: NDArray[np.uint8], contract: Contract) -> Array:
    pixels = frame[..., ::-1] if contract.bgr else frame
    planes = pixels.transpose(2, 0, 1)[None].astype(np.float32)
    return np.ascontiguousarray(planes if contract.levels == 255 else planes / np.float32(255))


def _check_tensors(session: ort.InferenceSession, feeds: dict[str, Array], outputs: Sequence[str]) -> None:
    """Raise Misfit if an input is of another type or shape than what is fed, or an output is no float32."""
    for tensor in session.get_inputs():
        given = feeds[tensor.name]
        if tensor.type != _FLOAT:
            raise Misfit(f"it feeds float32, and {tensor.name} is {tensor.type}")
        fits = len(tensor.shape) == given.ndim and all(
            not isinstance(axis, int) or axis == side for axis, side in zip(tensor.shape, given.shape, strict=False)
        )
        if not fits:
            raise Misfit(f"it feeds {tensor.name} as {_text(given.shape)}, and the file declares {_text(tensor.shape)}")
    for tensor in session.get_outputs():
        if tensor.name in outputs and tensor.type != _FLOAT:
            raise Misfit(f"it takes float32, and {tensor.name} is {tensor.type}")


def _run(
    session: ort.InferenceSession, contract: Contract, feeds: dict[str, Array], outputs: Sequence[str]
) -> list[Array]:
    try:
        if not contract.buffers:
            results: list[Array] = session.run(outputs, feeds)
            return results
        binding = session.io_binding()
        for name, array in feeds.items():
            binding.bind_cpu_input(name, array)
        buffers = [np.zeros(shape, np.float32) for shape in _buffers(session, contract)]
        for name, buffer in zip(outputs, buffers, strict=True):
            binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(buffer))  # the buffer's own memory
        session.run_with_iobinding(binding)
        return buffers
    except ERRORS as error:
        raise Misfit(f"onnxruntime refuses the call: {first_line(error)}") from error


def _buffers(session: ort.InferenceSession, contract: Contract) -> list[tuple[int, ...]]:
    """Return the shapes of the outputs' buffers: sizes from the contract, channels as the file declares them."""
    shapes: list[tuple[int, ...]] = []
    sizes = [shape[2:] for shape in state_shapes("mobilenetv3", contract.height, contract.width, contract.ratio or 1)]
    images = [(contract.height, contract.width)] * (len(contract.outputs) - _STATES)
    for tensor, size in zip(session.get_outputs()[contract.skipped :], (*images, *sizes), strict=True):
        channels = tensor.shape[1] if len(tensor.shape) == 4 else None
        if not (isinstance(channels, int) and 0 < channels * math.prod(size) <= _MOST_VALUES):
            declared = f"{tensor.name} declares {_text(tensor.shape)}"
            raise Misfit(f"it sizes its buffers by the declared shapes, and {declared}")
        shapes.append((1, channels, *size))
    return shapes


def _matte(results: dict[str, Array], contract: Contract) -> Array:
    matte, shape = results["pha"], (1, 1, contract.height, contract.width)
    if matte.shape != shape:
        raise Misfit(f"what it takes for the alpha is {_text(matte.shape)}, not {_text(shape)}")
    if not bool(np.all((matte >= 0) & (matte <= 1))):
        raise Misfit("what it takes for the alpha is not within [0, 1]")
    return matte.copy()


def _text(shape: Sequence[Any]) -> str:
    return f"({', '.join(map(str, shape))})"
