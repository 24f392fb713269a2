"""Conversion of `cpu` and `cuda` to a torch device, for the whole project."""

import torch

from rvm_model.errors import UserError


class DeviceError(UserError):
    """A device that is missing, or that computes wrong results. The message is one line for the user."""


def torch_device(name: str) -> torch.device:
    """Return the device, with TensorFloat-32 off: its ten bits of mantissa would hide what a comparison looks for.

    Raises:
        DeviceError: `cuda`, but PyTorch finds no GPU.
    """
    if name == "cuda":
        if not torch.cuda.is_available():
            raise DeviceError("PyTorch finds no CUDA GPU on this machine; use --device cpu")
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device(name)
