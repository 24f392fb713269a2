"""The two networks that judge an artifact: the truth in float64, and PyTorch in the artifact's own arithmetic.

Both sample the source where the artifact does. Most files hold their ratio as a float32: at .2666... they sample
elsewhere than float64 would, and no arithmetic makes up for that.
"""

import hashlib
import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from exporters import FORMATS, load_recovery
from exporters.artifact import Artifact
from exporters.layers import ConvSteps, Step
from exporters.lowering.folding import conv_modules, folded_convs, folded_state_dict
from exporters.recover import Recovered, recover
from exporters.recovery.dataflow import RecoveryError
from exporters.recovery.match import STEM
from parity_tests.clips import Clip
from parity_tests.compare import NAMES, FrameOutputs
from rvm_model.device import torch_device
from rvm_model.network.matting_network import MattingNetwork, Refine
from rvm_model.weights.checkpoint import Checkpoint, weights_sha256

_MOVES_ONLY = {torch.cat, Tensor.__getitem__, Tensor.split, Tensor.chunk, Tensor.expand_as, Tensor.unbind}
"""Functions that only move values, which are rounded already."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Departure:
    """A computation in a file that differs from the network, whatever its weights. Some released files have one.

    `aligned` makes every resize align corners. `remainder` is that of a rounded normalisation, see
    `exporters.recovery.match.Weights`.
    """

    aligned: bool = False
    remainder: NDArray[np.float64] | None = None

    @property
    def key(self) -> str:
        """Differs for different departures."""
        content = b"" if self.remainder is None else self.remainder.tobytes()
        return f"{self.aligned} {hashlib.sha256(content).hexdigest()}"


NO_DEPARTURE = Departure()


@dataclass(frozen=True, kw_only=True, eq=False)
class Player:
    """A network and the arithmetic that it plays in.

    `key` differs for players that compute differently; `half` rounds to half precision after each operation; `aligned`
    makes every resize align corners. Playing fills `saturated`: for each rounding to eight
    bits, the largest share of a frame's values that lies more than a step beyond its range.
    """

    key: tuple[str, ...]
    network: MattingNetwork
    half: bool = False
    aligned: bool = False
    saturated: dict[str, float] = field(default_factory=dict)

    def play(self, clip: Clip, ratio: float, sampled: float, device: str = "cpu") -> Iterator[FrameOutputs]:
        """Yield fgr, pha, r1..r4 of every frame, in the network's dtype, states fed back.

        Args:
            clip: The clip to play.
            ratio: The downsample ratio that gives the internal size.
            sampled: The ratio at which the source is sampled: `ratio`, or its value in the artifact.
            device: `cpu` or `cuda`.

        Raises:
            DeviceError: the device is missing.
        """
        where = torch_device(device)
        network = self.network.to(where)
        dtype = next(network.parameters()).dtype
        states: list[Tensor | None] = [None] * 4
        for t, frame in enumerate(clip):
            if clip.resets(t):
                states = [None] * 4
            src = torch.from_numpy(frame).to(where, dtype)
            with torch.inference_mode(), _Arithmetic(ratio, sampled, self.half, self.aligned):
                fgr, pha, *after = network(src.half().float() if self.half else src, *states, ratio)
            states = [*after]
            yield {name: tensor.cpu().numpy() for name, tensor in zip(NAMES, (fgr, pha, *after), strict=True)}


def truth(checkpoint: Checkpoint, refine: Refine, departure: Departure = NO_DEPARTURE) -> Player:
    """Return the network in float64, whose rounding is a billionth of float32's."""
    key = ("float64", checkpoint.weights_sha256, refine, departure.key)
    network = checkpoint.network(refine).double()
    _add_remainder(network, departure.remainder)
    return Player(key=key, network=network, aligned=departure.aligned)


