"""The machine and the package versions that a figure was measured with."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from exporters.support.memory import memory_limit
from rvm_model import __version__

_CPUINFO = Path("/proc/cpuinfo")
_PACKAGES = (
    "torch",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "ai-edge-litert",
    "executorch",
    "ncnn",
    "tensorflow-cpu",
    "tensorflow",
    "numpy",
    "numba",
)


def machine(device: str) -> dict[str, str]:
    """Return processor, cores, memory, system, and the GPU if it is the device. The machine's own name is left out."""
    return {
        "processor": _processor(),
        "architecture": platform.machine(),
        "cores": str(cores()),
        "memory": f"{memory_limit() / 2**30:.0f} GiB",
        "system": platform.system(),
        **({"gpu": _gpu()} if device == "cuda" else {}),
    }


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package, and of the installed packages that run files."""
    found = {"python": platform.python_version(), "rvm-export": __version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        lines = []
    fallback = platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), fallback)


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name()
