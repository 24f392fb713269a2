"""`golden.npz`: a few frames, and PyTorch's outputs and states for them, so that a consumer can prove an integration.

It is a NumPy archive whose arrays are stored, not packed: a reader in any language takes a page. The same weights give
the same bytes.
"""

import hashlib
import io
import json
import stat
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray

from exporters.artifact import OUTPUTS
from rvm_model.files import read_file, sha256_of
from rvm_model.state import REFINERS
from rvm_model.video.synthetic.clip import VERSION, draw_frames
from rvm_model.weights.checkpoint import Checkpoint
from tools.jobs.seals import seal_key, sealed, unsealed
from tools.release.build import Order, record_of
from tools.release.files import FOLDER, GOLDEN
from tools.release.versions import source_sha256, tools_of
from tools.shared.models import load_weights
from tools.shared.outputs import publish, write_text

FRAMES = 8
_MOST_RECORD = 10_000
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


def key_of(checkpoints: Mapping[str, Checkpoint]) -> str:
    """Return a hash of all that the vectors depend on: weights, frames, PyTorch's version, our own source."""
    weights = {variant: each.weights_sha256 for variant, each in checkpoints.items()}
    sizes = [asdict(each) for each in SIZES]
    facts = (weights, sizes, FRAMES, VERSION, tools_of("torchscript"), source_sha256())
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def made_already(path: Path, key: str) -> bool:
    """Return whether this user made the vectors from the inputs of `key`, and they are unchanged."""
    try:
        return unsealed(read_file(record_of(path), _MOST_RECORD), seal_key(key)) == sha256_of(path)
    except (OSError, ValueError):
        return False


def build(order: Order, variants: tuple[str, ...], seal: bytes) -> None:
    """Write the vectors of these variants, and their record, sealed with the result of `seal_key`. Runs as a job.

    Raises:
        UserError: weights that cannot be used.
        ExportFailed: the file could not be written.
    """
    path = order.out / GOLDEN
    arrays = vectors(
        [load_weights(order.checkpoints[variant], variant, REFINERS[0], order.trust) for variant in variants]
    )
    with FileLock(record_of(path).with_suffix(".lock")):
        publish(path, lambda staged: pack(arrays, staged), lambda _: None, force=True, desk=order.out / FOLDER)
        write_text(sealed(sha256_of(path), seal), record_of(path))


def vectors(checkpoints: Iterable[Checkpoint]) -> dict[str, NDArray[Any]]:
    """Return the arrays by name, T frames in each.

    `SIZE/src` is (T, H, W, 3), RGB in uint8; `SIZE/downsample_ratio` is one float32. `VARIANT/SIZE/NAME` is
    (T, C, h, w) in float32, for each of `fgr`, `pha` and the states `r1o` to `r4o`. Outputs are computed in float64.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for size in SIZES:
        arrays |= _source(size)
    for checkpoint in checkpoints:
        for size in SIZES:
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


def _source(size: Size) -> dict[str, NDArray[Any]]:
    return {
        f"{size}/src": draw_frames(FRAMES, size.width, size.height),
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
