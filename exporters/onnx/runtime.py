"""ONNX files through onnxruntime."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from exporters.identify import identify
from exporters.onnx.read import first_line, read
from exporters.runtime import Device, Frame, Matte, State, Step
from exporters.spec import INPUTS, LONGEST_SIDE, OUTPUTS, Artifact, ArtifactError, Fixed, TensorInfo
from rvm_model.device import DeviceError
from rvm_model.state import REFINERS, state_shapes

_PRECISIONS = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16"}
_PROVIDERS: dict[Device, Any] = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": [("CUDAExecutionProvider", {"use_tf32": "0"})],
}
_SESSION_ERRORS = (
    ort_errors.EngineError,
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotFound,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


def inspect(path: Path) -> Artifact:
    """What the file is. See `exporters.runtime.Runtime`."""
    model = read(path)
    graph = model.graph
    found = identify({tuple(weight.dims) for weight in graph.initializer})
    inputs, outputs = tuple(map(_tensor_info, graph.input)), tuple(map(_tensor_info, graph.output))
    names = tuple(tensor.name for tensor in inputs), tuple(tensor.name for tensor in outputs)
    matte = names[1][: -len(OUTPUTS[2:])]
    if (
        found is None
        or names[0] not in (INPUTS, INPUTS[:5])
        or names[1] != (*matte, *OUTPUTS[2:])
        or matte not in (OUTPUTS[:2], OUTPUTS[:1], OUTPUTS[1:2])
    ):
        raise ArtifactError(
            f"{path} is an ONNX file, but not of a matting network as rvm-export and RVM v1.0.0 write it"
        )
    elements = {weight.data_type for weight in graph.initializer if len(weight.dims) == 4}
    dtypes = {tensor.dtype for tensor in (*inputs, *outputs)}
    if len(elements) != 1 or not elements <= _PRECISIONS.keys() or not dtypes <= {"float32", "float16"}:
        raise ArtifactError(f"{path} has weights, inputs or outputs of an unknown kind; known are float32 and float16")
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), None)
    if opset is None:
        raise ArtifactError(f"{path} does not say which version of ONNX's operators it uses")
    variant, refiner = found
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    fixed = None if len(inputs) == len(INPUTS) else _fixed(path, variant, (*inputs, *outputs), metadata)
    if fixed is not None and fixed.ratio == 1 and metadata.get("refiner") in REFINERS:
        refiner = metadata["refiner"]  # left out of the graph, so that only its checkpoint has one
    return Artifact(
        path=path,
        format="onnx",
        variant=variant,
        refiner=refiner,
        precision=_PRECISIONS[elements.pop()],
        refine="always" if fixed is None else "auto",
        fixed=fixed,
        inputs=inputs,
        outputs=outputs,
        metadata=metadata,
        facts={
            "opset": opset,
            "IR version": model.ir_version,
            "nodes": len(graph.node),
            "parameters": sum(math.prod(weight.dims) for weight in graph.initializer),
        },
    )


def load(artifact: Artifact, device: Device, ratio: float) -> Step:
    """Ready to play. See `exporters.runtime.Runtime`."""
    session = _session(artifact.path, device)
    dtype = np.dtype(artifact.inputs[0].dtype)
    downsample_ratio = np.array([ratio], np.float32)
    fixed = artifact.fixed
    shapes = [(1, 1, 1, 1)] * 4
    if fixed is not None:
        shapes = [*state_shapes(artifact.variant, fixed.height, fixed.width, fixed.ratio, fixed.batch)]
    no_state = tuple(np.zeros(shape, dtype) for shape in shapes)
    names = [tensor.name for tensor in artifact.inputs]
    wanted = [tensor.name for tensor in artifact.outputs]

    def step(frame: Frame, state: State) -> tuple[Matte, State]:
        values = (frame.astype(dtype, copy=False), *(state or no_state), downsample_ratio)[: len(names)]
        try:
            outputs = dict(zip(wanted, session.run(wanted, dict(zip(names, values, strict=True))), strict=True))
        except _SESSION_ERRORS as error:
            raise ArtifactError(f"{artifact.path} does not run: {first_line(error)}") from error
        fgr, pha = (outputs[name].astype(np.float32, copy=False) if name in outputs else None for name in OUTPUTS[:2])
        return Matte(fgr=fgr, pha=pha), tuple(outputs[name] for name in OUTPUTS[2:])

    return step


def to_numpy(state: State) -> tuple[NDArray[Any], ...]:
    """Four arrays. See `exporters.runtime.Runtime`."""
    return tuple(array.copy() for array in state)


def _fixed(path: Path, variant: str, tensors: tuple[TensorInfo, ...], metadata: dict[str, str]) -> Fixed:
    """The size of a file without a ratio input. Only its metadata tells the ratio exactly; all shapes must agree."""
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    try:
        ratio = float(metadata.get("downsample_ratio", ""))
        batch, _, height, width = (int(axis) for axis in shapes["src"])
        states = state_shapes(variant, height, width, ratio, batch)
    except ValueError as error:
        raise ArtifactError(
            f"{path} takes no downsample_ratio, and does not say in its metadata which one is baked in ({error})"
        ) from error
    expected = {"src": (batch, 3, height, width), "fgr": (batch, 3, height, width), "pha": (batch, 1, height, width)}
    expected |= dict(zip(INPUTS[1:5], states, strict=True)) | dict(zip(OUTPUTS[2:], states, strict=True))
    wrong = [name for name, shape in shapes.items() if shape != expected[name]]
    if wrong or min(batch, height, width) < 1 or max(height, width) > LONGEST_SIDE:
        raise ArtifactError(f"{path} has shapes that do not go together: {', '.join(wrong) or 'src'}")
    return Fixed(width=width, height=height, ratio=ratio, batch=batch)


def _session(path: Path, device: Device) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4  # what it would say as an error it raises as well
    # Waiting threads would otherwise spin, at the cost of PyTorch, which plays the other side of a comparison.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if device == "cuda" and "CUDAExecutionProvider" not in ort.get_available_providers():
        raise DeviceError(_no_cuda())
    try:
        session = ort.InferenceSession(path, options, providers=_PROVIDERS[device], enable_fallback=0)
    except _SESSION_ERRORS as error:
        raise ArtifactError(f"{path} does not load in onnxruntime: {first_line(error)}") from error
    # Where CUDA's libraries are missing, onnxruntime only warns and takes the CPU.
    if device == "cuda" and session.get_providers()[0] != "CUDAExecutionProvider":
        raise DeviceError(_no_cuda())
    return session


def _no_cuda() -> str:
    providers = ", ".join(ort.get_available_providers())
    return (
        f"onnxruntime {ort.__version__} has no working CUDA provider here, of {providers}; "
        "install 'rvm-export[onnx-cuda]' in place of the onnx extra, on a machine with a GPU"
    )


def _tensor_info(value: onnx.ValueInfoProto) -> TensorInfo:
    tensor = value.type.tensor_type
    known = tensor.elem_type in TensorProto.DataType.values() and tensor.elem_type != TensorProto.UNDEFINED
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type).name if known else f"type {tensor.elem_type}"
    return TensorInfo(
        name=value.name,
        dtype=dtype,
        shape=tuple(
            axis.dim_param or (axis.dim_value if axis.HasField("dim_value") else "any") for axis in tensor.shape.dim
        ),
    )
