"""Play a clip through the reference and through an artifact, each feeding back its own states."""

from collections.abc import Generator, Iterator

import torch

from exporters import load_runtime
from exporters.artifact import Artifact
from exporters.full_size import at_full_size
from exporters.runtime import Device
from parity_tests.clips import Clip
from parity_tests.compare import NAMES, FrameOutputs
from rvm_model.device import torch_device
from rvm_model.network.matting_network import MattingNetwork


def play_reference(network: MattingNetwork, clip: Clip, ratio: float, device: Device = "cpu") -> Iterator[FrameOutputs]:
    """Yield fgr, pha, r1..r4 of every frame as fp32 PyTorch computes them.

    Raises:
        DeviceError: the device is missing.
    """
    where = torch_device(device)
    network = network.to(where).float().eval()
    states: list[torch.Tensor | None] = [None] * 4
    for t, frame in enumerate(clip):
        if clip.resets(t):
            states = [None] * 4
        with torch.inference_mode():
            fgr, pha, *after = network(torch.from_numpy(frame).to(where), *states, ratio)
        states = [*after]
        yield {name: tensor.cpu().numpy() for name, tensor in zip(NAMES, (fgr, pha, *after), strict=True)}


def play_artifact(
    artifact: Artifact, clip: Clip, ratio: float, device: Device = "cpu", runtime: str | None = None
) -> Generator[FrameOutputs]:
    """Yield these outputs of an exported file, run by a runtime of its format; states in the file's dtype.

    To stop early, close the generator: that ends the runtime's process.

    Raises:
        ArtifactError: the file does not load or run.
        DeviceError: the device is missing.
        MissingPackage: the runtime is not installed.
        UnknownRuntime: the format has no runtime of that name.
    """
    player = load_runtime(artifact.format, runtime)
    with player.load(artifact, device, ratio) as file_step:
        step, state = at_full_size(artifact, ratio, file_step), None
        for t, frame in enumerate(clip):
            if clip.resets(t):
                state = None
            matte, state = step(frame, state)
            outputs = zip(NAMES, (matte.fgr, matte.pha, *player.to_numpy(state)), strict=True)
            yield {name: array for name, array in outputs if array is not None}
