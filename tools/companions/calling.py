"""Say in one line how a file is called, frame by frame."""

from exporters import FORMATS
from exporters.artifact import INPUTS, Artifact, TensorInfo


def how_to_call(artifact: Artifact) -> str:
    """Return the call, the inputs with their shapes, the first states, and the outputs, as one line."""
    description = FORMATS[artifact.format]
    src, *others = [tensor for tensor in artifact.inputs if tensor.name != INPUTS[5]]
    states, small = others[:4], others[4:]  # of a contract with a second, smaller source
    levels = "0 to 255" if src.dtype in ("uint8", "8-bit image") else "[0, 1]"
    given = [f"{_tensor(src)}, {artifact.metadata.get('channel_order', 'RGB')} in {levels}"]
    if states:
        fixed = all(isinstance(axis, int) for tensor in states for axis in tensor.shape)
        first = "zeros of their shapes" if fixed else description.first_states
        names = f"{states[0].name} to {states[-1].name}"
        given.append(f"{names}, {first} before the first frame, then the outputs {_names(artifact.outputs[-4:])}")
    given += [f"{_tensor(tensor)}, the source at the internal size" for tensor in small]
    given += [_tensor(tensor) for tensor in artifact.inputs if tensor.name == INPUTS[5]]
    kept = "" if states else "; it keeps its states itself"
    line = "; at full size, A * x + b is the matte, where x is RGB and its mean" if artifact.gives_line else ""
    return f"{description.call} with {'; '.join(given)}; it returns {_names(artifact.outputs)}{kept}{line}"


def _tensor(tensor: TensorInfo) -> str:
    axes = ", ".join(map(str, tensor.shape))
    return f"{tensor.name} ({axes}) {tensor.dtype}" if axes else f"{tensor.name}, a number"


def _names(tensors: tuple[TensorInfo, ...]) -> str:
    return ", ".join(tensor.name for tensor in tensors)
