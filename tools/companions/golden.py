"""Golden frames: a few frames, and PyTorch's outputs and states for them, so that a consumer can prove an integration.

The file is a NumPy archive whose arrays are stored, not packed: a reader in any language takes a page. The same weights
give the same bytes.
"""

import io
import stat
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from exporters.artifact import OUTPUTS
from rvm_model.video.synthetic.clip import draw_frames
from rvm_model.weights.checkpoint import Checkpoint

FRAMES = 8
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the earliest date of a zip file; a real date would change the bytes


@dataclass(frozen=True, kw_only=True)
class Size:
    """A size of the frames, and the downsample ratio that they are played at. Both are exact in float32."""

    width: int
    height: int
    ratio: float

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


SIZES = (Size(width=96, height=64, ratio=0.5), Size(width=80, height=45, ratio=0.75))
"""A size that powers of two divide, and one whose rounding and padding show.

No ratio is 1: there PyTorch leaves the refiner out, and ONNX files for any size do not.
"""


def vectors(
    checkpoints: Iterable[Checkpoint], sizes: Sequence[Size] = SIZES, frames: int = FRAMES
) -> dict[str, NDArray[Any]]:
    """Return the arrays by name, T frames in each.

    `SIZE/src` is (T, H, W, 3), RGB in uint8; `SIZE/downsample_ratio` is one float32. `VARIANT/SIZE/NAME` is
    (T, C, h, w) in float32, for each of `fgr`, `pha` and the states `r1o` to `r4o`. Outputs are computed in float64.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for size in sizes:
        arrays |= _source(size, frames)
    for checkpoint in checkpoints:
        for size in sizes:
            arrays |= _outputs(checkpoint, size, arrays[f"{size}/src"])
    return arrays


def pack(arrays: Mapping[str, NDArray[Any]], path: Path) -> None:
    """Write arrays as `np.savez` does, but with a fixed date."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(arrays):
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(arrays[name]), version=(1, 0))
            entry = zipfile.ZipInfo(f"{name}.npy", _EARLIEST)
            entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, content.getvalue())


def _source(size: Size, frames: int) -> dict[str, NDArray[Any]]:
    return {
        f"{size}/src": draw_frames(frames, size.width, size.height),
        f"{size}/downsample_ratio": np.array(size.ratio, np.float32),
    }


def _outputs(checkpoint: Checkpoint, size: Size, frames: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Play the frames in float64, and return each output of all frames, (T, C, h, w), rounded to float32."""
    network = checkpoint.network().double().eval()
    states: list[torch.Tensor | None] = [None] * 4
    played: dict[str, list[NDArray[np.float32]]] = {name: [] for name in OUTPUTS}
    for frame in frames:
        src = torch.from_numpy(frame).permute(2, 0, 1)[None].double() / 255
        with torch.inference_mode():
            fgr, pha, *after = network(src, *states, size.ratio)
        states = [*after]
        for name, output in zip(OUTPUTS, (fgr, pha, *after), strict=True):
            played[name].append(output[0].float().numpy())
    return {f"{checkpoint.variant}/{size}/{name}": np.stack(each) for name, each in played.items()}
