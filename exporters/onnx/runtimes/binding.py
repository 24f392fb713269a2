"""Run onnxruntime with inputs and outputs bound to a device: states stay on it, and only images are copied.

A file of one size keeps two sets of state buffers, and writes each frame's states into the set that it does not read.
So all addresses are known beforehand, as a CUDA graph requires. One graph is captured for each direction between the
sets, and one for the first frame, which reads zeros. From then on a frame is a copy, one launch, and a copy back.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from exporters.artifact import INPUTS, OUTPUTS, Artifact
from exporters.onnx.runtimes.session import said_in_one_line
from exporters.onnx.runtimes.step import no_state, to_image, to_matte
from exporters.runtime import Device, FileStep, Frame, Line, Matte, State

GRAPH_ID = "gpu_graph_id"
"""The run option with the id of the CUDA graph, to capture it first and launch it later."""


def bound_step(session: ort.InferenceSession, artifact: Artifact, device: Device, ratio: float) -> FileStep:
    """Return a step whose state is four `OrtValue` on the device.

    A file of one size keeps only the two newest states. Older ones are overwritten and must not be used again.

    Raises:
        ArtifactError: any error of onnxruntime, here or in a step, such as too little memory on the device.
    """
    with said_in_one_line(artifact):
        if artifact.fixed is None:
            step = _any_size(session, artifact, device, ratio)
        else:
            step = _one_size(session, artifact, device)

    def told_step(frame: Frame, state: State) -> tuple[Matte | Line, State]:
        with said_in_one_line(artifact):
            return step(frame, state)

    return told_step


def _any_size(session: ort.InferenceSession, artifact: Artifact, device: Device, ratio: float) -> FileStep:
    names = [tensor.name for tensor in artifact.outputs]
    first = tuple(_on(device, array) for array in no_state(artifact))
    takes_ratio = INPUTS[5] in {tensor.name for tensor in artifact.inputs}
    downsample_ratio = np.array([ratio], np.float32)

    def step(frame: Frame, state: State) -> tuple[Matte | Line, State]:
        binding = session.io_binding()
        binding.bind_ortvalue_input("src", _on(device, to_image(artifact, frame)))
        for name, value in zip(INPUTS[1:5], state or first, strict=True):
            binding.bind_ortvalue_input(name, value)
        if takes_ratio:
            binding.bind_cpu_input(INPUTS[5], downsample_ratio)
        for name in names:
            binding.bind_output(name, device)
        session.run_with_iobinding(binding)
        outputs = dict(zip(names, binding.get_outputs(), strict=True))
        return _matte(artifact, outputs), tuple(outputs[name] for name in OUTPUTS[2:])

    return step


def _one_size(session: ort.InferenceSession, artifact: Artifact, device: Device) -> FileStep:
    images = {
        tensor.name: _on(device, np.zeros([int(axis) for axis in tensor.shape], tensor.dtype))
        for tensor in (artifact.inputs[0], *artifact.outputs[: -len(OUTPUTS[2:])])
    }
    # Two sets that alternate, and the zeros before the first frame, which are never written to.
    zeros, *sets = [tuple(_on(device, array) for array in no_state(artifact)) for _ in range(3)]
    runs = {}
    for graph_id, (before, after) in enumerate(((zeros, sets[0]), (sets[0], sets[1]), (sets[1], sets[0])), start=1):
        binding, options = session.io_binding(), ort.RunOptions()
        options.add_run_config_entry(GRAPH_ID, str(graph_id))
        for name, value in zip(INPUTS[1:5], before, strict=True):
            binding.bind_ortvalue_input(name, value)
        for name, value in zip(OUTPUTS[2:], after, strict=True):
            binding.bind_ortvalue_output(name, value)
        binding.bind_ortvalue_input("src", images["src"])
        for name in images.keys() - {"src"}:
            binding.bind_ortvalue_output(name, images[name])
        runs[id(before)] = binding, options, after

    def step(frame: Frame, state: State) -> tuple[Matte | Line, State]:
        binding, options, after = runs[id(state or zeros)]
        images["src"].update_inplace(to_image(artifact, frame))
        session.run_with_iobinding(binding, options)
        return _matte(artifact, images), after

    return step


def _on(device: Device, array: NDArray[Any]) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), device, 0)


def _matte(artifact: Artifact, values: Mapping[str, ort.OrtValue]) -> Matte | Line:
    names = [tensor.name for tensor in artifact.outputs[: -len(OUTPUTS[2:])]]
    return to_matte(artifact, {name: to_host(values[name]) for name in names})


def to_host(value: ort.OrtValue) -> NDArray[Any]:
    """Return an array that belongs to the caller. For a value on the CPU, `numpy` alone would return a view of it."""
    array: NDArray[Any] = value.numpy()
    return array if array.flags.owndata else array.copy()