def yardstick(
    artifact: Artifact,
    checkpoint: Checkpoint,
    refine: Refine,
    stored: Recovered | None,
    departure: Departure = NO_DEPARTURE,
) -> Player:
    """Return PyTorch in an artifact's own arithmetic.

    | precision | weights | values between layers |
    |---|---|---|
    | fp32 | the checkpoint's | float32 |
    | fp16 | the file's own; if it gives none, the checkpoint's, folded and rounded | float32, or rounded |
    | int8 | the file's own | as for fp16; in eight bits, by the file's own steps, where the file has those |

    Args:
        artifact: The artifact to judge.
        checkpoint: The weights it should hold.
        refine: See `MattingNetwork`.
        stored: From `stored_weights`.
        departure: How both sides depart from the network.
    """
    values = FORMATS[artifact.format].values[artifact.precision]
    own = checkpoint
    if artifact.precision != "fp32":
        own = half_weights(checkpoint) if stored is None else _for_refiner(stored.checkpoint, checkpoint.refiner)
        if stored is not None:
            departure = replace(departure, remainder=stored.weights[artifact.path].remainder)
    network = own.network(refine)
    _add_remainder(network, departure.remainder)
    steps: Mapping[str, ConvSteps] = {}
    saturated: dict[str, float] = {}
    if values == "uint8":
        steps = load_recovery(artifact.format).activation_steps(artifact)
        _quantise(network, steps, saturated)
    key = (values, own.weights_sha256, refine, departure.key, repr(sorted(steps.items())))
    return Player(key=key, network=network, half=values == "float16", aligned=departure.aligned, saturated=saturated)


