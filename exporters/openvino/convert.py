"""Convert an ONNX file to an IR: python -m exporters.openvino.convert ONNX FOLDER PRECISION KIND.

KIND is `stateful`, `stateless` or `omz`. It runs in a process of its own, from which OpenVINO's telemetry is kept away.
"""

import sys
from pathlib import Path
from typing import Any

# Importing openvino sends telemetry to its makers if it finds this package. It works without it.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import numpy as np  # noqa: E402
import openvino  # noqa: E402
from openvino import opset6 as ops  # noqa: E402
from openvino import opset8  # noqa: E402

from exporters.openvino import GRAPH, OMZ, STATES  # noqa: E402


def main(source: str, folder: str, precision: str, kind: str) -> None:
    """Write the IR's two files into the folder."""
    model = openvino.convert_model(source)
    if kind == "stateful":
        model = with_states_inside(model)
    if kind == "omz":
        model = as_in_open_model_zoo(model)
    if precision == "fp16":
        store_kernels_in_half(model)
    openvino.save_model(model, Path(folder) / GRAPH, compress_to_fp16=False)


def with_states_inside(model: Any) -> Any:
    """Return the model with a variable in place of each state's input and output.

    OpenVINO's own pass for this, MakeStateful, gives a variable of any size no value to start with.
    """
    sinks, inputs, outputs = [], [], []
    for name in STATES:
        given, result = model.input(f"{name}i").get_node(), model.output(f"{name}o").get_node()
        shape = given.get_partial_shape()
        start = np.array([axis.get_length() if axis.is_static else 1 for axis in shape], np.int64)
        zeros = ops.broadcast(ops.constant(np.float32(0)), ops.constant(start))
        value = ops.read_value(zeros, name, openvino.Type.f32, shape, name=f"{name}i")
        for target in given.output(0).get_target_inputs():
            target.replace_source_output(value.output(0))
        sinks.append(ops.assign(result.input_value(0).get_node(), name, name=f"{name}o"))
        inputs.append(given.get_friendly_name())
        outputs.append(result.get_friendly_name())
    return openvino.Model(
        [each for each in model.get_results() if each.get_friendly_name() not in outputs],
        sinks,
        [each for each in model.get_parameters() if each.get_friendly_name() not in inputs],
        model.get_friendly_name(),
    )


def as_in_open_model_zoo(model: Any) -> Any:
    """Return the model with other names, `pha` first, and a source of levels from 0 to 255 in OpenCV's order."""
    src = model.input("src").get_node()
    readers = src.output(0).get_target_inputs()
    order = ops.constant(np.array([2, 1, 0], np.int64)), ops.constant(np.int64(1))
    image = ops.divide(opset8.gather(src, *order), ops.constant(np.float32(255)))
    for reader in readers:
        reader.replace_source_output(image.output(0))
    for name, theirs in OMZ.items():
        port = model.input(name) if name.endswith("i") else model.output(name)
        port.get_tensor().set_names({theirs})
    results = [model.output(name).get_node() for name in ("pha", "fgr", *(f"r{state}" for state in STATES))]
    return openvino.Model(results, model.get_parameters(), model.get_friendly_name())


def store_kernels_in_half(model: Any) -> None:
    """Store the weights of convolutions in half precision, to be converted to float32 as the model is loaded.

    OpenVINO's own compression rounds all constants: also the thirds of the guided filter's mean, and the number that
    keeps it from a division by zero.
    """
    for node in model.get_ops():
        if node.get_type_name() in ("Convolution", "GroupConvolution"):
            kernel = node.input_value(1).get_node()
            numbers = kernel.get_data()
            if np.ptp(numbers) > 0:  # a mean has equal weights
                half = ops.constant(numbers.astype(np.float16), name=kernel.get_friendly_name())
                node.input(1).replace_source_output(ops.convert(half, "f32").output(0))


if __name__ == "__main__":
    main(*sys.argv[1:])
