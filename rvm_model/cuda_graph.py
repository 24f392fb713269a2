"""The network on a GPU without gaps between its kernels: a CUDA graph per shape, half precision, channels last.

At batch 1 a frame takes hundreds of short kernels, and launching them one by one takes longer than running them. A
graph is captured once and launched as a whole. It reads and writes fixed buffers: frames are copied in, and the states
stay in place. Before first use, its output is compared with that of the network run kernel by kernel.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rvm_model.device import DeviceError
from rvm_model.network.matting_network import MattingNetwork
from rvm_model.rendering import Images, Play
from rvm_model.state import state_shapes

Run = Callable[[], object]

_WARM_UP = 3  # runs before a capture: libraries choose kernels and allocate memory
_LIMIT = 0.02
"""Largest difference between a graph and single kernels, in [0, 1] colour units: half precision, other kernels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Captured:
    """A captured run for one shape, and its buffers: src, then fgr and pha as float32."""

    src: Tensor
    fgr: Tensor
    pha: Tensor
    run: Run


def cuda_graph(run: Run) -> Run:
    """Return a function that does the work of `run` in one launch. `run` must launch kernels and do nothing else."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


class CapturedNetwork:
    """A network that runs on one clip, from its first frame. It captures a graph for each input shape.

    Args:
        network: On its device, in its dtype.
        ratio: The downsample ratio, in (0, 1].
        capture: Returns a function with the same effect. Tests without a GPU replace `cuda_graph` with their own.
    """

    def __init__(self, network: MattingNetwork, ratio: float, capture: Callable[[Run], Run] = cuda_graph) -> None:
        self._network = network
        self._ratio = ratio
        self._capture = capture
        self._states: list[Tensor] | None = None
        self._captured: dict[torch.Size, _Captured] = {}

    @torch.inference_mode()
    def __call__(self, src: Tensor) -> tuple[Tensor, Tensor]:
        """Matte the frames that follow those of the previous call: (T, 3, H, W) in [0, 1], of any device and dtype.

        Returns:
            fgr (T, 3, H, W) and pha (T, 1, H, W), float32 in [0, 1], on the network's device. The next call with this
            shape overwrites them.

        Raises:
            DeviceError: the output of the graph differs from that of the network.
        """
        if src.shape not in self._captured:
            self._captured[src.shape] = self._prepare(src)
        captured = self._captured[src.shape]
        captured.src.copy_(src, non_blocking=True)
        captured.run()
        return captured.fgr, captured.pha

    def _prepare(self, src: Tensor) -> _Captured:
        weight = next(self._network.parameters())
        frames, _, height, width = src.shape

        def place(channels: int, dtype: torch.dtype) -> Tensor:
            place = torch.zeros(frames, channels, height, width, dtype=dtype, device=weight.device)
            return place.contiguous(memory_format=torch.channels_last) if dtype == weight.dtype else place

        if self._states is None:
            shapes = state_shapes(self._network.variant, height, width, self._ratio)
            self._states = [torch.zeros(shape, dtype=weight.dtype, device=weight.device) for shape in shapes]
        states, given = self._states, place(3, weight.dtype)
        fgr, pha = place(3, torch.float32), place(1, torch.float32)

        def run() -> None:
            new_fgr, new_pha, *after = self._network(given[None], *states, self._ratio)
            fgr.copy_(new_fgr[0])
            pha.copy_(new_pha[0])
            for state, new in zip(states, after, strict=True):
                state.copy_(new)

        # Capture and check run the network, so the clip's states are restored after each.
        before = [state.clone() for state in states]
        given.copy_(src)
        run()
        expected = [image.clone() for image in (fgr, pha)]
        _restore(states, before)
        captured = _Captured(src=given, fgr=fgr, pha=pha, run=self._capture(run))
        _restore(states, before)
        for image in (fgr, pha):
            image.fill_(torch.nan)
        captured.run()
        _restore(states, before)
        drift = max(
            float((image - by_kernel).abs().max()) for image, by_kernel in zip((fgr, pha), expected, strict=True)
        )
        if not drift <= _LIMIT:
            raise DeviceError(f"a CUDA graph gives other mattes than its kernels, by {drift:.2g}; use --device cpu")
        return captured


def captured_play(network: MattingNetwork, ratio: float, device: torch.device) -> Play:
    """Return a `Play` of the network in half precision on a GPU.

    On the CPU it runs kernel by kernel, for tests. There, use `rvm_model.matting.network_play`.
    """
    on_device = network.to(device, torch.float16).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    captured = CapturedNetwork(on_device, ratio, cuda_graph if device.type == "cuda" else lambda run: run)

    def play(src: Images) -> tuple[Images, Images]:
        fgr, pha = captured(torch.from_numpy(src))
        return fgr.cpu().numpy(), pha.cpu().numpy()

    return play


def _restore(states: list[Tensor], before: list[Tensor]) -> None:
    for state, old in zip(states, before, strict=True):
        state.copy_(old)