def _add_remainder(network: MattingNetwork, remainder: NDArray[np.float64] | None) -> None:
    """Make the first convolution end at the image's border as it does in a file of rounded normalisation."""
    if remainder is None:
        return
    (conv,) = [conv for name, conv, _ in conv_modules(network) if name == STEM[network.variant]]
    kernel = torch.from_numpy(remainder)[:, None].to(conv.weight)

    def at_border(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        ones = torch.ones_like(args[0][:1, :1])
        of_ones = F.conv2d(ones, kernel, stride=conv.stride, padding=conv.padding)
        return output + (of_ones - kernel.sum((1, 2, 3))[:, None, None])

    conv.register_forward_hook(at_border)


def stored_weights(artifact: Artifact) -> Recovered | None:
    """Return the weights that a file of reduced precision stores; None for float32.

    Also return None for a file in half precision that does not give them, as some foreign files do not.

    Raises:
        RecoveryError: a file in eight bits does not give them.
    """
    if artifact.precision == "fp32":
        return None
    try:
        return recover([artifact])
    except RecoveryError:
        if artifact.precision == "int8":
            raise
        return None


def half_weights(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint with batch norm folded in float64 and the results rounded to half precision."""
    convs = folded_convs(checkpoint.network().double())
    halves = {
        key: tensor.half().float() if tensor.is_floating_point() and not key.endswith("running_var") else tensor
        for key, tensor in folded_state_dict(
            checkpoint.variant,
            checkpoint.refiner,
            {name: conv.weight for name, conv in convs.items()},
            {name: conv.bias for name, conv in convs.items()},
        ).items()
    }
    return _with(checkpoint, halves)


def _for_refiner(checkpoint: Checkpoint, refiner: str) -> Checkpoint:
    """Return the weights for a refiner. A file of one size at ratio 1 holds none for it."""
    return checkpoint if checkpoint.refiner == refiner else checkpoint.with_fast_guided_filter()


def sampled_ratio(artifact: Artifact, ratio: float) -> float:
    """Return the ratio by which an artifact samples the source: as a float32 in most formats.

    PyTorch samples for a file of coefficients.
    """
    if artifact.gives_line or FORMATS[artifact.format].ratio_dtype == "float64":
        return ratio
    rounded: float = struct.unpack("f", struct.pack("f", ratio))[0]
    return rounded


def _with(checkpoint: Checkpoint, state_dict: Mapping[str, Tensor]) -> Checkpoint:
    return replace(checkpoint, state_dict=state_dict, sha256=weights_sha256(state_dict))


class _Arithmetic(TorchFunctionMode):
    """A mode that samples the source at one ratio, sizes it by another, and rounds to half on request."""

    def __init__(self, ratio: float, sampled: float, half: bool, aligned: bool) -> None:
        super().__init__()
        self._ratio, self._sampled, self._half, self._aligned = ratio, sampled, half, aligned

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Collection[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if function is F.interpolate and self._aligned:
            result = function(*args, **given | {"align_corners": True})
        elif function is F.interpolate and given.get("scale_factor") == self._ratio:
            x = args[0]
            size = [int(length * self._ratio) for length in x.shape[2:]]
            result = torch.ops.aten.upsample_bilinear2d.default(x, size, False, self._sampled, self._sampled)
        elif function is F.conv2d and args[0].dtype == torch.float64:
            result = _convolve(*args, **given)
        else:
            result = function(*args, **given)
        if self._half and isinstance(result, Tensor) and result.dtype == torch.float32 and function not in _MOVES_ONLY:
            result = result.half().float()
        return result


def _convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> Tensor:
    """Convolve in float64. It runs all channels of a depthwise convolution at once; PyTorch runs them one by one."""
    if groups == 1:
        return F.conv2d(x, weight, bias, stride, padding, dilation)
    assert weight.shape[1] == 1
    assert x.shape[1] == groups == weight.shape[0]
    x = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    # The reach of a kernel, and the rows and columns of the image at which it is applied.
    reach = [dilation[k] * (weight.shape[2 + k] - 1) for k in (0, 1)]
    places = [range(0, x.shape[2 + k] - reach[k], stride[k]) for k in (0, 1)]
    result = x.new_zeros(x.shape[0], x.shape[1], len(places[0]), len(places[1]))
    for row in range(weight.shape[2]):
        for column in range(weight.shape[3]):
            top, left = row * dilation[0], column * dilation[1]
            part = x[:, :, top : top + places[0].stop : stride[0], left : left + places[1].stop : stride[1]]
            result.addcmul_(part, weight[:, 0, row, column, None, None])
    return result if bias is None else result + bias[:, None, None]


def _quantise(network: MattingNetwork, steps: Mapping[str, ConvSteps], saturated: dict[str, float]) -> None:
    """Make the convolutions in `steps` round their inputs and results to eight bits."""
    modules = dict(network.named_modules())

    def rounding(name: str) -> tuple["_Rounding", "_Rounding"]:
        own = steps[name]
        return _Rounding(f"what {name} is given", own.given, saturated), _Rounding(
            f"what {name} results in", own.result, saturated
        )

    for name, conv, _ in [*conv_modules(network)]:
        parent, _, index = name.rpartition(".")
        if name in steps:  # in one part, with a ReLU two modules later
            given, result = rounding(name)
            conv.register_forward_pre_hook(lambda _, args, given=given: (given(args[0]),))
            modules[f"{parent}.{int(index) + 2}"].register_forward_hook(
                lambda _, __, output, result=result: result(output)
            )
        elif f"{name}.x" in steps:
            cast(nn.Sequential, modules[parent])[int(index)] = _ByParts(
                conv, rounding(f"{name}.x"), rounding(f"{name}.h")
            )


class _ByParts(nn.Module):
    """A convolution of two joined images. As in files, it runs on each alone in eight bits, and sums the results."""

    def __init__(self, conv: nn.Conv2d, x: tuple["_Rounding", "_Rounding"], h: tuple["_Rounding", "_Rounding"]) -> None:
        super().__init__()
        self.conv, self.x, self.h = conv, x, h

    def forward(self, joined: Tensor) -> Tensor:
        x, h = joined.chunk(2, dim=1)
        weight_x, weight_h = self.conv.weight.chunk(2, dim=1)
        of_x = F.conv2d(self.x[0](x), weight_x, self.conv.bias, padding=1)
        of_h = F.conv2d(self.h[0](h), weight_h, padding=1)
        return self.x[1](of_x) + self.h[1](of_h)


class _Rounding:
    """Rounding of values to eight bits and back. It notes how many lie beyond the range."""

    def __init__(self, name: str, step: Step, saturated: dict[str, float]) -> None:
        self._name, self._step, self._saturated = name, step, saturated

    def __call__(self, x: Tensor) -> Tensor:
        stored = (x / self._step.scale).round() + self._step.zero
        beyond = ((stored < -1) | (stored > 256)).float().mean().item()
        self._saturated[self._name] = max(self._saturated.get(self._name, 0), beyond)
        return stored.clamp(0, 255).sub(self._step.zero).mul(self._step.scale)
