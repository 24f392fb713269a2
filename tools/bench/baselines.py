"""The baselines of a bench: PyTorch itself, frozen TorchScript, and the ONNX file of PyTorch's own tracing exporter."""

import warnings
from pathlib import Path

import safetensors.torch
import torch

from exporters import open_artifact
from exporters.onnx.traced import export_traced
from rvm_model.weights.checkpoint import Checkpoint
from tools.bench.contender import CAPTURED, PYTORCH
from tools.bench.race import Contender


def make_baselines(checkpoint: Checkpoint, precision: str, device: str, folder: Path) -> list[Contender]:
    """Write the baselines into a folder, in `fp32` or `fp16`. All run the refiner at any ratio.

    In fp16 on CUDA, this project's fast path is one of them.

    Raises:
        MissingPackage: onnx or onnxruntime is not installed.
    """
    weights, scripted, traced = (
        folder / name for name in ("pytorch.safetensors", "frozen.torchscript", "traced_opset12.onnx")
    )
    safetensors.torch.save_file(dict(checkpoint.state_dict), weights)
    network = checkpoint.network("always").to(torch.float16 if precision == "fp16" else torch.float32)
    export_traced(network, traced)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch 2.9 deprecated all of torch.jit
        torch.jit.save(torch.jit.freeze(torch.jit.script(network)), scripted)
    captured = Contender(name=CAPTURED, path=weights, artifact=None, runtime=CAPTURED)
    return [
        *([captured] if device == "cuda" and precision == "fp16" else []),
        Contender(name=PYTORCH, path=weights, artifact=None, runtime=None),
        *(
            Contender(name=name, path=path, artifact=open_artifact(path, trust=True), runtime=None)
            for name, path in (("torchscript", scripted), ("traced", traced))
        ),
    ]
