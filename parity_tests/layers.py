"""The reference, PyTorch's network, opened at its layers."""

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor, nn

from exporters.artifact import OUTPUTS
from exporters.layers import STATES, Array, Layers, Values, call_name
from exporters.lowering.folding import conv_modules
from exporters.runtime import Frame
from rvm_model.network.matting_network import MattingNetwork


def open_network(network: MattingNetwork) -> Layers:
    """Return layers with every convolution's value, or that of its batch norm. Hooks stay on the network."""
    values: dict[str, Array] = {}
    calls: Counter[str] = Counter()

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def keep(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
            values[call_name(name, calls[name])] = output.numpy()
            calls[name] += 1

        return keep

    for name, conv, norm in conv_modules(network):
        (norm or conv).register_forward_hook(watch(name))

    def step(frame: Frame, states: tuple[Array, ...], ratio: float) -> Values:
        values.clear()
        calls.clear()
        before = [torch.from_numpy(state).float() for state in states]
        with torch.inference_mode():
            outputs = [output.numpy() for output in network(torch.from_numpy(frame), *before, ratio)]
        return {**values, **dict(zip((*OUTPUTS[:2], *STATES), outputs, strict=True))}

    return Layers(step=step)
