"""Run TorchScript files with torch.jit. Such a file is code: load only what you trust."""

import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from exporters.artifact import INPUTS, OUTPUTS, Artifact, ArtifactError, TensorInfo
from exporters.runtime import Device, Frame, Matte, State, Step
from exporters.support.identify import identify
from rvm_model.device import torch_device
from rvm_model.state import STATE_CHANNELS
from rvm_model.zip_files import find_damage

_PRECISIONS = {torch.float32: "fp32", torch.float16: "fp16"}
_ARGUMENTS = ["self", "src", "r1", "r2", "r3", "r4", "downsample_ratio"]


def inspect(path: Path) -> Artifact:
    """Describe the file. See `exporters.runtime.Runtime`."""
    try:
        damage = find_damage(path)
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    if damage:
        raise ArtifactError(f"{path} {damage}")
    module = load_module(path, torch.device("cpu"))
    callable_like_the_model = _arguments(module) == _ARGUMENTS
    weights = [*_weights(module)] if callable_like_the_model else []
    found = identify({tuple(weight.shape) for weight in weights})
    if found is None:
        raise ArtifactError(f"{path} is TorchScript, but not a matting network as rvm-export and RVM v1.0.0 write it")
    dtypes = {weight.dtype for weight in weights if weight.is_floating_point() and weight.dim() == 4}
    if len(dtypes) != 1 or not dtypes <= _PRECISIONS.keys():
        raise ArtifactError(f"{path} has weights of {', '.join(map(str, dtypes))}; known are float32 and float16")
    variant, refiner = found
    (dtype,) = dtypes
    inputs, outputs = _contract(variant, str(dtype).removeprefix("torch."))
    return Artifact(
        path=path,
        format="torchscript",
        variant=variant,
        refiner=refiner,
        precision=_PRECISIONS[dtype],
        refine="auto",
        fixed=None,
        inputs=inputs,
        outputs=outputs,
        metadata=_metadata(path),
        facts={"frozen": "no" if any(True for _ in module.parameters()) else "yes"},
    )


@contextmanager
def load(artifact: Artifact, device: Device, ratio: float) -> Iterator[Step]:
    """Yield the step function. See `exporters.runtime.Runtime`."""
    where = torch_device(device)
    module = load_module(artifact.path, where)
    dtype = torch.float16 if artifact.precision == "fp16" else torch.float32

    def step(frame: Frame, state: State) -> tuple[Matte, State]:
        src = torch.from_numpy(frame).to(where, dtype)
        try:
            with torch.inference_mode():
                fgr, pha, *after = module(src, *(state or [None] * 4), ratio)
        except RuntimeError as error:
            raise ArtifactError(f"{artifact.path} does not run: {_last_line(error)}") from error
        return Matte(fgr=fgr.float().cpu().numpy(), pha=pha.float().cpu().numpy()), after

    yield step


def to_numpy(state: State) -> tuple[NDArray[Any], ...]:
    """Return four arrays. See `exporters.runtime.Runtime`."""
    return tuple(tensor.cpu().numpy().copy() for tensor in state)


def load_module(path: Path, device: torch.device) -> Any:
    """Load the module in a file. This may run the file's code. Raises ArtifactError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # for all of torch.jit, since torch 2.9
            return torch.jit.load(path, map_location=device)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, IndexError, OSError) as error:
        raise ArtifactError(f"{path} does not load as TorchScript: {_last_line(error)}") from error


def _arguments(module: Any) -> list[str]:
    """Return the names of the first arguments of `forward`, as many as the network needs."""
    if not module._c._has_method("forward"):
        return []
    return [argument.name for argument in module._c._get_method("forward").schema.arguments][: len(_ARGUMENTS)]


def _weights(module: Any) -> Iterator[Tensor]:
    """Yield the state of a plain module, or the constants in the graph of a frozen one."""
    yield from module.state_dict().values()
    for node in module.graph.findAllNodes("prim::Constant"):
        if node.hasAttribute("value") and node.kindOf("value") == "t":
            yield node.t("value")


def _metadata(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:
        extra = [name for name in archive.namelist() if "/extra/" in name]
        return {name.partition("/extra/")[2]: archive.read(name).decode(errors="replace") for name in sorted(extra)}


def _contract(variant: str, dtype: str) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """Return the inputs and outputs of the network, because a scripted module keeps no shapes."""

    def image(name: str, channels: int) -> TensorInfo:
        return TensorInfo(name=name, dtype=dtype, shape=("batch", channels, "height", "width"))

    def states(names: tuple[str, ...]) -> list[TensorInfo]:
        return [
            TensorInfo(name=name, dtype=dtype, shape=("batch", channels, f"{name}_height", f"{name}_width"))
            for name, channels in zip(names, STATE_CHANNELS[variant], strict=True)
        ]

    ratio = TensorInfo(name=INPUTS[5], dtype="float", shape=())
    return (image("src", 3), *states(INPUTS[1:5]), ratio), (image("fgr", 3), image("pha", 1), *states(OUTPUTS[2:]))


def _last_line(error: Exception) -> str:
    """Return the last line of a TorchScript error, which names the cause."""
    return str(error).strip().rpartition("\n")[2]
