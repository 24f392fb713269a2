"""Measure the range of a graph's values over a clip, in onnxruntime, with its states fed back."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, ValueInfoProto

from exporters.artifact import INPUTS, OUTPUTS
from exporters.format import MissingPackage
from exporters.onnx import OnnxSpec
from exporters.support.calibration import CalibrationError
from rvm_model.full_size import reduced
from rvm_model.state import auto_graph_ratio, state_shapes

Ranges = Mapping[str, tuple[float, float]]
"""The least and the greatest number of each value, by name."""


def value_ranges(model: ModelProto, values: Sequence[str], frames: NDArray[np.uint8], spec: OnnxSpec) -> Ranges:
    """Return the least and the greatest number of each value.

    It runs on one thread, so that the result does not depend on the number of threads.

    Args:
        model: The file's model before quantisation.
        values: The names of the values to measure.
        frames: (T, H, W, 3) RGB, at the file's size if it has only one.
        spec: The file's spec.

    Raises:
        CalibrationError: the frames are too narrow for any ratio.
        MissingPackage: onnxruntime is not installed.
    """
    try:
        import onnxruntime as ort
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
        raise MissingPackage(
            "--precision int8 is calibrated in onnxruntime, which is missing; run: pip install 'rvm-export[onnx]'"
        ) from error
    watched = ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(ValueInfoProto(name=value) for value in values)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    height, width = frames.shape[1:3]
    fixed = spec.fixed
    shapes: Sequence[tuple[int, ...]] = [(1, 1, 1, 1)] * 4
    ratio = _ratio(height, width) if fixed is None else fixed.ratio
    ratio_input = {INPUTS[5]: np.array([ratio], np.float32)} if fixed is None and not spec.gives_line else {}
    if fixed is not None:
        shapes = state_shapes(spec.variant, fixed.height, fixed.width, fixed.ratio, fixed.batch)
    states = [np.zeros(shape, np.float32) for shape in shapes]
    least, greatest = np.full(len(values), np.inf), np.full(len(values), -np.inf)
    for frame in frames:
        image = _image(frame, spec)
        if spec.gives_line:
            image = reduced(torch.from_numpy(image), ratio).numpy()
        feeds = {INPUTS[0]: image, **dict(zip(INPUTS[1:5], states, strict=True)), **ratio_input}
        outputs = session.run([*OUTPUTS[2:], *values], feeds)
        states, given = outputs[:4], outputs[4:]
        least = np.minimum(least, [each.min() for each in given])
        greatest = np.maximum(greatest, [each.max() for each in given])
    return {value: (float(least[k]), float(greatest[k])) for k, value in enumerate(values)}


def _ratio(height: int, width: int) -> float:
    """Return the downsample ratio for a clip's size. Raises CalibrationError if it is too narrow."""
    try:
        return auto_graph_ratio(height, width)
    except ValueError as error:
        raise CalibrationError(f"frames of {width}x{height} are too narrow to calibrate with; give others") from error


def _image(frame: NDArray[np.uint8], spec: OnnxSpec) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Return a frame as the file's `src`, repeated to the size of its batch."""
    batch = np.repeat(frame[None, :, :, ::-1] if spec.bgr else frame[None], spec.fixed.batch if spec.fixed else 1, 0)
    if spec.image_bytes:
        return np.ascontiguousarray(batch)
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2), np.float32) / np.float32(255)
